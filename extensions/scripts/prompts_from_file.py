"""Prompts from file or textbox: one generation a line, each with its own prompt or settings."""

import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from ..limits import check_choice, check_count
from ..protocol import BadScriptArgs, Extension, Host, arg
from ..seeds import drawn as drawn_seed
from ..series import Series
from ..wanted import Pictures, Wanted

_PLACES = ("start", "end")


def _truth(text: str) -> bool:
    return text == "true"


_READERS: Mapping[str, Callable[[str], Any]] = MappingProxyType(
    {
        "sd_model": str,
        "outpath_samples": str,
        "outpath_grids": str,
        "prompt_for_display": str,
        "prompt": str,
        "negative_prompt": str,
        "styles": lambda text: (text,),
        "seed": int,
        "subseed_strength": float,
        "subseed": int,
        "seed_resize_from_h": int,
        "seed_resize_from_w": int,
        "sampler_index": int,
        "sampler_name": str,
        "batch_size": int,
        "n_iter": int,
        "steps": int,
        "cfg_scale": float,
        "width": int,
        "height": int,
        "restore_faces": _truth,
        "tiling": _truth,
        "do_not_save_samples": _truth,
        "do_not_save_grid": _truth,
    }
)
"""What a line may set, and how its text is read."""

_UNHEEDED = ("outpath_samples", "outpath_grids", "prompt_for_display", "sampler_index")
"""What a line may say without effect."""

_UNSETTLED = ("sd_model_name", "sd_model_hash", "sd_vae_name", "sd_vae_hash")
"""What `info` leaves open: the reference tells of the request, which no line has settled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Args:
    """What a client may set, in the order of the wire."""

    checkbox_iterate: bool = arg(False, "Iterate seed every line")
    checkbox_iterate_batch: bool = arg(False, "Use same random seed for all lines")
    prompt_position: str = arg("start", "Insert prompts at the", lambda *_: _PLACES)
    prompt_txt: str = arg("", "List of prompt inputs")


def run(host: Host, wanted: Wanted, args: Args) -> Pictures:
    """Draw what every line says, one after the other."""
    check_choice("prompt_position", args.prompt_position, _PLACES)
    lines = [line for line in (each.strip() for each in args.prompt_txt.splitlines()) if line]
    if not lines:
        raise BadScriptArgs("prompt_txt is empty: give one prompt or more, one a line")
    check_count("lines", len(lines))
    jobs = [_settings(line, host) for line in lines]
    check_count("n_iter of all lines", sum(job.get("n_iter", wanted.n_iter) for job in jobs))
    host.expect(len(jobs))
    wanted = wanted.changed(do_not_save_grid=True)
    for job in jobs:
        host.check(_of_line(wanted, job, args.prompt_position))
    if (args.checkbox_iterate or args.checkbox_iterate_batch) and wanted.seed == -1:
        wanted = wanted.changed(seed=drawn_seed())
    series = Series()
    drawn: list[Pictures] = []
    for job in jobs:
        if drawn and host.stopped():
            break
        result = host.generate(_of_line(wanted, job, args.prompt_position), {})
        drawn.append(replace(series.add(result), source=None))
        if args.checkbox_iterate:
            wanted = wanted.changed(seed=wanted.seed + wanted.batch_size * wanted.n_iter)
    return _reply(drawn, series, wanted)


def _settings(line: str, host: Host) -> dict[str, Any]:
    """What a line sets; one that is no list of `--name value` is a prompt."""
    try:
        return _options(line, host) if "--" in line else {"prompt": line}
    except ValueError:
        return {"prompt": line}


def _options(line: str, host: Host) -> dict[str, Any]:
    """`--name value ...` as fields; a prompt goes on to the next `--`. Raises ValueError."""
    words = shlex.split(line)
    found: dict[str, Any] = {}
    at = 0
    while at < len(words):
        name, start = words[at].removeprefix("--"), at + 1
        if name == words[at] or name not in _READERS or start == len(words):
            raise ValueError(f"{words[at]!r} is no option with a value")
        at = start + 1
        if name in ("prompt", "negative_prompt"):
            while at < len(words) and not words[at].startswith("--"):
                at += 1
        found[name] = _READERS[name](" ".join(words[start:at]))
    return _resolved(found, host)


def _resolved(found: dict[str, Any], host: Host) -> dict[str, Any]:
    """The names of a checkpoint and a sampler as the rest of the house has them."""
    if "sampler_name" in found:
        asked = found["sampler_name"]
        known = (name for name in host.names["samplers"] if name.lower() == asked.lower())
        found["sampler_name"] = next(known, asked)
    if "sd_model" in found:
        model = host.find_checkpoint(found["sd_model"])
        if model is None:
            raise ValueError(f"no checkpoint {found['sd_model']!r}")
        found["sd_model"] = model
    return found


def _of_line(wanted: Wanted, job: Mapping[str, Any], position: str) -> Wanted:
    """The generation of one line; its prompts stand beside the request's own."""
    changes = {name: value for name, value in job.items() if name not in _UNHEEDED}
    if model := changes.pop("sd_model", ""):
        overrides = dict(wanted.override_settings or {})
        changes["override_settings"] = {**overrides, "sd_model_checkpoint": model}
    for name in ("prompt", "negative_prompt"):
        own, common = changes.get(name), getattr(wanted, name)
        if own and common:
            both = (own, common) if position == "start" else (common, own)
            changes[name] = " ".join(both)
    return wanted.changed(**changes)


def _reply(drawn: list[Pictures], series: Series, wanted: Wanted) -> Pictures:
    """All pictures; what is told of them as a whole is the request, as in the reference."""
    last = drawn[-1]
    told = {name: wanted.fields[name] for name in last.info if name in wanted.fields}
    if not wanted.restore_faces:
        told["face_restoration_model"] = None
    return replace(
        last,
        images=tuple(image for each in drawn for image in each.images),
        infotexts=tuple(text for each in drawn for text in each.infotexts),
        all_prompts=tuple(prompt for each in drawn for prompt in each.all_prompts),
        all_negative_prompts=(wanted.negative_prompt,),
        seed=wanted.seed,
        all_seeds=(wanted.seed,),
        subseed=-1,
        all_subseeds=(-1,),
        extra_generation_params=series.params,
        info={
            **last.info,
            **told,
            **dict.fromkeys(_UNSETTLED),
            "styles": list(wanted.styles or ()),
        },
    )


EXTENSION = Extension(
    title="Prompts from file or textbox", modes=("txt2img", "img2img"), args=Args, run=run
)
