"""NudeNet's own weights, on harmless photographs."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from extensions.roop.networks import open_session
from extensions.roop.safety import ENOUGH, NUDE, class_scores
from models.onnx import session_options

pytestmark = [
    pytest.mark.weights,
    pytest.mark.skipif(
        find_spec("onnxruntime") is None, reason="onnxruntime is of the extra `face`"
    ),
]


@pytest.fixture(scope="module")
def session(real_models: Path) -> Any:
    return open_session(real_models / "nudenet" / "320n.onnx", session_options("cpu"))


def photograph(name: str) -> Image.Image:
    """A picture that comes with scikit-image."""
    data = pytest.importorskip("skimage.data")
    return Image.fromarray(getattr(data, name)())


def test_a_portrait_is_seen_and_passes(session: Any) -> None:
    scores = class_scores(session, photograph("astronaut"))
    assert max(scores, key=scores.__getitem__) == "FACE_FEMALE"
    assert scores["FACE_FEMALE"] > 0.6
    assert max(scores[name] for name in NUDE) < ENOUGH / 2


@pytest.mark.parametrize("name", ["cat", "coffee", "rocket"])
def test_pictures_without_people_pass(session: Any, name: str) -> None:
    assert max(class_scores(session, photograph(name)).values()) < ENOUGH / 2
