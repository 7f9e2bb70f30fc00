"""A finished generation as the wire tells it: infotexts, the `info` JSON, encoded pictures."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from extensions.grids import Style, grid, rows_of
from models.catalog import CheckpointInfo
from models.vae_files import VaeInfo
from pipelines.plan import Plan, Txt2ImgPlan
from pipelines.samplers import find_sampler
from pipelines.upscalers import LATENT_UPSCALERS

from . import infotext
from .imagecodec import Encoding, encode, in_base64
from .options import Options
from .schemas.generation import GenerationRequest
from .translate import Translated
from .vae_methods import FULL

if TYPE_CHECKING:
    from pipelines.effects import Effects

#: the release of the reference whose behaviour infotexts promise; clients compare it
COMPATIBLE_VERSION = "v1.10.1"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Known:
    """What is known once a plan has run: files hashed by loading them, and what it did.

    `refiner` is the checkpoint that took over, if one did; `told` is what extensions say of an
    image, `failures` are those that failed, by the image that they left as it was.
    """

    checkpoint: CheckpointInfo
    vae: VaeInfo | None
    refiner: CheckpointInfo | None
    effects: "Effects"
    told: Mapping[int, Mapping[str, object]] = field(default_factory=dict)
    failures: Mapping[int, tuple[str, ...]] = field(default_factory=dict)


def describe(
    translated: Translated,
    known: Known,
    index: int,
    further: Mapping[str, object] = MappingProxyType({}),
) -> str:
    """The infotext of image `index`; `further` are extra parameters after all others."""
    plan, options = translated.plan, translated.options
    seeds, sampler, vae = plan.seeds, find_sampler(plan.sampler.name), known.vae
    varied, effects, weight = bool(seeds.subseed_strength), known.effects, plan.guidance.mask_weight
    restored = translated.restore_faces and options.face_restoration_model
    fields: dict[str, object] = {
        "Steps": plan.sampler.steps,
        "Sampler": sampler.name,
        "Schedule type": translated.schedule_label,
        "CFG scale": plan.guidance.scale,
        "Image CFG scale": plan.guidance.image_scale if effects.edit_model else None,
        "Seed": seeds.seeds[index],
        "Face restoration": restored or None,
        "Size": f"{plan.width}x{plan.height}",
        "Model hash": known.checkpoint.short_hash if options.add_model_hash_to_info else None,
        "Model": known.checkpoint.stem if options.add_model_name_to_info else None,
        "VAE hash": vae.short_hash if vae and options.add_vae_hash_to_info else None,
        "VAE": vae.name if vae and options.add_vae_name_to_info else None,
        "Variation seed": seeds.subseeds[index] if varied else None,
        "Variation seed strength": seeds.subseed_strength if varied else None,
        "Seed resize from": "{}x{}".format(*seeds.resize_from) if seeds.resize_from else None,
        "Conditional mask weight": weight if effects.inpainting_model else None,
        "Clip skip": plan.encoding.clip_skip if plan.encoding.clip_skip > 1 else None,
        "ENSD": seeds.eta_delta or None if sampler.uses_ensd else None,
        "Token merging ratio": plan.model.token_merging or None,
        "Token merging ratio hr": _hires_merging(plan),
        "Init image hash": translated.init_hash,
        "RNG": seeds.source if seeds.source != "GPU" else None,
        "Tiling": True if plan.model.tiling else None,
        **_extra(translated, known),
        **known.told.get(index, {}),
        **_warning(known.failures.get(index, ())),
        **_hires_prompts(plan, index),
        **further,
        "Version": COMPATIBLE_VERSION if options.add_version_to_infotext else None,
    }
    return infotext.write(plan.prompts[index], plan.negative_prompts[index], fields)


def extra_parameters(translated: Translated, known: Known) -> dict[str, object]:
    """The reply's `extra_generation_params`, in the wire's order.

    What extensions say of the pictures one by one stands there once, all that is different.
    """
    told = _extra(translated, known)
    said: dict[str, list[str]] = {}
    for one in known.told.values():
        for key, value in one.items():
            said.setdefault(key, []).append(str(value))
    told |= {key: "; ".join(dict.fromkeys(values)) for key, values in said.items()}
    if known.failures:
        told |= _warning(dict.fromkeys(each for some in known.failures.values() for each in some))
    return told


def _extra(translated: Translated, known: Known) -> dict[str, object]:
    """What all pictures have in common."""
    plan, options, effects = translated.plan, translated.options, known.effects
    told = dict(translated.first)
    if effects.embeddings and options.textual_inversion_add_hashes_to_infotext:
        told["TI hashes"] = _ti_hashes(effects)
    if effects.emphasised and plan.encoding.emphasis != "Original":
        told["Emphasis"] = plan.encoding.emphasis
    told |= translated.extra
    if options.refiner_switch_by_sample_steps:
        told["Refiner switch by sampling steps"] = True
    if options.sd_vae_encode_method != FULL and _enlarges_pixels(plan):
        told["VAE Encoder"] = options.sd_vae_encode_method
    if effects.skipped_early:
        told["Skip Early CFG"] = plan.guidance.skip_early
    if known.refiner is not None and plan.refiner is not None:
        if plan.passes > 1 and plan.refiner.hires != "second pass":
            told["Hires refiner"] = plan.refiner.hires
        told["Refiner"] = known.refiner.short_title
        told["Refiner switch at"] = plan.refiner.at
    if effects.skipped_small_sigma:
        told["NGMS"] = plan.guidance.s_min_uncond
        if plan.guidance.s_min_uncond_all:
            told["NGMS all steps"] = True
    if effects.padded:
        told["Pad conds"] = True
    if effects.matched:
        told["Pad conds v0"] = True
    if options.sd_vae_decode_method != FULL and plan.passes == 1:
        told["VAE Decoder"] = options.sd_vae_decode_method
    return told


def _warning(failures: Iterable[str]) -> dict[str, object]:
    """What is said of extensions that failed; None, which is not told, where none did."""
    return {"Extension warning": "; ".join(failures) or None}


def _enlarges_pixels(plan: Plan) -> bool:
    hires = plan.hires if isinstance(plan, Txt2ImgPlan) else None
    return hires is not None and hires.upscaler not in LATENT_UPSCALERS


def _hires_merging(plan: Plan) -> float | None:
    hires = plan.hires if isinstance(plan, Txt2ImgPlan) else None
    return hires.model.token_merging or None if hires else None


def _ti_hashes(effects: "Effects") -> str:
    names = ((name.replace(":", "").replace(",", ""), code) for name, code in effects.embeddings)
    return ", ".join(f"{name}: {code}" for name, code in names)


def _hires_prompts(plan: Plan, index: int) -> dict[str, object]:
    """The second pass's prompts where they are its own."""
    if not isinstance(plan, Txt2ImgPlan) or plan.hires is None:
        return {}
    prompt, negative = plan.hires.prompts[index], plan.hires.negative_prompts[index]
    return {
        "Hires prompt": prompt if prompt != plan.prompts[index] else None,
        "Hires negative prompt": negative if negative != plan.negative_prompts[index] else None,
    }


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Told:
    """What `info` says of a job's pictures as a whole; a script may say it in its own way."""

    prompts: Sequence[str]
    negative_prompts: Sequence[str]
    seeds: Sequence[int]
    subseeds: Sequence[int]
    infotexts: Sequence[str]
    extra: Mapping[str, object]
    index_of_first_image: int = 0


def told(
    request: GenerationRequest, translated: Translated, known: Known, infotexts: Sequence[str]
) -> Told:
    """What `info` says of one generation.

    As in the reference, a batch that shrank to the number of its init pictures still tells as many
    prompts and seeds as were asked for.
    """
    plan, seeds = translated.plan, translated.plan.seeds
    count = max(len(plan.prompts), request.batch_size * request.n_iter)
    missing = count - len(plan.prompts)
    step = 0 if seeds.subseed_strength else 1
    return Told(
        prompts=(*plan.prompts, *plan.prompts[:1] * missing),
        negative_prompts=(*plan.negative_prompts, *plan.negative_prompts[:1] * missing),
        seeds=(*seeds.seeds, *(seeds.seeds[-1] + step * (1 + i) for i in range(missing))),
        subseeds=(*seeds.subseeds, *(seeds.subseeds[-1] + 1 + i for i in range(missing))),
        infotexts=infotexts,
        extra=extra_parameters(translated, known),
    )


def info(
    request: GenerationRequest, translated: Translated, known: Known, said: Told, timestamp: str
) -> str:
    """The reply's `info`: JSON text."""
    return json.dumps(facts(request, translated, known, said, timestamp))


def facts(
    request: GenerationRequest, translated: Translated, known: Known, said: Told, timestamp: str
) -> dict[str, Any]:
    """What `info` tells; keys in the wire's order."""
    plan, options, vae = translated.plan, translated.options, known.vae
    restored = translated.restore_faces
    return {
        "prompt": said.prompts[0],
        "all_prompts": said.prompts,
        "negative_prompt": said.negative_prompts[0],
        "all_negative_prompts": said.negative_prompts,
        "seed": said.seeds[0],
        "all_seeds": said.seeds,
        "subseed": said.subseeds[0],
        "all_subseeds": said.subseeds,
        "subseed_strength": plan.seeds.subseed_strength,
        "width": plan.width,
        "height": plan.height,
        "sampler_name": plan.sampler.name,
        "cfg_scale": plan.guidance.scale,
        "steps": plan.sampler.steps,
        "batch_size": plan.batch_size,
        "restore_faces": restored,
        "face_restoration_model": options.face_restoration_model if restored else None,
        "sd_model_name": known.checkpoint.stem,
        "sd_model_hash": known.checkpoint.short_hash,
        "sd_vae_name": vae.name if vae else None,
        "sd_vae_hash": vae.short_hash if vae else None,
        "seed_resize_from_w": request.seed_resize_from_w,
        "seed_resize_from_h": request.seed_resize_from_h,
        "denoising_strength": _denoising(request, plan),
        "extra_generation_params": said.extra,
        "index_of_first_image": said.index_of_first_image,
        "infotexts": said.infotexts,
        "styles": request.styles or [],
        "job_timestamp": timestamp,
        "clip_skip": options.CLIP_stop_at_last_layers,
        "is_using_inpainting_conditioning": known.effects.inpainting_model,
        "version": COMPATIBLE_VERSION,
    }


def _denoising(request: GenerationRequest, plan: Plan) -> float | None:
    if isinstance(plan, Txt2ImgPlan) and plan.hires is not None:
        return plan.hires.denoising
    return request.denoising_strength


def preview(pixels: NDArray[np.uint8], options: Options) -> bytes:
    """A live preview [N,H,W,3] as base64: the batch as a grid, or its first picture."""
    shown = [Image.fromarray(each) for each in pixels]
    if options.show_progress_grid and len(shown) > 1:
        rows = rows_of(len(shown), len(shown), options.as_wire())
        shown = [grid(shown, rows, Style())]
    encoding = Encoding(format=options.live_previews_image_format)
    return in_base64(encode(shown[0], None, encoding))


def headers(job_id: str, warnings: Sequence[str]) -> dict[str, str]:
    """The reply's own headers: the job's id, and what was asked for and not honoured."""
    told = {"X-Task-Id": _header_safe(job_id)}
    if warnings:
        told["X-Darkroom-Warning"] = _header_safe("; ".join(warnings))
    return told


def _header_safe(text: str) -> str:
    """Text that fits a header: printable ASCII, the rest escaped, and not endless."""
    return text.encode("unicode_escape").decode("ascii")[:1000]
