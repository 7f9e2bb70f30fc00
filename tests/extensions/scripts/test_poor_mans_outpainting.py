"""Poor man's outpainting: tiles that reach out are inpainted, the others stay."""

import numpy as np
import pytest

from extensions.protocol import BadScriptArgs
from extensions.scripts.poor_mans_outpainting import EXTENSION

from ..fakes import FakeHost, image, picture


def test_only_tiles_that_reach_out_are_drawn() -> None:
    host = FakeHost()
    drawn = host.run(EXTENSION, image(), 32, 4, "fill", ["left", "right"])
    assert [each.seed for each in host.wanted] == [7, 8]
    assert host.expected == [2]
    (result,) = drawn.images
    assert result.size == (128, 64)
    # the tile in between is the picture itself, mixed into its neighbours
    assert result.getpixel((64, 9)) == picture("init").getpixel((0, 0))
    assert result.getpixel((0, 0)) == picture("a cat||7|4").getpixel((0, 0))
    assert result.getpixel((127, 0)) == picture("a cat||8|4").getpixel((0, 0))
    assert (drawn.seed, drawn.all_seeds, drawn.subseed) == (7, (8,), -1)
    assert drawn.infotexts == ("a cat||7|4",)


def test_masks_reach_into_the_picture_by_the_blur() -> None:
    host = FakeHost()
    host.run(EXTENSION, image(width=128), 32, 4, 1, ["right"])
    (wanted,) = host.wanted
    assert wanted.init_images[0].size == (128, 64)
    black = np.asarray(wanted.mask)[0] == 0
    assert black.tolist() == [True] * 57 + [False] * 71
    drawn = np.asarray(wanted.latent_mask)[0] == 0
    assert drawn.tolist() == [True] * 63 + [False] * 65
    assert (wanted.mask_blur, wanted.mask_blur_x, wanted.mask_blur_y) == (None, 8, 8)
    assert (wanted.inpaint_full_res, wanted.inpainting_fill) == (False, 1)
    assert (wanted.batch_size, wanted.n_iter) == (1, 1)


@pytest.mark.parametrize(("asked", "used"), [("fill", -1), ("original", -1), (0, 0), (2, 2)])
def test_a_name_fills_and_is_not_told(asked: int | str, used: int) -> None:
    host = FakeHost()
    host.run(EXTENSION, image(width=128), 32, 4, asked, ["right"])
    assert host.wanted[0].inpainting_fill == used


def test_an_interrupt_leaves_the_other_tiles_black() -> None:
    host = FakeHost(stop_after=1)
    (result,) = host.run(EXTENSION, image(), 32, 4, "fill", ["left", "right"]).images
    assert len(host.wanted) == 1
    assert result.getpixel((127, 0)) == (0, 0, 0)


@pytest.mark.parametrize(
    ("named", "said"),
    [
        ({"pixels": 10**9}, "pixels 1000000000"),
        ({"pixels": 64}, "overlap 64: allowed are 0 to less than"),
        ({"pixels": 8, "mask_blur": -1}, "mask_blur -1: allowed are 0 to 1000"),
        ({"pixels": 8, "direction": "north"}, "direction 'north'"),
    ],
)
def test_bad_arguments_are_named(named: dict[str, object], said: str) -> None:
    host = FakeHost()
    with pytest.raises(BadScriptArgs, match=said):
        host.run(EXTENSION, image(), **named)
    assert host.wanted == []
