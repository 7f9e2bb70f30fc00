"""Loopback: each picture the next one's init, strengths along the curve."""

import pytest

from extensions.protocol import BadScriptArgs
from extensions.scripts.loopback import EXTENSION

from ..fakes import FakeHost, image, picture


def test_each_picture_begins_with_the_one_before() -> None:
    host = FakeHost()
    drawn = host.run(EXTENSION, image(inpainting_fill=0), 3, 0.3, "Linear", "None")
    first, second, third = host.wanted
    assert first.init_images == (picture("init"),)
    assert second.init_images == drawn.images[1:2]
    assert third.init_images == drawn.images[2:3]
    assert [each.seed for each in host.wanted] == [7, 8, 9]
    assert [each.inpainting_fill for each in host.wanted] == [0, 1, 1]
    assert [each.denoising_strength for each in host.wanted] == pytest.approx([0.5, 0.4, 0.3])
    assert host.extra[0] == {"Final denoising strength": 0.3, "Denoising curve": "Linear"}
    assert host.expected == [3]


def test_the_reply_is_told_by_the_first_loop() -> None:
    drawn = FakeHost().run(EXTENSION, image(), 2, 0.3, "Linear", "None")
    assert drawn.images[0].size == (128, 64)
    assert drawn.infotexts == ("a cat||7|4",) * 3
    assert (drawn.seed, drawn.all_seeds, drawn.subseed) == (7, (8,), -1)
    assert drawn.index_of_first_image == 0
    # as the reference tells it: what one more loop would have had
    assert drawn.info["denoising_strength"] == 0.09999999999999998
    assert drawn.extra_generation_params["Seen"] == 2


@pytest.mark.parametrize(
    ("curve", "strengths"),
    [
        ("Linear", [0.5, 0.75, 1.0]),
        ("Aggressive", [0.5, 0.8535534, 1.0]),
        ("Lazy", [0.5, 0.6464466, 1.0]),
    ],
)
def test_strengths_follow_the_curve(curve: str, strengths: list[float]) -> None:
    host = FakeHost()
    host.run(EXTENSION, image(), 3, 1.0, curve, "None")
    assert [each.denoising_strength for each in host.wanted] == pytest.approx(strengths)


def test_one_loop_keeps_the_strength_and_has_no_grid() -> None:
    drawn = FakeHost().run(EXTENSION, image(), loops=1, final_denoising_strength=0.1)
    assert len(drawn.images) == 1
    assert drawn.info["denoising_strength"] == 0.5


def test_several_runs_begin_anew_and_keep_their_last_pictures() -> None:
    host = FakeHost()
    wanted = image(n_iter=2, batch_size=4, inpainting_fill=2)
    drawn = host.run(EXTENSION, wanted, loops=2, final_denoising_strength=1.0)
    assert [each.seed for each in host.wanted] == [7, 8, 9, 10]
    assert [each.denoising_strength for each in host.wanted] == [0.5, 1.0, 0.5, 1.0]
    assert [each.inpainting_fill for each in host.wanted] == [2, 1, 2, 1]
    assert host.wanted[2].init_images == (picture("init"),)
    assert {(each.n_iter, each.batch_size) for each in host.wanted} == {(1, 1)}
    assert drawn.images[1:] == (picture("a cat||8|4"), picture("a cat||10|4"))


def test_the_grid_is_a_setting() -> None:
    host = FakeHost()
    host.options["return_grid"] = False
    assert len(host.run(EXTENSION, image(), loops=3).images) == 3


def test_colours_are_those_of_the_first_picture_where_settings_say() -> None:
    host = FakeHost()
    host.options["img2img_color_correction"] = True
    host.run(EXTENSION, image(), loops=2)
    assert [each.color_reference for each in host.wanted] == [picture("init")] * 2


def test_an_interrupt_leaves_out_the_loop_under_way() -> None:
    host = FakeHost(stop_after=2)
    drawn = host.run(EXTENSION, image(), loops=4)
    assert len(host.wanted) == 2
    assert drawn.images == (picture("a cat||7|4"),)


def test_a_skip_ends_the_loops() -> None:
    host = FakeHost(skip_at=1)
    drawn = host.run(EXTENSION, image(), loops=4)
    assert len(host.wanted) == 2
    assert drawn.images == (picture("a cat||7|4"),)


@pytest.mark.parametrize(
    ("named", "said"),
    [
        ({"loops": 10**9}, "loops \\* n_iter: 1000000000; allowed are 1 to 1024"),
        ({"loops": 10**30}, "loops \\* n_iter: far too many"),
        ({"loops": 0}, "loops \\* n_iter: 0"),
        ({"denoising_curve": "Cubic"}, "denoising_curve 'Cubic': allowed are Aggressive, Linear"),
        ({"append_interrogation": "CLIP"}, "append_interrogation 'CLIP': no interrogator"),
        ({"append_interrogation": "BLIP"}, "append_interrogation 'BLIP': allowed are None, CLIP"),
    ],
)
def test_bad_arguments_are_named(named: dict[str, object], said: str) -> None:
    host = FakeHost()
    with pytest.raises(BadScriptArgs, match=said):
        host.run(EXTENSION, image(), **named)
    assert host.wanted == []


def test_it_needs_a_picture() -> None:
    with pytest.raises(BadScriptArgs, match="init_images is empty"):
        FakeHost().run(EXTENSION, image(init_images=()))
