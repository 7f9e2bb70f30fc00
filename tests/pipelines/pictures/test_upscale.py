"""Enlarging: sizes in steps of 8, as many runs of the upscaler as it takes."""

import numpy as np
import pytest
from PIL import Image

from pipelines.pictures.errors import BadPicture
from pipelines.pictures.upscale import enlarge, fitted

from .made import noise, pixels


def doubling(image: Image.Image) -> Image.Image:
    return image.resize((2 * image.width, 2 * image.height), Image.Resampling.NEAREST)


@pytest.mark.parametrize("upscaler", ["None", "Lanczos", "Nearest"])
@pytest.mark.parametrize(
    ("scale", "size"),
    [(2, (40, 56)), (1.5, (24, 40)), (1, (16, 24)), (0.5, (8, 8)), (0.1, (8, 8)), (3, (56, 88))],
)
def test_sides_are_rounded_down_to_8(upscaler: str, scale: float, size: tuple[int, int]) -> None:
    assert enlarge(noise(20, 30), scale, upscaler).size == size


def test_nearest_repeats_pixels_and_lanczos_does_not() -> None:
    image = noise(16, 8)
    repeated = np.repeat(np.repeat(pixels(image), 3, axis=0), 3, axis=1)
    assert (pixels(enlarge(image, 3, "Nearest")) == repeated).all()
    assert np.abs(pixels(enlarge(image, 3, "Lanczos")) - repeated).max() > 50


def test_a_size_that_is_no_multiple_of_8_is_met_in_two_steps() -> None:
    image = noise(20, 20)
    once = image.resize((50, 50), Image.Resampling.LANCZOS)
    twice = once.resize((48, 48), Image.Resampling.LANCZOS)
    assert enlarge(image, 2.5, "Lanczos").tobytes() == twice.tobytes()


@pytest.mark.parametrize(("scale", "runs"), [(2, 1), (3, 2), (8, 3), (20, 3), (1, 3)])
def test_a_model_runs_until_the_size_is_reached(scale: float, runs: int) -> None:
    seen = []

    def model(image: Image.Image) -> Image.Image:
        seen.append(image.size)
        return doubling(image)

    result = enlarge(noise(16, 16), scale, model)
    assert (len(seen), result.size) == (runs, (16 * scale, 16 * scale))


def test_a_model_that_enlarges_nothing_runs_once() -> None:
    seen = []

    def idle(image: Image.Image) -> Image.Image:
        seen.append(image.size)
        return image

    assert enlarge(noise(16, 16), 4, idle).size == (64, 64)
    assert seen == [(16, 16)]


def test_fitting_asks_the_upscaler_only_to_enlarge() -> None:
    asked = []

    def model(image: Image.Image) -> Image.Image:
        asked.append(image.mode)
        return doubling(image)

    assert fitted(noise(64, 64), 32, 48, model).size == (32, 48)
    assert fitted(noise(64, 64, "L"), 128, 128, model).size == (128, 128)
    assert asked == []
    assert fitted(noise(64, 64), 100, 40, model).size == (100, 40)
    assert asked == ["RGB"]


def test_an_unknown_upscaler_and_a_boundless_size_are_refused() -> None:
    with pytest.raises(KeyError):
        enlarge(noise(8, 8), 2, "ESRGAN")
    with pytest.raises(BadPicture, match="8x8 enlarged 1e"):
        enlarge(noise(8, 8), 1e6, "Lanczos")
