"""Filling a hole: what is kept stays, the hole takes the colours around it."""

import numpy as np
from PIL import Image

from pipelines.pictures.surroundings import filled, without

from .made import noise, pixels, spot

HOLE = spot(64, 64, (16, 16, 48, 48))


def test_the_hole_takes_the_colour_around_it() -> None:
    image = Image.new("RGB", (64, 64), (10, 200, 60))
    image.paste((255, 0, 255), (16, 16, 48, 48))
    result = pixels(filled(image, HOLE))
    assert np.abs(result - (10, 200, 60)).max() <= 6  # premultiplied levels are coarse


def test_what_is_not_masked_is_kept() -> None:
    image = noise(64, 64)
    result, kept = pixels(filled(image, HOLE)), pixels(HOLE) == 0
    assert (result[kept] == pixels(image)[kept]).all()
    assert (result[~kept] != pixels(image)[~kept]).any()


def test_near_colours_count_more_than_far_ones() -> None:
    image = Image.new("RGB", (64, 64), (200, 0, 0))
    image.paste((0, 0, 200), (32, 0, 64, 64))
    result = pixels(filled(image, HOLE))
    assert result[32, 18, 0] > 150 > 50 > result[32, 18, 2]
    assert result[32, 45, 2] > 150 > 50 > result[32, 45, 0]


def test_without_leaves_premultiplied_pixels() -> None:
    half = Image.new("L", (2, 1), 128)
    half.putpixel((1, 0), 255)
    rest = without(Image.new("RGB", (2, 1), (200, 100, 0)), half)
    assert rest.mode == "RGBa"
    assert pixels(rest)[0].tolist() == [[100, 50, 0, 127], [0, 0, 0, 0]]


def test_nothing_kept_is_black() -> None:
    assert filled(noise(8, 8), Image.new("L", (8, 8), 255)).getextrema() == ((0, 0),) * 3
