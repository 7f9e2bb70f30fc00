"""X/Y/Z plot: the cells, their order, and all the ways to tell of them."""

from typing import Any

import pytest

from extensions.protocol import BadScriptArgs
from extensions.scripts.xyz_plot import EXTENSION
from extensions.wanted import Pictures

from ..fakes import FakeHost, picture, text

STEPS, CFG, SAMPLER, CHECKPOINT, SEED, SIZE = 4, 6, 9, 11, 1, 41


def _plot(host: FakeHost, wanted: Any = None, **named: object) -> Pictures:
    first = {"x_type": STEPS, "x_values": "3,5", "y_type": CFG, "y_values": "2,7"}
    return host.run(EXTENSION, wanted or text(), **{**first, "z_type": 0, **named})


def _steps_and_scale(host: FakeHost) -> list[tuple[int, float]]:
    return [(each.steps, each.cfg_scale) for each in host.wanted]


def test_x_changes_first_and_the_reply_is_the_grid_alone() -> None:
    host = FakeHost()
    drawn = _plot(host)
    assert _steps_and_scale(host) == [(3, 2.0), (5, 2.0), (3, 7.0), (5, 7.0)]
    assert host.expected == [4]
    assert [each.size for each in drawn.images] == [(176, 137)]
    axes = {"Script": "X/Y/Z plot", "X Type": "Steps", "X Values": "3,5"}
    axes |= {"Y Type": "CFG Scale", "Y Values": "2,7"}
    assert drawn.infotexts == (
        f"a cat||7|3 {axes}",
        "a cat||7|3",
        "a cat||7|5",
        "a cat||7|3",
        "a cat||7|5",
    )
    assert drawn.all_prompts == ("a cat",) * 4
    assert drawn.all_seeds == (7,) * 4
    assert drawn.all_negative_prompts == ("",)
    assert (drawn.seed, drawn.index_of_first_image, drawn.info["steps"]) == (7, 1, 3)
    assert drawn.extra_generation_params == {"Seen": 4}


def test_sub_grids_and_pictures_alone_come_where_asked_for() -> None:
    named = {"z_type": SEED, "z_values": "1,2,3", "include_lone_images": True}
    named |= {"include_sub_grids": True, "draw_legend": False}
    drawn = _plot(FakeHost(), **named)
    assert [each.size for each in drawn.images] == [(384, 128), *[(128, 128)] * 3, *[(64, 64)] * 12]
    assert len(drawn.infotexts) == 16
    assert drawn.all_seeds == (1, 2, 3, *[1] * 4, *[2] * 4, *[3] * 4)
    assert "Z Type" in drawn.infotexts[0]
    assert "Fixed Z Values': '1, 2, 3'" in drawn.infotexts[0]
    assert drawn.infotexts[2].startswith("a cat||2|3 {'Script'")
    assert "Z Type" not in drawn.infotexts[2]
    assert drawn.images[0].getpixel((128 + 64, 64)) == drawn.images[4 + 4 + 3].getpixel((0, 0))


def test_pictures_alone_without_sub_grids() -> None:
    drawn = _plot(FakeHost(), z_type=SEED, z_values="1,2", include_lone_images=True)
    assert len(drawn.images) == 1 + 8
    assert len(drawn.infotexts) == 1 + 8
    assert drawn.all_seeds == (1,) * 4 + (2,) * 4


def test_what_costs_most_changes_least() -> None:
    host = FakeHost()
    models = ["first", "second"]
    drawn = _plot(host, x_type=CHECKPOINT, x_values_dropdown=models, include_lone_images=True)
    used = [each.override_settings["sd_model_checkpoint"] for each in host.wanted]
    assert used == ["first.safetensors"] * 2 + ["second.safetensors"] * 2
    assert [each.cfg_scale for each in host.wanted] == [2.0, 7.0] * 2
    assert len(drawn.images) == 5
    assert "X Values': 'first,second'" in drawn.infotexts[0]


def test_lists_are_read_from_lists_unless_text_is_asked_for() -> None:
    named: dict[str, object] = {"x_type": SAMPLER, "x_values": "Euler", "y_type": 0}
    for more, used in (
        ({"x_values_dropdown": ["Euler a", "DPM++ 2M"]}, ["Euler a", "DPM++ 2M"]),
        ({"x_values_dropdown": ["Euler a"], "csv_mode": True}, ["Euler"]),
        ({"x_values_dropdown": []}, ["Euler"]),
    ):
        host = FakeHost()
        _plot(host, **{**named, **more})
        assert [each.sampler_name for each in host.wanted] == used


def test_axes_may_be_named() -> None:
    host = FakeHost()
    _plot(host, x_type="steps", y_type="Nothing")
    assert [each.steps for each in host.wanted] == [3, 5]


def test_seeds_are_settled_once() -> None:
    host = FakeHost()
    _plot(host, text(seed=-1, subseed=-1))
    assert len({(each.seed, each.subseed) for each in host.wanted}) == 1
    assert host.wanted[0].seed >= 0
    kept = FakeHost()
    _plot(kept, text(seed=-1), no_fixed_seeds=True)
    assert {each.seed for each in kept.wanted} == {-1}
    axis = FakeHost()
    drawn = _plot(axis, x_type=SEED, x_values="-1, 5", y_type=0)
    first, second = (each.seed for each in axis.wanted)
    assert first >= 0 and second == 5
    assert f"'Fixed X Values': '{first}, 5'" in drawn.infotexts[0]


def test_seeds_may_vary_along_directions() -> None:
    host = FakeHost()
    _plot(host, vary_seeds_x=True, vary_seeds_y=True)
    assert [each.seed for each in host.wanted] == [7, 8, 9, 10]
    host = FakeHost()
    _plot(host, vary_seeds_y=True)
    assert [each.seed for each in host.wanted] == [7, 7, 8, 8]


def test_cells_of_several_sizes_are_centred() -> None:
    host = FakeHost()
    drawn = _plot(host, x_type=SIZE, x_values="64x64, 96x32", y_type=0, draw_legend=False)
    assert drawn.images[0].size == (192, 64)
    assert drawn.images[0].getpixel((0, 0)) == (255, 255, 255)
    assert drawn.images[0].getpixel((16, 0)) == picture("a cat||7|4").getpixel((0, 0))


def test_an_interrupt_leaves_the_other_cells_black() -> None:
    host = FakeHost(stop_after=2)
    drawn = _plot(host, include_lone_images=True)
    assert len(host.wanted) == 2
    assert [each.getpixel((0, 0)) == (0, 0, 0) for each in drawn.images[1:]] == [
        False,
        False,
        True,
        True,
    ]
    assert drawn.infotexts[3:] == ("", "")


@pytest.mark.parametrize(
    ("named", "said"),
    [
        ({"x_type": 99}, "X type 99: allowed are 0 to 41"),
        ({"y_type": "Mood"}, "Y type 'Mood': allowed are Nothing, Seed"),
        ({"x_values": ""}, "X values: give one or more for 'Steps'"),
        ({"x_values": "three"}, "Steps 'three'"),
        ({"x_values": "1-1000", "y_values": "1-1000"}, "cells: 1000000; allowed are 1 to 1024"),
        ({"margin_size": 1000}, "margin_size 1000"),
        ({"x_values": "3,0"}, "steps 0: at least 1"),
        ({"x_type": SIZE, "x_values": "64x64, 1000000x1000000"}, "the grid would have"),
    ],
)
def test_bad_arguments_are_named_before_anything_is_drawn(
    named: dict[str, object], said: str
) -> None:
    host = FakeHost()
    with pytest.raises(BadScriptArgs, match=said):
        _plot(host, **named)
    assert host.wanted == []


def test_the_grids_size_is_a_setting() -> None:
    host = FakeHost()
    host.options["img_max_size_mp"] = 1
    with pytest.raises(BadScriptArgs, match="img_max_size_mp allows less than 1"):
        _plot(host, text(width=512, height=512))
