"""The headers that the other tests identify are those of the public models."""

import math
from collections import Counter

import pytest

from ..families.ldm_layout import VAE, Shape, sd15_header
from .public import UNET, Shapes, ldm, text_shapes, unet_shapes, vae_shapes


def under(prefix: str, shapes: Shapes) -> dict[str, Shape]:
    return {n.removeprefix(prefix): s for n, s in shapes.items() if n.startswith(prefix)}


def shapes(kind: str) -> dict[str, Shape]:
    return {name: entry.shape for name, entry in ldm(kind).tensors.items()}


def numbers(shapes: Shapes) -> int:
    return sum(math.prod(shape) for shape in shapes.values())


@pytest.mark.parametrize("kind", ["sd1", "sd2", "sdxl", "refiner", "ssd-1b"])
def test_ldm_and_diffusers_have_the_same_tensors_of_a_unet(kind: str) -> None:
    assert Counter(under(UNET, shapes(kind)).values()) == Counter(unet_shapes(kind).values())


# As their authors state them: https://huggingface.co/docs/diffusers (`num_parameters` of each).
@pytest.mark.parametrize(
    ("kind", "parameters", "tensors"),
    [
        ("sd1", 859_520_964, 686),
        ("sd2", 865_910_724, 686),
        ("sdxl", 2_567_463_684, 1680),
    ],
)
def test_the_unets_have_their_published_size(kind: str, parameters: int, tensors: int) -> None:
    found = under(UNET, shapes(kind))
    assert (numbers(found), len(found)) == (parameters, tensors)


def test_whole_files_have_their_published_number_of_tensors() -> None:
    assert len(sd15_header().tensors) == 1131
    # sd_xl_base_1.0 also stores CLIP's position_ids
    assert len(shapes("sdxl")) + 1 == 2515


def test_the_other_parts_have_their_published_size() -> None:
    assert numbers(vae_shapes()) == numbers(under(VAE, shapes("sdxl"))) == 83_653_863
    assert numbers(text_shapes(768, 12)) == 123_060_480
    assert numbers(text_shapes(1280, 32, projected=True)) == 694_659_840
    first = under("conditioner.embedders.0.", shapes("sdxl"))
    second = under("conditioner.embedders.1.", shapes("sdxl"))
    assert numbers(first) == 123_060_480
    # with the scale that only training uses
    assert numbers(second) == 694_659_840 + 1
