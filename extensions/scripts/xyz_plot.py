"""X/Y/Z plot: a grid of pictures along up to three things that change."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from PIL import Image

from ..grids import Label, Labels, Style, cell_size, check_grid, grid, labelled
from ..limits import check_count
from ..protocol import BadScriptArgs, Extension, Host, arg
from ..seeds import drawn as drawn_seed
from ..seeds import fixed
from ..wanted import Mode, Names, Pictures, Wanted
from .xyz_axes import Applying, Axis, axes
from .xyz_values import joined, split, values

TITLE = "X/Y/Z plot"
_NAMES = ("X", "Y", "Z")
_SEEDED = ("Seed", "Var. seed")


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


Place = tuple[int, int, int]
"""The place of a cell along x, y and z."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Along:
    """One of the three directions: what changes, how, and the text it was asked for with."""

    axis: Axis
    text: str
    values: tuple[Any, ...]
    varies_seed: bool

    def places(self) -> range:
        return range(len(self.values))

    def labels(self) -> Labels:
        return [[Label(self.axis.show(self.axis.label, value))] for value in self.values]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plot:
    """What is to be plotted: the three directions and how they are laid out."""

    x: _Along
    y: _Along
    z: _Along
    args: Args
    style: Style

    def along(self) -> tuple[_Along, _Along, _Along]:
        return self.x, self.y, self.z

    def places(self) -> list[Place]:
        """Every cell, in the order in which pictures are told: x changes first, then y."""
        return [
            (x, y, z) for z in self.z.places() for y in self.y.places() for x in self.x.places()
        ]

    def thrifty_places(self) -> list[Place]:
        """Every cell in an order in which what costs most changes least often."""
        costs = [each.axis.cost for each in self.along()]
        order = sorted(range(3), key=lambda which: (-costs[which], -which))
        return sorted(self.places(), key=lambda place: [place[which] for which in order])


def run(host: Host, wanted: Wanted, args: Args) -> Pictures:
    """Draw every cell, the costly changes outermost, and lay the pictures out."""
    if not args.no_fixed_seeds:
        wanted = fixed(wanted)
    if not host.options["return_grid"]:
        wanted = wanted.changed(batch_size=1)
    x, y, z = (_along(name, args, wanted.mode, host) for name in _NAMES)
    plot = _Plot(x=x, y=y, z=z, args=args, style=Style.of(host.options))
    _check_size(plot, wanted, host)
    cells = {place: _cell(wanted, plot, place, host) for place in plot.thrifty_places()}
    largest = (
        max(each.width for each in cells.values()),
        max(each.height for each in cells.values()),
    )
    check_grid(len(x.values) * len(z.values), len(y.values), largest, args.margin_size)
    for cell in cells.values():
        host.check(cell)
    host.expect(len(cells))
    drawn: dict[Place, Pictures] = {}
    for place, cell in cells.items():
        if drawn and host.stopped():
            break
        result = host.generate(cell, {})
        # the first cell of each grid is told of again; of the others a picture is enough
        drawn[place] = result if place[:2] == (0, 0) else replace(result, source=None)
    return _reply(drawn, cells, plot, host)


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


def _check_size(plot: _Plot, wanted: Wanted, host: Host) -> None:
    count = math.prod(len(each.values) for each in plot.along())
    check_count("cells", count)
    megapixels = round(count * wanted.width * wanted.height / 1e6)
    most = host.options["img_max_size_mp"]
    if megapixels >= most:
        raise BadScriptArgs(
            f"the grid would have {megapixels} megapixels; "
            f"the setting img_max_size_mp allows less than {most}"
        )


def _cell(wanted: Wanted, plot: _Plot, place: Place, host: Host) -> Wanted:
    """The generation of one cell."""
    shift, stride = 0, 1
    for along, index in zip(plot.along(), place, strict=True):
        applying = Applying(values=along.values, host=host)
        wanted = along.axis.apply(wanted, along.values[index], applying)
        if along.varies_seed:
            shift += index * stride
            stride *= len(along.values)
    return wanted.changed(seed=wanted.seed + shift) if shift else wanted


def _reply(
    drawn: Mapping[Place, Pictures], cells: Mapping[Place, Wanted], plot: _Plot, host: Host
) -> Pictures:
    """The main grid, then the grid of each z and the pictures alone where they are asked for."""
    first, args = drawn[0, 0, 0], plot.args
    if not first.images:
        return first
    places, layer = plot.places(), len(plot.x.values) * len(plot.y.values)
    blank = Image.new(first.images[0].mode, first.images[0].size)
    alone = [drawn[each].images[0] if _is_drawn(drawn, each) else blank for each in places]
    sheets = [_sheet(alone[start : start + layer], plot) for start in range(0, len(alone), layer)]
    main, *beneath = _grid_texts(drawn, plot, host)
    texts = [drawn[each].infotexts[0] if _is_drawn(drawn, each) else "" for each in places]
    prompts = [cells[each].prompt for each in places]
    seeds = [drawn[each].seed if each in drawn else cells[each].seed for each in places]
    shown: list[Image.Image] = []
    if args.include_sub_grids:
        shown, texts = sheets, beneath + texts
        prompts, seeds = prompts[::layer] + prompts, seeds[::layer] + seeds
    if args.include_lone_images:
        shown = shown + alone
    params: dict[str, object] = {}
    for each in drawn.values():
        params |= each.extra_generation_params
    return replace(
        first,
        images=(_main(sheets, plot), *shown),
        infotexts=(main, *texts),
        all_prompts=tuple(prompts),
        all_seeds=tuple(seeds),
        index_of_first_image=1,
        extra_generation_params=params,
    )


def _is_drawn(drawn: Mapping[Place, Pictures], place: Place) -> bool:
    return place in drawn and bool(drawn[place].images)


def _sheet(images: list[Image.Image], plot: _Plot) -> Image.Image:
    """The grid of one z."""
    sheet = grid(images, len(plot.y.values), plot.style)
    if not plot.args.draw_legend:
        return sheet
    cell, margin = cell_size(images), plot.args.margin_size
    return labelled(sheet, cell, plot.x.labels(), plot.y.labels(), plot.style, margin)


def _main(sheets: list[Image.Image], plot: _Plot) -> Image.Image:
    """The grids of all z in a row."""
    sheet = grid(sheets, 1, plot.style)
    if not plot.args.draw_legend:
        return sheet
    return labelled(sheet, cell_size(sheets), plot.z.labels(), [[Label("")]], plot.style)


def _grid_texts(drawn: Mapping[Place, Pictures], plot: _Plot, host: Host) -> list[str]:
    """The infotexts of the main grid and of the grid of each z: of its first cell, and the axes."""
    told = [_told(name, along, plot.args) for name, along in zip(_NAMES, plot.along(), strict=True)]
    flat = {"Script": TITLE, **told[0], **told[1]}
    firsts = [(0, 0, z) for z in plot.z.places()]
    return [
        host.describe(drawn[0, 0, 0], {**flat, **told[2]}),
        *(host.describe(drawn[each], flat) if _is_drawn(drawn, each) else "" for each in firsts),
    ]


def _told(name: str, along: _Along, args: Args) -> dict[str, object]:
    if along.axis.label == "Nothing":
        return {}
    told: dict[str, object] = {f"{name} Type": along.axis.label, f"{name} Values": along.text}
    if along.axis.label in _SEEDED and not args.no_fixed_seeds:
        told[f"Fixed {name} Values"] = ", ".join(map(str, along.values))
    return told


EXTENSION = Extension(title=TITLE, modes=("txt2img", "img2img"), args=Args, run=run)
