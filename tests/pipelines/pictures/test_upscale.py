"""Enlarging: sizes in steps of 8, as many runs of the upscaler as it takes."""

import numpy as np
import pytest
from PIL import Image, ImageOps

from models.upscalers.colours import TooManyPixels
from pipelines.pictures.errors import BadPicture
from pipelines.pictures.upscale import Tick, enlarge, fitted

from .made import noise, pixels


def doubling(image: Image.Image, tick: Tick) -> Image.Image:
    tick(0.5)
    tick(1.0)
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


@pytest.mark.parametrize(("scale", "runs"), [(2, 1), (3, 2), (8, 3), (20, 3), (1, 1)])
def test_a_model_runs_until_the_size_is_reached(scale: float, runs: int) -> None:
    seen = []

    def model(image: Image.Image, tick: Tick) -> Image.Image:
        seen.append(image.size)
        return doubling(image, tick)

    result = enlarge(noise(16, 16), scale, model)
    assert (len(seen), result.size) == (runs, (16 * scale, 16 * scale))


def test_what_a_model_that_enlarges_nothing_does_is_kept_and_it_runs_once() -> None:
    seen = []

    def inverting(image: Image.Image, tick: Tick) -> Image.Image:
        seen.append(image.size)
        return ImageOps.invert(image)

    image = noise(16, 16)
    expected = ImageOps.invert(image).resize((64, 64), Image.Resampling.LANCZOS)
    assert enlarge(image, 4, inverting).tobytes() == expected.tobytes()
    assert seen == [(16, 16)]


@pytest.mark.parametrize(
    ("scale", "told"),
    [(2, [0.5, 1.0]), (4, [0.5, 1.0, 1.0, 1.0]), (8, [1 / 34, 2 / 34, 18 / 34, 1, 1, 1])],
)
def test_the_share_done_counts_the_runs_there_should_be(scale: float, told: list[float]) -> None:
    shares: list[float] = []
    enlarge(noise(16, 16), scale, doubling, shares.append)
    assert shares == pytest.approx(told)


def test_what_the_tick_raises_ends_the_work() -> None:
    class Enough(Exception):
        pass

    def stop(share: float) -> None:
        raise Enough

    with pytest.raises(Enough):
        enlarge(noise(16, 16), 4, doubling, stop)
    with pytest.raises(Enough):
        fitted(noise(16, 16), 64, 64, doubling, stop)


def test_a_model_that_makes_too_much_is_refused_at_first_and_left_later() -> None:
    def bounded(image: Image.Image, tick: Tick) -> Image.Image:
        if image.width >= 64:
            raise TooManyPixels(image.size, 2, 100)
        return doubling(image, tick)

    expected = noise(32, 32).resize((64, 64), Image.Resampling.NEAREST)
    result = enlarge(noise(32, 32), 2.5, bounded)
    assert result.tobytes() == expected.resize((80, 80), Image.Resampling.LANCZOS).tobytes()
    with pytest.raises(BadPicture, match=r"64x64 enlarged 2 times .* 16384 pixels"):
        enlarge(noise(64, 64), 2, bounded)


def test_fitting_asks_the_upscaler_only_to_enlarge() -> None:
    asked = []

    def model(image: Image.Image, tick: Tick) -> Image.Image:
        asked.append(image.mode)
        return doubling(image, tick)

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
