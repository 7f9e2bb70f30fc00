"""NudeNet's real detector before a swap: what it sees in photographs of clothed people."""

from pathlib import Path

import pytest
from PIL import Image

from extensions.roop.networks import open_session
from extensions.roop.safety import CLASSES, ENOUGH, NUDE, class_scores
from models.onnx import session_options
from tests.models.faces.photographs import group, portrait

from .conftest import Weights

pytestmark = pytest.mark.weights


@pytest.fixture(scope="module")
def detector(weights: Weights) -> Path:
    return weights.path("nudenet/320n.onnx")


def scores(detector: Path, picture: Image.Image) -> dict[str, float]:
    return class_scores(open_session(detector, session_options("cpu")), picture)


def test_the_detector_sees_what_it_is_shown(detector: Path) -> None:
    """Faces, at scores near those that the nudenet package gives: .72, and .74 and .60."""
    alone, people = scores(detector, portrait()), scores(detector, group())
    assert max(alone, key=alone.__getitem__) == "FACE_FEMALE"
    assert alone["FACE_FEMALE"] == pytest.approx(0.83, abs=0.05)
    assert people["FACE_FEMALE"] == pytest.approx(0.74, abs=0.05)
    assert people["FACE_MALE"] == pytest.approx(0.68, abs=0.05)
    assert people["FEMALE_BREAST_COVERED"] > max(people[name] for name in NUDE)


def test_it_is_shown_the_same_at_any_size(detector: Path) -> None:
    small, large = portrait().resize((320, 320)), portrait().resize((1600, 1600))
    assert scores(detector, small)["FACE_FEMALE"] == pytest.approx(0.83, abs=0.05)
    assert scores(detector, large)["FACE_FEMALE"] == pytest.approx(0.83, abs=0.05)


def test_clothed_people_may_be_swapped(detector: Path) -> None:
    for picture in (portrait(), group(), Image.new("RGB", (1, 1)), Image.new("L", (9, 900))):
        found = scores(detector, picture.convert("RGB"))
        assert set(found) == set(CLASSES)
        assert max(found[name] for name in NUDE) < ENOUGH / 2
