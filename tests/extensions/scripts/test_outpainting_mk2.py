"""Outpainting mk2: one generation a side, each on the canvas of the one before."""

import numpy as np
import pytest
from PIL import Image

from extensions.protocol import BadScriptArgs
from extensions.scripts.outpainting_mk2 import EXTENSION

from ..fakes import FakeHost, image, picture


def _textured() -> Image.Image:
    rng = np.random.default_rng(1)
    return Image.fromarray(rng.integers(0, 255, (64, 64, 3), dtype=np.uint8))


def test_one_side_is_drawn_with_noise_and_masks() -> None:
    host, init = FakeHost(), _textured()
    wanted = image(init_images=(init,), width=128)
    drawn = host.run(EXTENSION, wanted, None, 64, 4, ["right"], 1.0, 0.05)
    (part,) = host.wanted
    assert (part.width, part.height) == (128, 64)
    canvas = part.init_images[0]
    assert canvas.size == (128, 64)
    assert np.array_equal(np.asarray(canvas)[:, :60], np.asarray(init)[:, :60])
    assert np.asarray(canvas)[:, 64:].std() > 20
    assert (np.asarray(part.mask)[0, :, 0] == 0).tolist() == [True] * 61 + [False] * 67
    assert (np.asarray(part.latent_mask)[0, :, 0] == 0).tolist() == [True] * 57 + [False] * 71
    assert (part.mask_blur, part.mask_blur_x, part.mask_blur_y) == (None, 16, 0)
    assert (part.inpaint_full_res, part.inpainting_fill, part.seed) == (False, 1, 7)
    assert [each.size for each in drawn.images] == [(128, 64)]
    assert (drawn.seed, drawn.subseed) == (7, -1)
    assert drawn.infotexts == ("a cat||7|4",)


def test_sides_come_one_after_the_other() -> None:
    host = FakeHost()
    drawn = host.run(EXTENSION, image(init_images=(_textured(),)), pixels=16)
    assert host.expected == [4]
    sizes = [each.init_images[0].size for each in host.wanted]
    # as much as the client's 64 across, but the whole of the other side
    assert sizes == [(64, 64), (64, 64), (128, 64), (128, 64)]
    assert {(each.mask_blur_x, each.mask_blur_y) for each in host.wanted} == {(32, 32)}
    assert drawn.images[0].size == (128, 128)
    left, right = host.wanted[:2]
    assert (np.asarray(left.mask)[0, :, 0] == 255).tolist() == [True] * 40 + [False] * 24
    assert (np.asarray(right.mask)[0, :, 0] == 255).tolist() == [False] * 25 + [True] * 39


def test_what_is_drawn_is_pasted_at_its_side() -> None:
    host = FakeHost()
    wanted = image(init_images=(_textured(),), width=64)
    (result,) = host.run(EXTENSION, wanted, pixels=64, direction=["left"]).images
    assert result.size == (128, 64)
    assert result.getpixel((0, 0)) == picture("a cat||7|4").getpixel((0, 0))
    assert np.array_equal(np.asarray(result)[:, 72:], np.asarray(_textured())[:, 8:])


def test_several_pictures_have_a_grid() -> None:
    host = FakeHost()
    wanted = image(init_images=(_textured(),), n_iter=2, batch_size=2)
    drawn = host.run(EXTENSION, wanted, pixels=32, direction=["down"])
    assert len(host.wanted) == 2
    assert len(host.wanted[0].init_images) == 2
    assert [each.size for each in drawn.images] == [(128, 256), *[(64, 128)] * 4]
    assert len(drawn.infotexts) == 5


@pytest.mark.parametrize(
    ("named", "said"),
    [
        ({"pixels": 10**9}, "pixels 1000000000"),
        ({"direction": []}, "direction names no side"),
        ({"noise_q": 1e9}, "noise_q 1000000000.0: allowed are 0 to 100"),
        ({"color_variation": 2}, "color_variation 2: allowed are 0 to 1"),
        ({"mask_blur": 5000}, "mask_blur 5000"),
    ],
)
def test_bad_arguments_are_named(named: dict[str, object], said: str) -> None:
    host = FakeHost()
    with pytest.raises(BadScriptArgs, match=said):
        host.run(EXTENSION, image(), **named)
    assert host.wanted == []


def test_a_batch_of_large_pictures_is_refused() -> None:
    with pytest.raises(BadScriptArgs, match="the grid would have"):
        FakeHost().run(EXTENSION, image(batch_size=1024), pixels=1000)
