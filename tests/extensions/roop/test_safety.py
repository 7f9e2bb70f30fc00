"""The check before a swap: a stand-in of NudeNet whose scores are colours in the picture."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from extensions.protocol import Missing, Workshop
from extensions.roop.args import Args, order_of
from extensions.roop.safety import CLASSES, ENOUGH, NUDE, look
from extensions.roop.swap import swap
from models.onnx import session_options
from tests.models.faces.standins import Graph

from .workshop import Fake, face

SIZE = (90, 60)


def write_detector(path: Path, *, classes: int = len(CLASSES), side: int | str = "side") -> None:
    """The score of every class at a place is its red, of NUDE ones its green, in cells of 8."""
    graph = Graph()
    nude = np.array([[name in NUDE for name in CLASSES]] * 3)
    weights = np.zeros((4 + classes, 3, 1, 1))
    weights[4 : 4 + len(CLASSES), 0, 0, 0] = ~nude[0][:classes]
    weights[4 : 4 + len(CLASSES), 1, 0, 0] = nude[0][:classes]
    pool = {"kernel_shape": [8, 8], "strides": [8, 8]}
    graph.add("AveragePool", ["images"], "cells", **pool)
    graph.add("Conv", ["cells", graph.constant("weights", weights)], "scores")
    shape = graph.constant("shape", [1, 4 + classes, -1], np.int64)
    graph.add("Reshape", ["scores", shape], "output0")
    slots = {"images": ("batch", 3, side, side)}
    graph.save(path, slots, {"output0": ("batch", 4 + classes, "places")})


@pytest.fixture
def detector(tmp_path: Path) -> Path:
    path = tmp_path / "320n.onnx"
    write_detector(path)
    return path


def workshop(detector: Path) -> Workshop:
    fake = Fake({SIZE: [face(30, 30, (250, 0, 0))]})
    fake.files["nudenet"] = {detector.name: detector}
    lent = fake.workshop()
    object.__setattr__(lent, "onnx", lambda: session_options("cpu"))
    return lent


def picture(colour: tuple[int, int, int]) -> Image.Image:
    """Black but for the lower right corner."""
    image = Image.new("RGB", SIZE)
    image.paste(colour, (60, 40, 90, 60))
    return image


def test_without_weights_there_is_no_check() -> None:
    verdict = look(Fake({}).workshop(), picture((0, 255, 0)))
    assert (verdict.checked, verdict.against) == (False, None)


def test_what_is_exposed_anywhere_speaks_against_a_swap(detector: Path) -> None:
    verdict = look(workshop(detector), picture((0, 200, 0)))
    assert verdict.checked
    assert verdict.against == "BUTTOCKS_EXPOSED (0.78)"


@pytest.mark.parametrize("colour", [(0, 0, 0), (255, 0, 0), (0, int(ENOUGH * 255) - 1, 0)])
def test_other_classes_and_lower_scores_do_not(
    detector: Path, colour: tuple[int, int, int]
) -> None:
    assert look(workshop(detector), picture(colour)).against is None


@pytest.mark.parametrize("size", [(1, 1), (3000, 1), (1, 3000), (8, 2000)])
def test_pictures_of_any_form_can_be_looked_at(detector: Path, size: tuple[int, int]) -> None:
    verdict = look(workshop(detector), Image.new("RGB", size, (0, 255, 0)))
    assert verdict.checked
    if min(size) / max(size) > 1 / 320:
        return
    # of a line a cell sees an eighth, or less
    assert verdict.against is None or "1.00" in verdict.against


def test_a_detector_says_how_large_pictures_are_to_be(tmp_path: Path) -> None:
    path = tmp_path / "640m.onnx"
    write_detector(path, side=64)
    assert look(workshop(path), picture((0, 255, 0))).against is not None


def test_a_picture_that_shows_something_is_not_touched(detector: Path) -> None:
    """Neither swapped nor restored nor enlarged."""
    image = picture((0, 255, 0))
    outcome = swap(workshop(detector), image, order_of(Args(img=image)))
    assert outcome.image is image
    assert outcome.told == "not swapped: the safety check found BUTTOCKS_EXPOSED (1.00)"


def test_a_picture_that_passes_tells_of_the_check(detector: Path) -> None:
    image = picture((255, 0, 0))
    outcome = swap(workshop(detector), image, order_of(Args(img=image)))
    assert outcome.told == "face 0 swapped by inswapper_128.onnx; safety checked"
    assert outcome.image.getpixel((30, 30)) == (250, 0, 0)


def test_a_check_that_cannot_be_made_is_none_passed(tmp_path: Path) -> None:
    path = tmp_path / "320n.onnx"
    image = picture((0, 0, 0))
    path.write_bytes(b"damaged")
    outcome = swap(workshop(path), image, order_of(Args(img=image)))
    assert outcome.image is image
    assert outcome.told.startswith("not swapped: onnxruntime cannot read 320n.onnx")
    write_detector(path, classes=20)
    with pytest.raises(Missing, match=r"320n.onnx is no detector of NudeNet 3"):
        look(workshop(path), image)
