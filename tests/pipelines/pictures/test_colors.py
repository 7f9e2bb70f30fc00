"""Colour correction: 8-bit LAB as OpenCV has it, histograms and lightness."""

import numpy as np
from PIL import Image

from pipelines.pictures.colors import corrected, from_lab, to_lab

from .made import noise, pixels, recorded

RGB = [[0, 0, 0], [255, 255, 255], [255, 0, 0], [0, 255, 0], [0, 0, 255], [128, 128, 128],
       [12, 200, 77], [250, 128, 114], [1, 2, 3]]  # fmt: skip
# what cv2 4.11 makes of them
LAB = [[0, 128, 128], [255, 128, 128], [136, 208, 195], [224, 42, 211], [82, 207, 20],
       [137, 128, 128], [181, 61, 177], [172, 173, 157], [1, 128, 127]]  # fmt: skip
BACK = [[0, 0, 0], [255, 255, 255], [255, 2, 1], [7, 255, 3], [0, 1, 255], [128, 128, 128],
        [4, 201, 77], [250, 129, 115], [0, 2, 4]]  # fmt: skip


def test_lab_is_opencvs() -> None:
    image = Image.fromarray(np.array([RGB], np.uint8))
    assert to_lab(image)[0].tolist() == LAB


def test_lab_back_is_opencvs_to_a_level() -> None:
    back = from_lab(np.array([LAB], np.uint8))[0].astype(int)
    assert np.abs(back - BACK).max() <= 2
    assert np.abs(back - BACK).mean() <= 0.4


def test_matching_is_the_references() -> None:
    """4x4 against 3x5 pixels by scikit-image and blendmodes, within a rounding or two."""
    source = [
        [[207, 21, 45], [60, 46, 205], [222, 149, 10], [24, 85, 110]],
        [[159, 122, 67], [40, 177, 188], [8, 29, 115], [100, 227, 132]],
        [[107, 110, 170], [150, 44, 188], [193, 244, 201], [72, 81, 166]],
        [[166, 178, 222], [74, 240, 0], [19, 249, 241], [76, 35, 80]],
    ]
    target = [
        [[11, 228, 169], [149, 62, 120], [48, 197, 121], [7, 65, 180], [133, 95, 64]],
        [[23, 155, 169], [133, 238, 237], [53, 155, 161], [63, 76, 124], [189, 74, 184]],
        [[167, 55, 99], [212, 215, 168], [1, 174, 57], [209, 233, 109], [244, 194, 83]],
    ]
    wanted = [
        [[193, 34, 8], [68, 46, 176], [199, 152, 50], [0, 100, 95]],
        [[115, 139, 89], [70, 171, 140], [56, 10, 79], [71, 237, 151]],
        [[95, 120, 145], [138, 55, 158], [189, 248, 189], [84, 83, 119]],
        [[106, 208, 218], [95, 216, 64], [74, 234, 171], [71, 41, 58]],
    ]
    picture = Image.fromarray(np.array(source, np.uint8))
    result = corrected(picture, to_lab(Image.fromarray(np.array(target, np.uint8))))
    assert result.mode == "RGB"
    difference = np.abs(pixels(result) - wanted)
    assert difference.max() <= 2
    assert difference.mean() <= 0.5


def test_colours_come_from_the_target_and_lightness_stays() -> None:
    photo = recorded("photo64").convert("RGB")
    blue = Image.merge("RGB", [photo.getchannel(c).point(t) for c, t in zip(
        "RGB", ([v // 4 for v in range(256)], [v // 2 for v in range(256)], list(range(256))),
        strict=True)])  # fmt: skip
    result = corrected(photo, to_lab(blue))
    luma = [0.299, 0.587, 0.114]
    assert np.abs(pixels(result) @ luma - pixels(photo) @ luma).mean() < 2
    means, before = pixels(result).mean((0, 1)), pixels(photo).mean((0, 1))
    assert means[2] - means[0] > before[2] - before[0] + 20


def test_a_pictures_own_colours_change_nothing_but_rounding() -> None:
    photo = recorded("photo64").convert("RGB")
    assert np.abs(pixels(corrected(photo, to_lab(photo))) - pixels(photo)).mean() < 1.5


def test_flat_and_extreme_pictures_are_fine() -> None:
    for color in ((0, 0, 0), (255, 255, 255), (255, 0, 255)):
        flat = Image.new("RGB", (8, 8), color)
        assert corrected(flat, to_lab(noise(16, 4))).size == (8, 8)
        assert corrected(noise(8, 8), to_lab(flat)).size == (8, 8)
