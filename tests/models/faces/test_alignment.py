"""Taking a face out and putting it back are inverse, and touch nothing else."""

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from models.faces.alignment import SIDE, UPRIGHT, Alignment, Pixels, put, take

from . import photographs


def photograph(scale: float = 1.0) -> tuple[Pixels, list[Alignment]]:
    picture = photographs.group()
    size = round(picture.width * scale), round(picture.height * scale)
    faces = photographs.points(photographs.GROUP_POINTS) * scale
    found = [Alignment.of(face) for face in faces]
    return np.asarray(picture.resize(size)), [face for face in found if face is not None]


def scene(width: int, height: int) -> Pixels:
    """Colours that change slowly, so that resampling them loses little."""
    y, x = np.mgrid[0:height, 0:width]
    waves = [np.sin(x / 40 + y / 70), np.cos(x / 55), np.sin(y / 60)]
    return np.stack([128 + 100 * wave for wave in waves], axis=-1).astype(np.uint8)


def at(
    *, turned: float = 0.0, larger: float = 1.0, moved: tuple[float, float] = (0, 0)
) -> NDArray[np.float64]:
    """The five points of an upright face, turned (degrees) and scaled about its corner, moved."""
    turn = larger * np.exp(1j * np.deg2rad(turned))
    places = turn * (UPRIGHT[:, 0] + 1j * UPRIGHT[:, 1]) + complex(*moved)
    return np.stack([places.real, places.imag], axis=1)


def aligned(points: NDArray[np.float64]) -> Alignment:
    face = Alignment.of(points)
    assert face is not None
    return face


def test_an_upright_face_of_512_pixels_is_taken_as_it_is() -> None:
    picture = scene(700, 600)
    taken = take(picture, aligned(at(moved=(40, 30))))
    np.testing.assert_array_equal(taken, picture[30 : 30 + SIDE, 40 : 40 + SIDE])


@pytest.mark.parametrize("larger", [0.2, 0.37, 1.0, 2.6])
@pytest.mark.parametrize("turned", [0, 30, -90, 180])
def test_what_is_taken_is_the_face_upright(turned: float, larger: float) -> None:
    """A cross on each of the five points of a picture is found where FFHQ has them."""
    points = at(turned=turned, larger=larger)
    points += 60 - points.min(0)
    size = np.ceil(points.max(0) + 60).astype(int)
    picture = np.zeros((size[1], size[0], 3), np.uint8)
    radius = max(2, round(6 * larger))
    for x, y in points:
        rows, columns = np.mgrid[0 : size[1], 0 : size[0]]
        picture[np.hypot(columns - x, rows - y) <= radius] = 255
    taken = take(picture, aligned(points))[:, :, 0].astype(float)
    for x, y in UPRIGHT:
        rows, columns = np.mgrid[0:SIDE, 0:SIDE]
        near = np.hypot(columns - x, rows - y) < 25
        seen = taken * near
        middle = (seen * columns).sum() / seen.sum(), (seen * rows).sum() / seen.sum()
        assert np.hypot(middle[0] - x, middle[1] - y) < 1.5 / min(larger, 1)
        assert taken[near].max() > 200


@pytest.mark.parametrize("scale", [0.5, 1.0, 2.0])
def test_a_face_put_back_as_it_was_taken_changes_next_to_nothing(scale: float) -> None:
    picture, faces = photograph(scale)
    made = picture.copy()
    for face in faces:
        put(made, face, take(picture, face))
    difference = np.abs(made.astype(int) - picture)
    assert difference.max() <= 24
    assert difference.mean() < 0.5


@pytest.mark.parametrize("scale", [0.5, 1.0, 2.0])
def test_a_painted_face_covers_the_face_and_nothing_else(scale: float) -> None:
    picture, faces = photograph(scale)
    made = picture.copy()
    paint = np.full((SIDE, SIDE, 3), (0, 255, 0), np.uint8)
    rows, columns = np.mgrid[0 : picture.shape[0], 0 : picture.shape[1]]
    places = columns + 0.5 + 1j * (rows + 0.5)
    outside = np.ones(picture.shape[:2], bool)
    inside = np.zeros(picture.shape[:2], bool)
    for face in faces:
        put(made, face, paint)
        upright = face.turn * places + face.move
        edge = np.minimum.reduce(
            [upright.real, upright.imag, SIDE - upright.real, SIDE - upright.imag]
        )
        outside &= edge < 0
        # the border is 16 wide, what fades 64 more; a pixel of the picture is |turn| of these
        inside |= edge > 80 + 2 * abs(face.turn)
    np.testing.assert_array_equal(made[outside], picture[outside])
    assert np.abs(made[inside].astype(int) - (0, 255, 0)).max() <= 1
    covered = photographs.points(photographs.GROUP_POINTS) * scale
    for x, y in np.rint(covered).astype(int).reshape(-1, 2):
        assert inside[y, x]


def test_beyond_the_picture_its_edge_goes_on() -> None:
    picture = np.zeros((300, 300, 3), np.uint8)
    picture[:, 0] = (200, 10, 10)
    picture[:, -1] = (10, 10, 200)
    taken = take(picture, aligned(at(moved=(-106, -106))))
    np.testing.assert_array_equal(taken[200, :100], np.full((100, 3), (200, 10, 10)))
    np.testing.assert_array_equal(taken[200, -100:], np.full((100, 3), (10, 10, 200)))


def test_a_face_half_outside_is_put_back_where_the_picture_is() -> None:
    picture = scene(300, 300)
    made = picture.copy()
    face = aligned(at(moved=(-256, -256)))
    put(made, face, np.full((SIDE, SIDE, 3), 255, np.uint8))
    assert (made[:170, :170] == 255).all()
    np.testing.assert_array_equal(made[260:], picture[260:])


def test_a_face_larger_than_the_picture_takes_no_more_memory_than_the_picture() -> None:
    picture = scene(4000, 3000)
    taken = take(picture, aligned(at(larger=30.0, moved=(-6000, -6000))))
    assert taken.shape == (SIDE, SIDE, 3)
    middle = np.asarray(Image.fromarray(picture).resize((4, 3)), int)
    assert abs(int(taken[SIDE // 2, SIDE // 2, 0]) - int(middle[1, 1:3, 0].mean())) < 90


@pytest.mark.parametrize(
    "points",
    [
        at(larger=0.03),  # its eyes are 4 pixels apart
        np.full((5, 2), np.nan),
        np.full((5, 2), 7.0),
        np.zeros((4, 2)),
        at(larger=1e9),
    ],
)
def test_what_cannot_be_aligned_is_no_face_to_restore(points: NDArray[np.float64]) -> None:
    assert Alignment.of(points) is None


def test_a_large_face_is_put_back_in_bands(monkeypatch: pytest.MonkeyPatch) -> None:
    picture, faces = photograph()
    whole, bands = picture.copy(), picture.copy()
    paint = scene(SIDE, SIDE)
    put(whole, faces[2], paint)
    monkeypatch.setattr("models.faces.alignment._BAND", 2500)
    put(bands, faces[2], paint)
    # Pillow adds up the places along a row
    assert np.abs(whole.astype(int) - bands).max() <= 1
    assert (bands != picture).any(-1).sum() > 30000
