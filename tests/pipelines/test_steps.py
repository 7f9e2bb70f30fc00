"""Steps hold tensors, so that they are told apart by identity."""

import dataclasses

import pytest
import torch

from pipelines.plan import Encoding
from pipelines.prompt.chunks import Chunk
from pipelines.steps import (
    Conditioning,
    Decode,
    Denoise,
    DenoiseApart,
    Encode,
    EncodeImage,
    Offload,
    Predict,
    Row,
    Use,
)

from .toy import choice

X = torch.zeros(1, 4, 2, 2)
TOLD = Conditioning(X)
ROW = Row(X, 3.5, TOLD)
EMPTY = Chunk((998, *[999] * 76), (1.0,) * 77)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Denoise(X, 1.0),
        lambda: Row(X, 3.5, TOLD),
        lambda: Predict((ROW,)),
        lambda: DenoiseApart(X, 1.0, 0.5),
        lambda: Encode((), EMPTY, Encoding()),
        lambda: Decode(X),
        lambda: EncodeImage(X),
        lambda: Use(choice()),
        lambda: Offload(print),
    ],
)
def test_equal_content_is_not_compared(make: type[Denoise]) -> None:
    one, other = make(), make()  # type: ignore[call-arg]
    assert one != other
    assert len({one, other}) == 2


def test_a_step_cannot_change() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        ROW.timestep = 1.0  # type: ignore[misc]
