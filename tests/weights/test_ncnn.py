"""The reader of ncnn's networks, on ones made here."""

import numpy as np
import pytest
import torch

from .ncnn import FLOAT16_TAG, Layer, NotNcnn, compact, layers, rrdb

PARAM = """7767517
5 5
Input                    data     0 1 data
Convolution              Conv_0   1 1 data 1 0=2 1=1 5=1 6=6
PReLU                    PRelu_1  1 1 1 2 0=2
Interp                   Resize   1 1 2 3 0=1 1=2.0 2=2.0
Convolution              Conv_2   1 1 3 output 0=3 1=1 6=3 -23310=1,2.000000e-01
"""
# three of a row's columns are odd in number as fp16, so that the padding shows
FIRST = np.array([[0.5, -1, 2], [0.25, 8, -3]], "<f2").reshape(2, 3, 1, 1)
BIAS = np.array([0.1, -0.2], "<f4")
SLOPES = np.array([0.25, 0.75], "<f4")
LAST = np.array([4, -5, 6], "<f2").reshape(3, 1, 1, 1)
TAG = FLOAT16_TAG.to_bytes(4, "little")
RAW = TAG + FIRST.tobytes() + BIAS.tobytes() + SLOPES.tobytes() + TAG + LAST.tobytes() + b"\0\0"


def test_layers_are_read_in_their_order() -> None:
    first, slopes, last = layers(PARAM, RAW)
    assert (first.weight == FIRST).all()
    assert first.bias is not None
    assert (first.bias == BIAS).all()
    assert slopes.kind == "PReLU"
    assert (slopes.weight == SLOPES).all()
    assert (last.weight == LAST).all(), "what pads six bytes to eight is passed over"
    assert last.bias is None


def test_weights_in_fp32_are_read_as_well() -> None:
    wide = bytes(4) + FIRST.astype("<f4").tobytes() + BIAS.tobytes() + SLOPES.tobytes()
    first, *_ = layers(PARAM, wide + TAG + LAST.tobytes() + b"\0\0")
    assert first.weight.dtype == np.float32
    assert (first.weight == FIRST).all()


@pytest.mark.parametrize(
    ("param", "raw", "why"),
    [
        (PARAM.replace("7767517", "7767518"), RAW, "the text begins with '7767518', not 7767517"),
        (PARAM, RAW[:-4], "the model file ends too early"),
        (PARAM, RAW + bytes(4), "4 bytes are left over"),
        (PARAM, b"\1" + RAW[1:], "weights with the tag 0x1306b01 are not known"),
        (PARAM.replace("Interp", "Deconvolution"), RAW, "of the kind Deconvolution is not known"),
    ],
)
def test_what_is_not_understood_is_said(param: str, raw: bytes, why: str) -> None:
    with pytest.raises(NotNcnn, match=why):
        layers(param, raw)


def test_a_compact_network_is_one_row() -> None:
    named = compact(layers(PARAM, RAW))
    assert list(named) == ["body.0.weight", "body.0.bias", "body.1.weight", "body.2.weight"]
    assert torch.equal(named["body.1.weight"], torch.tensor([0.25, 0.75]))


def convolutions(count: int) -> tuple[Layer, ...]:
    return tuple(
        Layer(kind="Convolution", weight=np.full((1, 1, 1, 1), index, "<f4"), bias=None)
        for index in range(count)
    )


def test_the_convolutions_of_rrdbnet_have_their_names() -> None:
    named = {name: float(tensor) for name, tensor in rrdb(convolutions(1 + 2 * 15 + 5)).items()}
    assert named["conv_first.weight"] == 0
    assert named["body.0.rdb1.conv1.weight"] == 1
    assert named["body.0.rdb3.conv5.weight"] == 15
    assert named["body.1.rdb2.conv1.weight"] == 21
    assert named["conv_body.weight"] == 31
    assert named["conv_last.weight"] == 35


def test_another_count_of_convolutions_is_no_rrdbnet() -> None:
    with pytest.raises(NotNcnn, match="22 convolutions are no RRDBNet"):
        rrdb(convolutions(22))
