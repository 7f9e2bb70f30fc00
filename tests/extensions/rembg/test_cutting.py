"""What is cut out, pixel by pixel; alpha matting within its bounds."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFilter

from extensions.protocol import BadScriptArgs
from extensions.rembg.args import Args
from extensions.rembg.cutting import MAX_MATTING_PIXELS, MAX_UNSURE, Cut, cut
from tests.extensions.rembg.standins import RED, SIDE, disc, inside

SOFT = Args(alpha_matting=True)


class Masks:
    """A net that finds the masks that it was made with."""

    def __init__(self, *masks: Any) -> None:
        self._masks = [Image.fromarray(np.asarray(mask, np.uint8)) for mask in masks]

    def masks(self, picture: Image.Image) -> list[Image.Image]:
        assert picture.mode in ("RGB", "RGBA")
        return [mask.resize(picture.size) for mask in self._masks]


def made(picture: Image.Image, args: Args, *masks: Any) -> Cut:
    net: Any = Masks(*masks)
    return cut(net, picture, args)


def test_a_cut_has_the_colours_of_the_picture_and_the_mask_as_alpha() -> None:
    done = made(disc(), Args(), inside() * 255)
    assert (done.image.mode, done.image.size, done.note) == ("RGBA", (SIDE, SIDE), "")
    pixels = np.asarray(done.image)
    np.testing.assert_array_equal(pixels[..., 3], inside() * 255)
    assert (pixels[inside()] == (*RED, 255)).all()
    assert (pixels[~inside()] == 0).all()


def test_a_mask_alone_is_grey() -> None:
    for args in (Args(return_mask=True), Args(return_mask=True, alpha_matting=True)):
        done = made(disc(), args, inside() * 200)
        assert (done.image.mode, done.image.size, done.note) == ("L", (SIDE, SIDE), "")
        np.testing.assert_array_equal(np.asarray(done.image), inside() * 200)


@pytest.mark.parametrize("mode", ["L", "P", "1", "CMYK", "YCbCr", "HSV", "LAB"])
def test_pictures_of_every_mode_are_cut(mode: str) -> None:
    done = made(disc(mode=mode), Args(), inside() * 255)
    assert done.image.mode == "RGBA"
    np.testing.assert_array_equal(np.asarray(done.image)[..., 3], inside() * 255)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA", "RGBa"])
@pytest.mark.parametrize("args", [Args(), SOFT])
def test_what_was_transparent_stays_so(mode: str, args: Args) -> None:
    picture = disc(mode="RGBA")
    faint = np.full((SIDE, SIDE), 255, np.uint8)
    faint[: SIDE // 2] = 0
    picture.putalpha(Image.fromarray(faint))
    done = made(picture.convert(mode), args, inside() * 255)
    alpha = np.asarray(done.image)[..., 3]
    assert done.image.mode == "RGBA"
    assert (alpha[: SIDE // 2] == 0).all()
    lower = inside()[SIDE // 2 :]
    wrong = np.abs(alpha[SIDE // 2 :].astype(int) - lower * 255) > 64
    assert wrong.mean() < 0.01
    if args is not SOFT:
        assert not wrong.any()


def test_a_palette_with_a_transparent_colour_keeps_it() -> None:
    picture = disc(mode="P")
    picture.info["transparency"] = int(np.asarray(picture)[0, 0])
    done = made(picture, Args(), np.full((SIDE, SIDE), 255))
    np.testing.assert_array_equal(np.asarray(done.image)[..., 3], inside() * 255)


@pytest.mark.parametrize("size", [(1, 1), (1, 90), (90, 1), (2, 2), (3, 200)])
@pytest.mark.parametrize("level", [0, 255])
@pytest.mark.parametrize("matting", [False, True])
def test_pictures_of_a_few_pixels_are_cut(size: tuple[int, int], level: int, matting: bool) -> None:
    picture = Image.new("RGB", size, RED)
    done = made(picture, Args(alpha_matting=matting), np.full((4, 4), level))
    assert done.image.size == size
    assert done.image.getpixel((0, 0)) == ((*RED, 255) if level else (0, 0, 0, 0))
    assert bool(done.note) is matting


def test_several_masks_are_stacked() -> None:
    upper, lower = inside() * 255, ~inside() * 255
    done = made(disc(), Args(), upper, lower, upper)
    assert (done.image.mode, done.image.size) == ("RGBA", (SIDE, 3 * SIDE))
    alpha = np.asarray(done.image)[..., 3]
    np.testing.assert_array_equal(alpha, np.concatenate([upper, lower, upper]))
    mask = made(disc(), Args(return_mask=True), upper, lower, upper)
    assert mask.image.mode == "L"
    np.testing.assert_array_equal(np.asarray(mask.image), alpha)


def test_matting_makes_an_edge_as_soft_as_the_picture_is() -> None:
    """A disc that fades into blue: the mask is hard, the alpha follows the colours."""
    soft = disc((160, 160)).filter(ImageFilter.GaussianBlur(4))
    share = np.asarray(soft)[..., 0] / 255
    plain = made(soft, Args(), inside((160, 160)) * 255)
    done = made(soft, SOFT, inside((160, 160)) * 255)
    assert done.note == ""
    alpha = np.asarray(done.image)[..., 3] / 255
    error = np.abs(alpha - share)
    assert error.mean() < 0.015
    assert error.mean() < np.abs(np.asarray(plain.image)[..., 3] / 255 - share).mean() / 3
    # the colour of the disc alone, without the blue that it fades into
    edge = (alpha > 0.3) & (alpha < 0.9)
    assert np.asarray(done.image)[edge][:, 2].mean() < 40


@pytest.mark.parametrize(
    ("level", "said"), [(0, "did not contain foreground"), (255, "did not contain background")]
)
def test_matting_of_all_or_nothing_falls_back_to_the_plain_cut(level: int, said: str) -> None:
    mask = np.full((SIDE, SIDE), level)
    done = made(disc(), SOFT, mask)
    assert done.note.startswith("left out: Trimap ")
    assert said in done.note
    assert done.image.tobytes() == made(disc(), Args(), mask).image.tobytes()


def test_matting_that_leaves_nothing_sure_falls_back_to_the_plain_cut() -> None:
    done = made(disc((50, 50)), Args(alpha_matting=True, alpha_matting_erode_size=40), inside())
    assert "did not contain foreground" in done.note
    assert done.image.size == (50, 50)


def test_matting_of_a_mask_that_is_nowhere_sure_is_left_out() -> None:
    side = 1024
    mask = np.full((side, side), 128)
    mask[:, :200], mask[:, -200:] = 0, 255
    done = made(Image.new("RGB", (side, side), RED), SOFT, mask)
    assert done.note == (
        f"left out: {side * (side - 400)} pixels of the mask are unsure, over {MAX_UNSURE}"
    )
    np.testing.assert_array_equal(np.asarray(done.image)[..., 3], mask)


def test_matting_of_a_picture_too_large_is_refused_before_anything_is_run() -> None:
    size = (4096, MAX_MATTING_PIXELS // 4096 + 1)
    with pytest.raises(BadScriptArgs) as told:
        made(Image.new("RGB", size), SOFT)
    assert str(told.value) == "alpha_matting of 4096x1025 pixels: allowed are 4194304 in all"
    for args in (Args(), Args(return_mask=True, alpha_matting=True)):
        assert made(Image.new("RGB", size), args, [[255, 0]]).image.size == size


_AT_A_TIME = """
import numpy as np, threading
from PIL import Image
from extensions.rembg.args import Args
from extensions.rembg.cutting import cut

picture = Image.new("RGB", (96, 96), (200, 20, 20))
mask = np.zeros((96, 96), np.uint8)
mask[:, 48:] = 255

class Net:
    def masks(self, picture):
        return [Image.fromarray(mask)]

def work():
    for _ in range(5):
        assert cut(Net(), picture, Args(alpha_matting=True)).note == ""

threads = [threading.Thread(target=work) for _ in range(4)]
[each.start() for each in threads]
[each.join() for each in threads]
import numba
print(numba.threading_layer())
"""


@pytest.mark.slow
def test_matting_in_many_threads_does_not_end_the_process_where_there_is_no_openmp() -> None:
    """numba's own threads, which it takes without libgomp, abort if two callers meet."""
    env = {**os.environ, "NUMBA_THREADING_LAYER": "workqueue"}
    root = Path(__file__).parents[3]
    run = subprocess.run(
        [sys.executable, "-c", _AT_A_TIME], cwd=root, env=env, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines()[-1] == "workqueue"
