"""Prompt matrix: every combination of the parts of a prompt that `|` divides."""

import math
from dataclasses import dataclass, replace

from PIL import Image

from ..grids import Label, Labels, Style, check_grid, grid, labelled
from ..limits import check_choice, check_count
from ..protocol import Extension, Host, arg
from ..seeds import fixed
from ..wanted import Pictures, Wanted

_KINDS = ("positive", "negative")
_JOINTS = ("comma", "space")


@dataclass(frozen=True, slots=True, kw_only=True)
class Args:
    """What a client may set, in the order of the wire."""

    put_at_start: bool = arg(False, "Put variable parts at start of prompt")
    different_seeds: bool = arg(False, "Use different seed for each picture")
    prompt_type: str = arg("positive", "Select prompt", lambda *_: _KINDS)
    variations_delimiter: str = arg("comma", "Select joining char", lambda *_: _JOINTS)
    margin_size: int = arg(0, "Grid margins (px)", minimum=0, maximum=500, step=2)


def run(host: Host, wanted: Wanted, args: Args) -> Pictures:
    """Draw all combinations in one generation, and lay them out in a grid before them."""
    check_choice("prompt_type", args.prompt_type, _KINDS)
    check_choice("variations_delimiter", args.variations_delimiter, _JOINTS)
    style = Style.of(host.options)
    field = "prompt" if args.prompt_type == "positive" else "negative_prompt"
    first, *parts = getattr(wanted, field).split("|")
    check_count("combinations", 2 ** min(len(parts), 64))
    prompts = tuple(_combinations(first, parts, args))
    wanted = fixed(wanted)
    seeds = tuple(wanted.seed + index * args.different_seeds for index in range(len(prompts)))
    rows = 2 ** (len(parts) // 2)
    cell = wanted.width, wanted.height
    check_grid(len(prompts) // rows, rows, cell, args.margin_size)
    batches = math.ceil(len(prompts) / wanted.batch_size)
    drawn = host.generate(
        wanted.changed(**{field: prompts}, seed=seeds, n_iter=batches, do_not_save_grid=True), {}
    )
    if not drawn.images:
        return drawn
    sheet = _sheet(drawn.images, parts, args.margin_size, style)
    return replace(
        drawn,
        images=(sheet, *drawn.images),
        infotexts=(drawn.infotexts[0], *drawn.infotexts),
        index_of_first_image=1,
    )


def _combinations(first: str, parts: list[str], args: Args) -> list[str]:
    """The first part with every choice of the others; the bits of its place say which."""
    joint = ", " if args.variations_delimiter == "comma" else " "
    prompts = []
    for number in range(2 ** len(parts)):
        chosen = [part.strip().strip(",") for bit, part in enumerate(parts) if number & 1 << bit]
        prompts.append(joint.join([*chosen, first] if args.put_at_start else [first, *chosen]))
    return prompts


def _sheet(
    images: tuple[Image.Image, ...], parts: list[str], margin: int, style: Style
) -> Image.Image:
    """The grid: the first half of the parts changes along the columns, the rest along the rows."""
    half = math.ceil(len(parts) / 2)
    missing = (Image.new("RGB", images[0].size),) * (2 ** len(parts) - len(images))
    sheet = grid((*images, *missing), 2 ** (len(parts) - half), style)
    return labelled(
        sheet, images[0].size, _labels(parts[:half]), _labels(parts[half:]), style, margin
    )


def _labels(parts: list[str]) -> Labels:
    """One line a part for every choice of them, grey where the part is left out."""
    return [
        [Label(part, bool(number & 1 << bit)) for bit, part in enumerate(parts)]
        for number in range(2 ** len(parts))
    ]


EXTENSION = Extension(title="Prompt matrix", modes=("txt2img", "img2img"), args=Args, run=run)
