"""X/Y/Z plot: a grid of pictures along up to three things that change."""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from PIL import Image

from ..grids import Label, Labels, Style, cell_size, grid, labelled
from ..limits import check_count, check_span, combined
from ..protocol import BadScriptArgs, Extension, Host, Mode, Names, Pictures, Wanted, arg
from ..seeds import drawn as drawn_seed
from ..seeds import fixed
from .xyz_axes import Applying, Axis, axes
from .xyz_values import joined, split, values

TITLE = "X/Y/Z plot"
_NAMES = ("X", "Y", "Z")
_SEEDED = ("Seed", "Var. seed")
_MARGINS = 500


def _labels(mode: Mode, _: Names) -> tuple[str, ...]:
    return tuple(axis.label for axis in axes(mode))


def _none(*_: object) -> tuple[str, ...]:
    return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Args:
    """What a client may set, in the order of the wire; a type is an axis's place, or its label."""

    x_type: int | str = arg("Seed", "X type", _labels)
    x_values: str = arg("", "X values")
    x_values_dropdown: tuple[str, ...] | None = arg(None, "X values", _none)
    y_type: int | str = arg("Nothing", "Y type", _labels)
    y_values: str = arg("", "Y values")
    y_values_dropdown: tuple[str, ...] | None = arg(None, "Y values", _none)
    z_type: int | str = arg("Nothing", "Z type", _labels)
    z_values: str = arg("", "Z values")
    z_values_dropdown: tuple[str, ...] | None = arg(None, "Z values", _none)
    draw_legend: bool = arg(True, "Draw legend")
    include_lone_images: bool = arg(False, "Include Sub Images")
    include_sub_grids: bool = arg(False, "Include Sub Grids")
    no_fixed_seeds: bool = arg(False, "Keep -1 for seeds")
    vary_seeds_x: bool = arg(False, "Vary seeds for X")
    vary_seeds_y: bool = arg(False, "Vary seeds for Y")
    vary_seeds_z: bool = arg(False, "Vary seeds for Z")
    margin_size: int = arg(0, "Grid margins (px)", minimum=0, maximum=500, step=2)
    csv_mode: bool = arg(False, "Use text inputs instead of dropdowns")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Along:
    """One of the three directions: what changes, how, and the text it was asked for with."""

    axis: Axis
    text: str
    values: tuple[Any, ...]
    varies_seed: bool

    def labels(self) -> Labels:
        return [[Label(self.axis.show(self.axis.label, value))] for value in self.values]


Place = tuple[int, int, int]
"""The place of a cell along x, y and z."""


def run(host: Host, wanted: Wanted, args: Args) -> Pictures:
    """Draw every cell, the costly changes outermost, and lay the pictures out."""
    check_span("margin", args.margin_size, 0, _MARGINS)
    style = Style.of(host.options)
    if not args.no_fixed_seeds:
        wanted = fixed(wanted)
    if not host.options["return_grid"]:
        wanted = wanted.changed(batch_size=1)
    along = _directions(args, wanted.mode, host)
    _check_size(along, wanted, host)
    cells = {place: _cell(wanted, along, place, host) for place in _places(along)}
    host.expect(len(cells))
    drawn: dict[Place, Pictures] = {}
    for place in cells:
        if drawn and host.stopped():
            break
        drawn[place] = host.generate(cells[place], {})
    return _reply(drawn, cells, along, args, host, style)


def _directions(args: Args, mode: Mode, host: Host) -> tuple[_Along, _Along, _Along]:
    x, y, z = (_along(name, args, mode, host) for name in _NAMES)
    return x, y, z


def _along(name: str, args: Args, mode: Mode, host: Host) -> _Along:
    """What one direction changes. Raises BadScriptArgs for an unknown axis and for bad values."""
    letter = name.lower()
    axis = _axis(name, getattr(args, f"{letter}_type"), axes(mode))
    varies = getattr(args, f"vary_seeds_{letter}")
    if axis.label == "Nothing":
        return _Along(axis=axis, text="", values=(0,), varies_seed=varies)
    text = getattr(args, f"{letter}_values")
    chosen = getattr(args, f"{letter}_values_dropdown")
    if axis.listed and chosen and not args.csv_mode:
        entries, text = list(chosen), joined(chosen)
    else:
        entries = split(text)
    found = values(axis.label, axis.kind, entries)
    if not found:
        raise BadScriptArgs(f"{name} values: give one or more for {axis.label!r}")
    for value in found:
        axis.check(value, host)
    if axis.label in _SEEDED and not args.no_fixed_seeds:
        found = [drawn_seed() if value == -1 else value for value in found]
    return _Along(axis=axis, text=text, values=tuple(found), varies_seed=varies)


def _axis(name: str, asked: int | str, known: tuple[Axis, ...]) -> Axis:
    if isinstance(asked, int):
        if 0 <= asked < len(known):
            return known[asked]
        raise BadScriptArgs(f"{name} type {asked}: allowed are 0 to {len(known) - 1}")
    for axis in known:
        if axis.label.lower() == asked.lower():
            return axis
    allowed = ", ".join(axis.label for axis in known)
    raise BadScriptArgs(f"{name} type {asked!r:.80}: allowed are {allowed}")


def _check_size(along: tuple[_Along, ...], wanted: Wanted, host: Host) -> None:
    count = 1
    for each in along:
        count *= len(each.values)
    check_count("cells", count)
    megapixels = round(count * wanted.width * wanted.height / 1e6)
    most = host.options["img_max_size_mp"]
    if megapixels >= most:
        raise BadScriptArgs(
            f"the grid would have {megapixels} megapixels; "
            f"the setting img_max_size_mp allows less than {most}"
        )


def _places(along: tuple[_Along, _Along, _Along]) -> Iterator[Place]:
    """Every cell: what costs most changes least often, else x changes first, then y."""
    order = sorted(range(3), key=lambda which: (-along[which].axis.cost, -which))
    for indices in itertools.product(*(range(len(along[which].values)) for which in order)):
        place = dict(zip(order, indices, strict=True))
        yield place[0], place[1], place[2]


def _cell(wanted: Wanted, along: tuple[_Along, _Along, _Along], place: Place, host: Host) -> Wanted:
    """The generation of one cell."""
    stride = 1
    shift = 0
    for each, index in zip(along, place, strict=True):
        wanted = each.axis.apply(
            wanted, each.values[index], Applying(values=each.values, host=host)
        )
        if each.varies_seed:
            shift += index * stride
            stride *= len(each.values)
    return wanted.changed(seed=wanted.seed + shift) if shift else wanted


def _reply(
    drawn: Mapping[Place, Pictures],
    cells: Mapping[Place, Wanted],
    along: tuple[_Along, _Along, _Along],
    args: Args,
    host: Host,
    style: Style,
) -> Pictures:
    """The main grid, then the grid of each z and the pictures alone where they are asked for."""
    x, y, z = along
    first = next(iter(drawn.values()))
    if not first.images:
        return first
    places = [
        (ix, iy, iz)
        for iz in range(len(z.values))
        for iy in range(len(y.values))
        for ix in range(len(x.values))
    ]
    blank = Image.new(first.images[0].mode, first.images[0].size)
    alone = [drawn[each].images[0] if _has_picture(drawn, each) else blank for each in places]
    layer = len(x.values) * len(y.values)
    layers = [alone[start : start + layer] for start in range(0, len(alone), layer)]
    sheets = [_sheet(images, x, y, args, style) for images in layers]
    texts = [drawn[each].infotexts[0] if _has_picture(drawn, each) else "" for each in places]
    main, *below = _grid_texts(drawn, along, args, host)
    prompts = [cells[each].prompt for each in places]
    seeds = [drawn[each].seed if each in drawn else cells[each].seed for each in places]
    if args.include_sub_grids:
        prompts = prompts[::layer] + prompts
        seeds = seeds[::layer] + seeds
    shown = sheets if args.include_sub_grids else []
    return replace(
        first,
        images=(
            _main(sheets, z, args, style),
            *shown,
            *(alone if args.include_lone_images else []),
        ),
        infotexts=(main, *(below if args.include_sub_grids else []), *texts),
        all_prompts=tuple(prompts),
        all_seeds=tuple(seeds),
        index_of_first_image=1,
        extra_generation_params=combined(
            *(each.extra_generation_params for each in drawn.values())
        ),
    )


def _has_picture(drawn: Mapping[Place, Pictures], place: Place) -> bool:
    return place in drawn and bool(drawn[place].images)


def _sheet(
    images: list[Image.Image], x: _Along, y: _Along, args: Args, style: Style
) -> Image.Image:
    """The grid of one z."""
    sheet = grid(images, len(y.values), style)
    if not args.draw_legend:
        return sheet
    return labelled(sheet, cell_size(images), x.labels(), y.labels(), style, args.margin_size)


def _main(sheets: list[Image.Image], z: _Along, args: Args, style: Style) -> Image.Image:
    """The grids of all z in a row."""
    sheet = grid(sheets, 1, style)
    if not args.draw_legend:
        return sheet
    return labelled(sheet, cell_size(sheets), z.labels(), [[Label("")]], style)


def _grid_texts(
    drawn: Mapping[Place, Pictures],
    along: tuple[_Along, _Along, _Along],
    args: Args,
    host: Host,
) -> list[str]:
    """The infotexts of the main grid and of the grid of each z: of its first cell, and the axes."""
    flat: dict[str, object] = {"Script": TITLE}
    for name, each in zip(_NAMES[:2], along[:2], strict=True):
        flat |= _told(name, each, args)
    deep = flat | _told(_NAMES[2], along[2], args)
    firsts = [(0, 0, index) for index in range(len(along[2].values))]
    texts = [
        host.describe(drawn[place], flat) if _has_picture(drawn, place) else "" for place in firsts
    ]
    return [host.describe(drawn[firsts[0]], deep), *texts]


def _told(name: str, along: _Along, args: Args) -> dict[str, object]:
    if along.axis.label == "Nothing":
        return {}
    told: dict[str, object] = {f"{name} Type": along.axis.label, f"{name} Values": along.text}
    if along.axis.label in _SEEDED and not args.no_fixed_seeds:
        told[f"Fixed {name} Values"] = ", ".join(map(str, along.values))
    return told


EXTENSION = Extension(title=TITLE, modes=("txt2img", "img2img"), args=Args, run=run)
