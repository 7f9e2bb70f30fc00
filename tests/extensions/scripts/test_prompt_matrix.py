"""Prompt matrix: the combinations, their seeds, and the grid before them."""

import pytest

from extensions.protocol import BadScriptArgs
from extensions.scripts.prompt_matrix import EXTENSION

from ..fakes import FakeHost, picture, text


def test_every_combination_is_drawn_in_one_generation() -> None:
    host = FakeHost()
    drawn = host.run(EXTENSION, text(prompt="a cat|red| big,"))
    (wanted,) = host.wanted
    assert wanted.prompt == ("a cat", "a cat, red", "a cat, big", "a cat, red, big")
    assert wanted.seed == (7, 7, 7, 7)
    assert (wanted.n_iter, wanted.do_not_save_grid) == (4, True)
    assert drawn.all_prompts == wanted.prompt
    assert drawn.infotexts == (drawn.infotexts[1], *drawn.infotexts[1:])
    assert drawn.index_of_first_image == 1
    assert len(drawn.images) == len(drawn.infotexts) == 5
    assert host.expected == []


def test_the_grid_has_the_first_parts_along_the_columns() -> None:
    drawn = FakeHost().run(EXTENSION, text(prompt="x|one|two|three"))
    sheet, *alone = drawn.images
    assert (sheet.width, sheet.height > 128) == (48 + 4 * 64, True)
    for number, image in enumerate(alone):
        corner = 48 + number % 4 * 64, sheet.height - 128 + number // 4 * 64
        assert sheet.getpixel(corner) == image.getpixel((0, 0))


def test_parts_may_lead_and_be_joined_by_spaces() -> None:
    host = FakeHost()
    host.run(EXTENSION, text(prompt="a|b"), True, False, "positive", "space", 0)
    assert host.wanted[0].prompt == ("a", "b a")


def test_the_negative_prompt_may_vary() -> None:
    host = FakeHost()
    drawn = host.run(EXTENSION, text(negative_prompt="n|m"), prompt_type="negative")
    assert host.wanted[0].negative_prompt == ("n", "n, m")
    assert host.wanted[0].prompt == "a cat"
    assert drawn.all_negative_prompts == ("n", "n, m")


def test_seeds_may_differ_and_are_settled_first() -> None:
    host = FakeHost()
    host.run(EXTENSION, text(prompt="a|b|c", seed=-1, subseed=-1), different_seeds=True)
    seeds = host.wanted[0].seed
    assert seeds == tuple(seeds[0] + index for index in range(4))
    assert 0 <= seeds[0] < 2**32
    assert host.wanted[0].subseed >= 0


def test_batches_are_as_large_as_asked() -> None:
    host = FakeHost()
    host.run(EXTENSION, text(prompt="a|b|c", batch_size=3))
    assert (host.wanted[0].batch_size, host.wanted[0].n_iter) == (3, 2)


def test_without_parts_there_is_one_picture_under_its_grid() -> None:
    drawn = FakeHost().run(EXTENSION, text(prompt="a cat"))
    assert len(drawn.images) == 2
    # the reference leaves the gap between two lines of the label that is not there
    assert drawn.images[0].size == (64, 66)
    assert drawn.images[0].getpixel((0, 2)) == picture("a cat||7|4").getpixel((0, 0))


def test_many_parts_are_one_too_many() -> None:
    host = FakeHost()
    with pytest.raises(BadScriptArgs, match="combinations: 2048; allowed are 1 to 1024"):
        host.run(EXTENSION, text(prompt="a" + "|b" * 11))
    with pytest.raises(BadScriptArgs, match="combinations: far too many"):
        host.run(EXTENSION, text(prompt="|" * 100_000))
    with pytest.raises(BadScriptArgs, match="the grid would have"):
        host.run(EXTENSION, text(prompt="a" + "|b" * 10, width=2048, height=2048))
    assert host.wanted == []


@pytest.mark.parametrize(
    ("named", "said"),
    [
        ({"prompt_type": "both"}, "prompt_type 'both': allowed are positive, negative"),
        ({"variations_delimiter": "tab"}, "variations_delimiter 'tab': allowed are comma, space"),
        ({"margin_size": 10**9}, "margin_size 1000000000: allowed are 0 to 500"),
    ],
)
def test_bad_arguments_are_named(named: dict[str, object], said: str) -> None:
    with pytest.raises(BadScriptArgs, match=said):
        FakeHost().run(EXTENSION, text(prompt="a|b"), **named)
