"""With insightface: the astronaut's face on the six people of insightface's own photograph.

Its models are stand-ins of the true shapes, which see and paint faces at 13x13 pixels.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from extensions.protocol import Workshop
from extensions.roop.args import Args, order_of
from extensions.roop.swap import swap
from models.faces.analysis import open_analyser
from models.onnx import session_options
from models.sessions import SessionCache
from tests.models.faces.photographs import GROUP_BOXES, group, portrait
from tests.models.faces.standins import write_faces

from .workshop import Fake

SIX = "0,1,2,3,4,5"


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    models = tmp_path_factory.mktemp("models")
    analyser = open_analyser(write_faces(models), session_options("cpu"))
    swapper = models / "roop/inswapper_128.onnx"
    return replace(
        Fake({}, files={"roop": {swapper.name: swapper}}).workshop(),
        session=SessionCache(2**30).get,
        onnx=lambda: session_options("cpu"),
        faces=analyser.faces,
    )


def swapped(
    workshop: Workshop, target: Image.Image, faces: object, source: Image.Image | None = None
) -> tuple[Image.Image, str]:
    order = order_of(
        Args(img=source or portrait(), faces_index=faces, face_restorer_name="None")  # type: ignore[arg-type]
    )
    outcome = swap(workshop, target, order)
    return outcome.image, outcome.told


def difference(one: Image.Image, other: Image.Image) -> NDArray[np.bool_]:
    """Which pixels are not the same, [height, width]."""
    changed: NDArray[np.bool_] = (np.asarray(one) != np.asarray(other)).any(2)
    return changed


def around(box: Sequence[int], share: float = 0.7) -> tuple[slice, slice]:
    """A box with some room beyond its edges, as rows and columns."""
    left, top, right, bottom = box
    x, y = int((right - left) * share), int((bottom - top) * share)
    return slice(max(0, top - y), bottom + y), slice(max(0, left - x), right + x)


def test_six_faces_are_swapped_and_nothing_else(workshop: Workshop) -> None:
    image, told = swapped(workshop, group(), SIX)
    assert told == "faces 0, 1, 2, 3, 4, 5 swapped by inswapper_128.onnx; safety not checked"
    changed = difference(image, group())
    for box in GROUP_BOXES:
        assert changed[around(box, 0)].mean() > 0.6
    assert 0.08 < changed.mean() < 0.15
    for box in GROUP_BOXES:
        changed[around(box)] = False
    assert not changed.any()


@pytest.mark.parametrize("number", range(6))
def test_faces_are_counted_from_the_left(workshop: Workshop, number: int) -> None:
    image, told = swapped(workshop, group(), str(number))
    assert told == f"face {number} swapped by inswapper_128.onnx; safety not checked"
    changed = difference(image, group())
    shares = [changed[around(box, 0)].mean() for box in GROUP_BOXES]
    assert [share > 0.6 for share in shares] == [each == number for each in range(6)]
    changed[around(GROUP_BOXES[number])] = False
    assert not changed.any()


def test_swapped_faces_are_the_sources(workshop: Workshop) -> None:
    """By what tells faces apart, and by their colours at 13x13 pixels."""
    image, _ = swapped(workshop, group(), SIX)
    source = workshop.faces(portrait())[0]
    before, after = workshop.faces(group()), workshop.faces(image)
    assert len(before) == len(after) == 6
    for old, new in zip(before, after, strict=True):
        assert likeness(new, source) > likeness(old, source) + 0.1
        assert distance(new, source) < 0.75 * distance(old, source)


def likeness(face: Any, other: Any) -> float:
    """The cosine of two embeddings."""
    return float(face.normed_embedding @ other.normed_embedding)


def distance(face: Any, other: Any) -> float:
    """How far the colours of two faces are apart."""
    return float(np.abs(face.embedding - other.embedding).mean())


def test_faces_are_numbered_as_they_were_before(workshop: Workshop) -> None:
    """Several at once come to the same as one after another."""
    both, _ = swapped(workshop, group(), "1,4")
    one, _ = swapped(workshop, group(), "1")
    other, _ = swapped(workshop, one, "4")
    assert not difference(both, other).any()


def test_the_source_of_several_faces_is_the_leftmost(workshop: Workshop) -> None:
    whole, _ = swapped(workshop, portrait(), "0", group())
    first, _ = swapped(workshop, portrait(), "0", Image.fromarray(_only_first(group())))
    near = np.abs(np.asarray(whole, int) - np.asarray(first, int))
    assert difference(whole, portrait()).any()
    assert near.max() <= 3


def _only_first(image: Image.Image) -> NDArray[np.uint8]:
    """The photograph without the other people: black right of the first."""
    pixels = np.array(image)
    pixels[:, GROUP_BOXES[0][2] + 80 :] = 0
    return pixels


@pytest.mark.parametrize("colour", ["black", "grey"])
def test_pictures_without_a_face_are_kept(workshop: Workshop, colour: str) -> None:
    blank = Image.new("RGB", (300, 200), colour)
    image, told = swapped(workshop, blank, "0")
    assert told == "not swapped; no face 0 in the picture"
    assert image is blank
    image, told = swapped(workshop, group(), "0", blank)
    assert told == "not swapped: no face in the source picture"
    assert not difference(image, group()).any()


@pytest.mark.parametrize("size", [(1, 1), (1, 3000), (3000, 1)])
def test_pictures_of_any_form_are_kept(workshop: Workshop, size: tuple[int, int]) -> None:
    odd = Image.new("RGB", size, "white")
    assert swapped(workshop, odd, "0") == (odd, "not swapped; no face 0 in the picture")
    assert swapped(workshop, odd, "0", odd) == (odd, "not swapped: no face in the source picture")


def test_transparency_is_kept(workshop: Workshop) -> None:
    target = group()
    target.putalpha(Image.linear_gradient("L").resize(target.size))
    image, _ = swapped(workshop, target, "2")
    assert image.mode == "RGBA"
    assert image.getchannel("A").tobytes() == target.getchannel("A").tobytes()
    plain, _ = swapped(workshop, group(), "2")
    assert not difference(image.convert("RGB"), plain).any()


def test_a_hundred_faces(tmp_path: Path) -> None:
    """All are swapped, each at its own place, and the work grows with their pixels alone."""
    analyser = open_analyser(write_faces(tmp_path, detector="crowd"), session_options("cpu"))
    swapper = tmp_path / "roop/inswapper_128.onnx"
    workshop = replace(
        Fake({}, files={"roop": {swapper.name: swapper}}).workshop(),
        session=SessionCache(2**30).get,
        onnx=lambda: session_options("cpu"),
        faces=analyser.faces,
    )
    crowd = Image.new("RGB", (2560, 2560), (60, 120, 60))
    image, told = swapped(workshop, crowd, tuple(map(str, range(100))))
    assert told == (
        "faces 0, 1, 2, 3, 4, 5, 6, 7 and 92 more swapped by inswapper_128.onnx; safety not checked"
    )
    changed = difference(image, crowd)
    faces = analyser.faces(crowd)
    assert len(faces) == 100
    for face in faces:
        x, y = face.kps.mean(0).round().astype(int)
        assert changed[y, x]
