"""A request as extensions see it, and what they want as a plan."""

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from pydantic import ValidationError

from extensions.protocol import BadScriptArgs
from extensions.wanted import Mode, Wanted
from pipelines.plan import Img2ImgPlan, Inversion, Plan, Txt2ImgPlan

from . import translate
from .generation import styles_of
from .img2img import InitPictures, init_pictures
from .options import Options
from .prompts import prompts
from .sampling import resolve_sampler
from .schemas.generation import GenerationRequest
from .schemas.img2img import Img2ImgRequest
from .schemas.txt2img import Txt2ImgRequest
from .services import Services
from .styles import Style
from .translate import Translated
from .wardrobe import Wardrobe

_PICTURES = ("init_images", "mask", "latent_mask")
_MANY = ("prompt", "negative_prompt", "seed")
"""Fields that an extension may give one value an image."""


def wanted_of(request: GenerationRequest, options: Options) -> Wanted:
    """A request as extensions see it, under the server's own `options`.

    Raises `BadImage`, `RemoteImage` and `ApiError` for pictures that are none.
    """
    sampler, schedule, _ = resolve_sampler(
        request.sampler_name or request.sampler_index,
        request.scheduler,
        old_names=options.darkroom_old_sampler_names,
    )
    fields = {
        **dict(request),
        "sampler_name": sampler.name,
        "scheduler": request.scheduler or schedule.label,
        "do_not_save_samples": not request.save_images,
        "do_not_save_grid": not request.save_images,
    }
    mode: Mode = "txt2img"
    if isinstance(request, Img2ImgRequest):
        mode = "img2img"
        pictures = init_pictures(request)
        fields |= {"init_images": pictures.images, "mask": pictures.mask}
        fields |= dict.fromkeys(("latent_mask", "inversion", "color_reference"))
    return Wanted(mode, MappingProxyType(fields))


def request_of(wanted: Wanted, kind: type[GenerationRequest]) -> GenerationRequest:
    """What is wanted as a request without its pictures; of several values the first."""
    fields = {name: wanted.fields[name] for name in kind.model_fields if name not in _PICTURES}
    for name in _MANY:
        if isinstance(fields[name], tuple):
            fields[name] = fields[name][0]
    fields["save_images"] = not wanted.do_not_save_samples
    try:
        return kind.model_validate(fields)
    except ValidationError as error:
        wrong = error.errors(include_url=False)[0]
        name = ".".join(map(str, wrong["loc"]))
        raise BadScriptArgs(f"{name} {wrong['input']!r:.80}: {wrong['msg']}") from None


def translated(
    wanted: Wanted,
    request: GenerationRequest,
    options: Options,
    services: Services,
    wardrobe: Wardrobe,
) -> Translated:
    """What is wanted as a plan; `request` is it without its pictures.

    It works on pictures: call it in a thread. Raises what `translate.img2img` and `.txt2img` raise.
    """
    styles, library = styles_of(services, request), services.library
    tools = services.tools
    if isinstance(request, Img2ImgRequest):
        pictures = InitPictures(
            images=wanted.init_images,
            mask=wanted.mask,
            latent_mask=wanted.latent_mask,
            color_reference=wanted.color_reference,
        )
        made = translate.img2img(request, options, library, styles, pictures, wardrobe, tools=tools)
        if wanted.inversion is not None:
            made = replace(made, plan=_inverted(made.plan, wanted))
    else:
        assert isinstance(request, Txt2ImgRequest)
        made = translate.txt2img(request, options, library, styles, wardrobe, tools=tools)
    if not any(isinstance(getattr(wanted, name), tuple) for name in _MANY):
        return made
    plan = _spread(made, wanted, request, styles, wardrobe)
    missed = wardrobe.warnings(dict.fromkeys(plan.prompts)) if plan.networks else ()
    return replace(made, plan=plan, warnings=tuple(dict.fromkeys((*made.warnings, *missed))))


def _spread(
    made: Translated,
    wanted: Wanted,
    request: GenerationRequest,
    styles: Mapping[str, Style],
    wardrobe: Wardrobe,
) -> Plan:
    """The plan with every image's own prompts and seed."""
    plan = made.plan
    many = {name: getattr(wanted, name) for name in _MANY}
    count = max(len(each) for each in many.values() if isinstance(each, tuple))
    many = {
        name: each if isinstance(each, tuple) else (each,) * count for name, each in many.items()
    }
    texts = [
        prompts(
            request.model_copy(update={"prompt": prompt, "negative_prompt": negative}),
            made.options,
            styles,
        )
        for prompt, negative in zip(many["prompt"], many["negative_prompt"], strict=True)
    ]
    seeds = many["seed"] if isinstance(wanted.seed, tuple) else plan.seeds.seeds[:count]
    changed: dict[str, Any] = {
        "prompts": tuple(each.prompt for each in texts),
        "negative_prompts": tuple(each.negative_prompt for each in texts),
        "networks": plan.networks and tuple(wardrobe.worn(each.prompt).uses for each in texts),
    }
    plan = replace(
        plan,
        **changed,
        seeds=replace(plan.seeds, seeds=seeds, subseeds=plan.seeds.subseeds[:count]),
    )
    if isinstance(plan, Txt2ImgPlan) and plan.hires is not None:
        plan = replace(plan, hires=replace(plan.hires, **_hires(changed, plan, request, count)))
    return plan


def _hires(
    changed: Mapping[str, Any], plan: Txt2ImgPlan, request: GenerationRequest, count: int
) -> dict[str, Any]:
    """The hires pass's prompts: those of the first pass, unless the request names its own."""
    assert plan.hires is not None and isinstance(request, Txt2ImgRequest)
    own = {
        "prompts": request.hr_prompt,
        "negative_prompts": request.hr_negative_prompt,
        "networks": request.hr_prompt,
    }
    return {
        name: getattr(plan.hires, name)[:count] if own[name] else values
        for name, values in changed.items()
    }


def _inverted(plan: Plan, wanted: Wanted) -> Plan:
    """The plan with noise found in its init pictures."""
    assert isinstance(plan, Img2ImgPlan)
    asked = wanted.inversion
    inversion = Inversion(
        prompt=asked.prompt,
        negative_prompt=asked.negative_prompt,
        steps=asked.steps,
        scale=asked.cfg_scale,
        randomness=asked.randomness,
        sigma_adjustment=asked.sigma_adjustment,
    )
    return replace(plan, inversion=inversion)
