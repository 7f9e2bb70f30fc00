"""Which model a request means: checkpoint, autoencoder, refiner, and the networks of a prompt."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import cast, get_args

from models.catalog import Catalog, CheckpointInfo
from models.choice import ModelChoice
from models.library import Library
from pipelines.plan import HiresRefiner, Refining
from pipelines.prompt.networks import split_networks

from .errors import ApiError
from .options import Options
from .schemas.generation import GenerationRequest
from .schemas.img2img import Img2ImgRequest

#: share of the tokens that may be merged: the end of the page's slider
_MOST_MERGED = 0.9
#: names that a refusal lists
_MOST_TOLD = 20
_MOST_LETTERS = 200
#: values by which clients say that a name is not set; the last is Swagger's placeholder
UNSET = ("", "None", "none", "string")


def configured_checkpoint(options: Options, catalog: Catalog) -> CheckpointInfo | None:
    """The checkpoint that `options` name; the first there is where they name none that is there."""
    name = options.sd_model_checkpoint
    return (catalog.find(name) if name else None) or catalog.default()


def model_choice(
    overridden: Options,
    options: Options,
    library: Library,
    *,
    tiling: bool,
    token_merging: float = 0.0,
    strict: bool = False,
) -> tuple[ModelChoice, tuple[str, ...]]:
    """The model to draw with: the override's checkpoint, else the server's own, and its VAE.

    What is named and not there is a warning, or, where `strict`, an `ApiError` of 422.
    """
    checkpoint, missed = _checkpoint(overridden, options, library.checkpoints)
    vae, unknown = library.vaes.choose(
        overridden.sd_vae,
        checkpoint,
        overrides_preferences=overridden.sd_vae_overrides_per_model_preferences,
    )
    if missed and strict:
        titles = [info.title for info in library.checkpoints.checkpoints()]
        raise _refusal("sd_model_checkpoint", overridden.sd_model_checkpoint, titles)
    if unknown and strict:
        names = ["Automatic", "None", *(info.name for info in library.vaes.vaes())]
        raise _refusal("sd_vae", overridden.sd_vae, names)
    choice = ModelChoice(
        checkpoint=checkpoint,
        vae=vae,
        tiling=tiling,
        token_merging=min(token_merging, _MOST_MERGED),
    )
    return choice, missed + unknown


def told_ignored(keys: Sequence[str], *, strict: bool) -> tuple[str, ...]:
    """Warnings of overrides that mean nothing here; where `strict`, an `ApiError` of 422."""
    if keys and strict:
        raise ApiError(422, f"override_settings: unknown settings {_listed(map(repr, keys))}")
    return tuple(f"unknown setting {key!r} ignored" for key in keys)


def kept_overrides(request: GenerationRequest, library: Library) -> dict[str, object]:
    """The overrides of a request that stay in force after it: none, unless it says so.

    A checkpoint is kept under its title, and not at all where it is not there.
    """
    if request.override_settings_restore_afterwards:
        return {}
    kept = dict(request.override_settings or {})
    name = kept.pop("sd_model_checkpoint", None)
    found = library.checkpoints.find(name) if isinstance(name, str) else None
    return kept if found is None else {**kept, "sd_model_checkpoint": found.title}


def merging(request: GenerationRequest, options: Options, *, hires: bool = False) -> float:
    """The share of tokens to merge: the setting for the kind of pass, else the general one."""
    general = options.token_merging_ratio
    if hires:
        return options.token_merging_ratio_hr or general
    overridden = "token_merging_ratio" in (request.override_settings or {}) and general
    if isinstance(request, Img2ImgRequest):
        return overridden or options.token_merging_ratio_img2img or general
    return general


def other_checkpoint(
    name: str, model: ModelChoice, options: Options, library: Library
) -> ModelChoice:
    """`model` with the checkpoint that a refiner's or a hires pass's name means, and its VAE.

    Raises `ApiError` for a name that fits none.
    """
    found = library.checkpoints.closest(name)
    if found is None:
        raise ApiError(500, errors=f"Could not find checkpoint with name {name}", error="Exception")
    vae, _ = library.vaes.choose(
        options.sd_vae,
        found,
        overrides_preferences=options.sd_vae_overrides_per_model_preferences,
    )
    return replace(model, checkpoint=found, vae=vae)


def refining(
    request: GenerationRequest, options: Options, model: ModelChoice, library: Library
) -> Refining | None:
    """The refiner a request asks for, if any. Raises `ApiError` for an unknown checkpoint."""
    name = request.refiner_checkpoint or ""
    if name in UNSET:
        return None
    chosen = other_checkpoint(name, model, options, library)
    if chosen.checkpoint.path == model.checkpoint.path:
        return None
    known = options.hires_fix_refiner_pass in get_args(HiresRefiner)
    return Refining(
        model=chosen,
        at=request.refiner_switch_at,
        by_steps=options.refiner_switch_by_sample_steps,
        hires=cast(HiresRefiner, options.hires_fix_refiner_pass if known else "second pass"),
    )


def network_name(short_hash: str, options: Options, library: Library) -> str | None:
    """What a prompt's tag calls the network of that hash: its alias, unless settings say else."""
    found = library.networks.with_hash(short_hash)
    if found is None:
        return None
    plain = options.lora_preferred_name == "Filename" or found.alias.casefold() == "none"
    return found.name if plain else found.alias


def with_default_lora(prompt: str, options: Options, library: Library) -> str:
    """The prompt with the tag of the network that the setting `sd_lora` adds to every prompt."""
    name = options.sd_lora
    named = (tag.name for tag in split_networks(prompt)[1] if tag.kind == "lora")
    if name in UNSET or name in named or library.networks.find(name) is None:
        return prompt
    return f"{prompt}<lora:{name}:{options.extra_networks_default_multiplier}>"


def _refusal(key: str, value: object, allowed: Iterable[str]) -> ApiError:
    shown = repr(value)[:_MOST_LETTERS]
    return ApiError(422, f"{key} cannot be {shown}; there are {_listed(allowed)}")


def _listed(names: Iterable[str]) -> str:
    named = list(names)
    more = len(named) - _MOST_TOLD
    told = ", ".join(name[:_MOST_LETTERS] for name in named[:_MOST_TOLD])
    return told + (f" and {more} more" if more > 0 else "")


def _checkpoint(
    overridden: Options, options: Options, catalog: Catalog
) -> tuple[CheckpointInfo, tuple[str, ...]]:
    name = overridden.sd_model_checkpoint
    found = catalog.find(name) if name else None
    if found is not None:
        return found, ()
    fallback = configured_checkpoint(options, catalog)
    if fallback is None:
        raise ApiError(500, "no checkpoint: put a .safetensors file into models/Stable-diffusion")
    if not name:
        return fallback, ()
    return fallback, (f"unknown checkpoint {name!r}: used {fallback.title}",)
