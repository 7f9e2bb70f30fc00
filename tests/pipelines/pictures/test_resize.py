"""The resize modes: what is kept, what is cut off, and what fills the borders."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pipelines.pictures.errors import BadPicture
from pipelines.pictures.resize import CROP, FILL, LATENT, STRETCH, check_cover, resized

from .made import noise, pixels

sides = st.integers(1, 300)


@settings(max_examples=80, deadline=None)
@given(
    size=st.tuples(sides, sides),
    wanted=st.tuples(sides, sides),
    mode=st.sampled_from([STRETCH, CROP, FILL, LATENT, 9, -1]),
    upscaler=st.sampled_from(["None", "Lanczos", "Nearest"]),
    kind=st.sampled_from(["RGB", "L", "RGBA"]),
)
def test_every_size_is_met(
    size: tuple[int, int], wanted: tuple[int, int], mode: int, upscaler: str, kind: str
) -> None:
    result = resized(Image.new(kind, size), mode, *wanted, upscaler)
    assert result.size == wanted
    assert result.mode == (kind if mode == STRETCH else "RGB")


@pytest.mark.parametrize("mode", [STRETCH, CROP, FILL])
def test_a_picture_of_the_wanted_size_is_left_alone(mode: int) -> None:
    image = noise(24, 16)
    assert resized(image, mode, 24, 16, "Lanczos").tobytes() == image.tobytes()


def test_crop_keeps_the_middle() -> None:
    image = noise(96, 64)
    middle = image.crop((16, 0, 80, 64))
    assert resized(image, CROP, 64, 64).tobytes() == middle.tobytes()


def test_fill_draws_the_edge_rows_out() -> None:
    image = Image.new("RGB", (96, 48), (200, 0, 0))
    image.paste((0, 0, 200), (0, 24, 96, 48))
    result = pixels(resized(image, FILL, 96, 96))
    assert (result[:24] == (200, 0, 0)).all()
    assert (result[72:] == (0, 0, 200)).all()
    assert (result[24:72] == pixels(image)).all()


def test_fill_draws_the_edge_columns_out() -> None:
    image = Image.new("RGB", (32, 64), (0, 90, 0))
    image.paste((90, 0, 0), (16, 0, 32, 64))
    result = pixels(resized(image, FILL, 64, 64))
    assert (result[:, :16] == (0, 90, 0)).all()
    assert (result[:, 48:] == (90, 0, 0)).all()


def test_any_other_mode_fills() -> None:
    image = noise(50, 20)
    filled = resized(image, FILL, 64, 64).tobytes()
    assert {resized(image, mode, 64, 64).tobytes() for mode in (LATENT, 9, -1)} == {filled}


def test_the_upscaler_enlarges() -> None:
    image = noise(32, 32)
    nearest = np.repeat(np.repeat(pixels(image), 2, axis=0), 2, axis=1)
    assert (pixels(resized(image, STRETCH, 64, 64, "Nearest")) == nearest).all()
    assert (pixels(resized(image, STRETCH, 64, 64)) != nearest).any()


def test_a_sliver_cannot_cover() -> None:
    with pytest.raises(BadPicture, match="1x65535 would have to be enlarged to 64x4194240"):
        resized(Image.new("L", (1, 65535)), CROP, 64, 64)
    with pytest.raises(BadPicture):
        check_cover((65535, 1), (64, 64))
    assert resized(Image.new("L", (1, 65535)), FILL, 64, 64).size == (64, 64)
