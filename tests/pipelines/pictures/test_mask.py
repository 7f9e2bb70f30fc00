"""Masks: what a picture means, blurs to the level of OpenCV's, and boxes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pipelines.pictures import mask
from pipelines.pictures.prepared import MaskUse

from .made import noise, pixels, recorded, spot

SHARP = MaskUse(blur=(0, 0))
# the left half of cv2.GaussianBlur of 24 pixels, 255 from 10 to 13, by kernels of
# 2 * int(2.5 * sigma + 0.5) + 1
BLURRED = {
    1: [0, 0, 0, 0, 0, 0, 0, 1, 15, 77, 178, 239],
    2: [0, 0, 0, 0, 0, 2, 9, 26, 57, 100, 144, 172],
    4: [2, 3, 7, 12, 20, 29, 41, 55, 69, 83, 93, 99],
    8: [38, 37, 39, 39, 41, 44, 44, 48, 49, 50, 51, 51],
}


@pytest.mark.parametrize("sigma", BLURRED)
def test_blur_is_opencvs_to_the_level(sigma: int) -> None:
    wanted = [*BLURRED[sigma], *BLURRED[sigma][::-1]]
    line = spot(24, 1, (10, 0, 14, 1))
    assert pixels(mask.blurred(line, sigma, 0))[0].tolist() == wanted
    upright = line.transpose(Image.Transpose.ROTATE_90)
    assert pixels(mask.blurred(upright, 0, sigma))[:, 0].tolist() == wanted


def test_a_mask_smaller_than_the_blur_is_mirrored_over_and_over() -> None:
    tiny = Image.fromarray(np.array([[0, 255, 0, 0, 200]], np.uint8))
    assert pixels(mask.blurred(tiny, 4, 4))[0].tolist() == [89, 90, 88, 90, 86]
    assert pixels(mask.blurred(Image.new("L", (1, 1), 77), 1024, 1024)).tolist() == [[77]]


def test_blur_goes_across_and_down_by_its_own_sigma() -> None:
    dot = spot(41, 41, (20, 20, 21, 21))
    found = mask.blurred(dot, 4, 1).getbbox()
    assert found is not None
    assert (found[2] - found[0]) > 2 * (found[3] - found[1])
    assert mask.blurred(dot, 0, -3).tobytes() == dot.tobytes()


def test_alpha_counts_where_it_says_anything() -> None:
    picture = Image.new("RGBA", (4, 1), (255, 255, 255, 255))
    assert pixels(mask.read(picture, SHARP)).tolist() == [[255] * 4]
    for x, alpha in enumerate((0, 128, 129, 255)):
        picture.putpixel((x, 0), (255, 255, 255, alpha))
    assert pixels(mask.read(picture, SHARP)).tolist() == [[0, 0, 255, 255]]
    greys = MaskUse(blur=(0, 0), round=False)
    assert pixels(mask.read(picture, greys)).tolist() == [[0, 128, 129, 255]]


def test_lightness_counts_in_any_other_picture() -> None:
    picture = Image.new("RGB", (2, 1), (255, 0, 0))
    picture.putpixel((1, 0), (255, 255, 255))
    assert pixels(mask.read(picture, SHARP)).tolist() == [[76, 255]]
    inverted = MaskUse(blur=(0, 0), inverted=True)
    assert pixels(mask.read(picture, inverted)).tolist() == [[179, 0]]


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "CMYK", "YCbCr", "I", "F", "I;16"])
def test_any_mode_is_a_mask(mode: str) -> None:
    picture = Image.new("L", (8, 8), 255)
    picture = picture.convert("I").convert(mode) if mode == "I;16" else picture.convert(mode)
    assert mask.read(picture, MaskUse()).mode == "L"


def test_doubled_covers_wholly_from_the_half_on() -> None:
    greys = Image.fromarray(np.array([[0, 1, 100, 127, 128, 255]], np.uint8))
    assert pixels(mask.doubled(greys)).tolist() == [[0, 2, 200, 254, 255, 255]]


def test_latents_get_the_mask_in_an_eighth_of_the_size() -> None:
    picture = mask.read(recorded("mask64_circle"), MaskUse())
    rounded = mask.for_latents(picture, MaskUse(), 64, 64)
    assert rounded.shape == (8, 8)
    assert rounded.dtype == np.float32
    assert set(np.unique(rounded)) == {0, 1}
    greys = mask.for_latents(picture, MaskUse(round=False), 64, 70)
    assert greys.shape == (8, 8)
    assert len(np.unique(greys)) > 5
    assert (greys >= 0).all() and (greys <= 1).all()


def test_box_surrounds_the_mask_and_takes_the_wanted_shape() -> None:
    picture = spot(128, 128, (40, 40, 80, 60))
    assert mask.box(picture, 0, 512, 512) == (40, 30, 80, 70)
    assert mask.box(picture, 8, 512, 512) == (32, 22, 88, 78)
    assert mask.box(picture, 0, 1024, 512) == (40, 40, 80, 60)
    assert mask.box(picture, 0, 2048, 512) == (20, 40, 100, 60)
    assert mask.box(Image.new("L", (9, 9)), 5, 64, 64) is None


def test_box_is_moved_and_cut_at_the_borders() -> None:
    assert mask.box(spot(100, 100, (0, 0, 40, 10)), 0, 64, 64) == (0, 0, 40, 40)
    assert mask.box(spot(100, 100, (60, 90, 100, 100)), 0, 64, 64) == (60, 60, 100, 100)
    assert mask.box(spot(100, 20, (10, 5, 90, 15)), 0, 64, 64) == (10, 0, 90, 20)


@settings(max_examples=200, deadline=None)
@given(
    size=st.tuples(st.integers(1, 300), st.integers(1, 300)),
    wanted=st.tuples(st.integers(16, 2048), st.integers(16, 2048)),
    padding=st.integers(0, 400),
    data=st.data(),
)
def test_box_lies_inside_and_around_the_mask(
    size: tuple[int, int], wanted: tuple[int, int], padding: int, data: st.DataObject
) -> None:
    left, top = data.draw(st.integers(0, size[0] - 1)), data.draw(st.integers(0, size[1] - 1))
    right = data.draw(st.integers(left + 1, size[0]))
    bottom = data.draw(st.integers(top + 1, size[1]))
    found = mask.box(spot(*size, (left, top, right, bottom)), padding, *wanted)
    assert found is not None
    assert 0 <= found[0] <= left and 0 <= found[1] <= top
    assert right <= found[2] <= size[0] and bottom <= found[3] <= size[1]


def test_for_pixels_has_the_pictures_size() -> None:
    shares = mask.for_pixels(noise(10, 20, "L"), MaskUse(), (30, 40))
    assert shares.shape == (40, 30)
    assert set(np.unique(shares)) == {0, 1}
