"""Loopback: img2img over and over, each picture the next one's init picture."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from PIL import Image

from ..grids import Style, check_grid, grid
from ..limits import check_choice, check_count, first_picture
from ..protocol import BadScriptArgs, Extension, Host, arg
from ..seeds import fixed
from ..series import Series
from ..wanted import Pictures, Wanted

_CURVES: Mapping[str, Callable[[float], float]] = MappingProxyType(
    {
        "Aggressive": lambda part: math.sin(part * math.pi / 2),
        "Linear": lambda part: part,
        "Lazy": lambda part: 1 - math.cos(part * math.pi / 2),
    }
)
_CAPTIONS = ("None", "CLIP", "DeepBooru")


@dataclass(frozen=True, slots=True, kw_only=True)
class Args:
    """What a client may set, in the order of the wire."""

    loops: int = arg(4, "Loops", minimum=1, maximum=32, step=1)
    final_denoising_strength: float = arg(
        0.5, "Final denoising strength", minimum=0, maximum=1, step=0.01
    )
    denoising_curve: str = arg("Linear", "Denoising strength curve", lambda *_: tuple(_CURVES))
    append_interrogation: str = arg(
        "None", "Append interrogated prompt at each iteration", lambda *_: _CAPTIONS
    )


def run(host: Host, wanted: Wanted, args: Args) -> Pictures:
    """Draw `loops` pictures, `n_iter` times from the client's own on; a grid before several."""
    check_count("loops * n_iter", args.loops * wanted.n_iter)
    check_choice("denoising_curve", args.denoising_curve, tuple(_CURVES))
    check_choice("append_interrogation", args.append_interrogation, _CAPTIONS)
    if args.append_interrogation != "None":
        raise BadScriptArgs(
            f"append_interrogation {args.append_interrogation!r}: no interrogator is installed"
        )
    first_picture(wanted)
    kept = args.loops if wanted.n_iter == 1 else wanted.n_iter
    check_grid(kept, 1, (wanted.width, wanted.height))
    style = Style.of(host.options)
    host.expect(args.loops * wanted.n_iter)
    begun = fixed(wanted).changed(batch_size=1, n_iter=1, do_not_save_grid=True)
    if host.options["img2img_color_correction"]:
        begun = begun.changed(color_reference=begun.init_images[0])
    return _loops(host, begun, args, wanted.n_iter, style)


def _loops(host: Host, begun: Wanted, args: Args, batches: int, style: Style) -> Pictures:
    params = {
        "Final denoising strength": args.final_denoising_strength,
        "Denoising curve": args.denoising_curve,
    }
    series = Series()
    kept: list[Image.Image] = []
    wanted = begun
    for _ in range(batches):
        wanted = begun.changed(seed=wanted.seed)
        results: list[Image.Image] = []
        for loop in range(1, args.loops + 1):
            drawn = series.add(host.generate(wanted, params))
            if host.stopped():
                break
            strength = _strength(begun.denoising_strength, loop, args)
            wanted = wanted.changed(seed=drawn.seed + 1, denoising_strength=strength)
            if host.skipped():
                break
            results.append(drawn.images[0])
            # from here on the masked part, too, begins as it is
            wanted = wanted.changed(init_images=(results[-1],), inpainting_fill=1)
        if batches == 1:
            kept += results
        elif len(results) == args.loops:
            kept.append(results[-1])
        if host.stopped():
            break
    images = tuple(kept)
    if len(images) > 1 and host.options["return_grid"]:
        images = (grid(images, 1, style), *images)
    return series.reply(images, denoising_strength=wanted.denoising_strength)


def _strength(begun: float, loop: int, args: Args) -> float:
    """The denoising strength after `loop` loops: along the curve to the final one."""
    if args.loops == 1:
        return begun
    part = _CURVES[args.denoising_curve](loop / (args.loops - 1))
    return begun + (args.final_denoising_strength - begun) * part


EXTENSION = Extension(title="Loopback", modes=("img2img",), args=Args, run=run)
