"""Convolutions whose weights lie channels last, as on a GPU: the same numbers everywhere."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from models.choice import ModelChoice
from models.embeddings.shelf import EmbeddingShelf
from models.families import Checkpoint
from models.families.sharing import Part, Stock
from models.families.vae_swap import load_vae
from models.fitting import Fitting
from models.networks.adapters import Adapters
from models.offload import Guest

from ..files import CHECKPOINTS
from ..networks.test_adapters import kohya, lora, use, weights, written
from ..test_fitting import vae_file
from .variants import load_path, reference

PATH = CHECKPOINTS / "tiny-sd15.safetensors"
CPU = torch.device("cpu")
LAST = torch.channels_last


@pytest.fixture(scope="module")
def last() -> Checkpoint:
    return load_path(PATH, channels_last=True)


@pytest.fixture(scope="module")
def first() -> Checkpoint:
    return reference("tiny-sd15")


@pytest.fixture(autouse=True)
def inference() -> Iterator[None]:
    with torch.inference_mode():
        yield


def drawn(checkpoint: Checkpoint) -> Tensor:
    generator = torch.Generator().manual_seed(6)
    x = torch.randn(2, 4, 8, 8, generator=generator)
    context = torch.randn(2, 77, 16, generator=generator)
    return checkpoint.predict(x, torch.tensor([3.0, 700.0]), context)


def kernels(module: nn.Module) -> list[Tensor]:
    return [part for part in module.parameters() if part.dim() == 4]


def assert_last(module: nn.Module) -> None:
    assert all(part.is_contiguous(memory_format=LAST) for part in kernels(module))
    assert any(not part.is_contiguous() for part in kernels(module))


def test_weights_are_the_same_in_one_memory(last: Checkpoint, first: Checkpoint) -> None:
    for ours, theirs in ((last.unet, first.unet), (last.vae, first.vae)):
        assert_last(ours)
        wanted = theirs.state_dict()
        assert all(torch.equal(part, wanted[name]) for name, part in ours.state_dict().items())
        assert len({part.untyped_storage().data_ptr() for part in ours.parameters()}) == 1
    assert last.channels_last
    assert not first.channels_last


def test_pictures_are_the_same_to_rounding(last: Checkpoint, first: Checkpoint) -> None:
    torch.testing.assert_close(drawn(last), drawn(first), atol=1e-4, rtol=1e-4)
    latents = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(7))
    pixels = first.decode(latents)
    torch.testing.assert_close(last.decode(latents), pixels, atol=1e-4, rtol=1e-4)
    means = first.encode_image(pixels)
    torch.testing.assert_close(last.encode_image(pixels), means, atol=1e-4, rtol=1e-4)


def test_convolutions_are_given_pictures_that_lie_so(last: Checkpoint) -> None:
    seen: list[bool] = []

    def look(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        seen.append(inputs[0].is_contiguous(memory_format=LAST) and not inputs[0].is_contiguous())

    layers = (last.unet.conv_in, last.vae.encoder.conv_in, last.vae.post_quant_conv)
    hooks = [layer.register_forward_pre_hook(look) for layer in layers]
    drawn(last)
    last.decode(torch.zeros(1, 4, 8, 8))
    last.encode_image(torch.zeros(1, 3, 64, 64))
    for hook in hooks:
        hook.remove()
    assert seen == [True] * 3


def test_equal_parts_are_shared(last: Checkpoint) -> None:
    parts = [Part.of(last.vae), *(Part.of(each.module) for each in last.encoders)]
    other = load_path(PATH, channels_last=True, stock=Stock(parts))
    for ours, theirs in (
        (other.vae, last.vae),
        (other.encoders[0].module, last.encoders[0].module),
    ):
        assert ours is not theirs
        places = zip(ours.parameters(), theirs.parameters(), strict=True)
        assert all(mine.data_ptr() == its.data_ptr() for mine, its in places)
    assert other.unet.conv_in.weight.data_ptr() != last.unet.conv_in.weight.data_ptr()


def test_networks_are_the_same_and_come_off_bit_by_bit(
    last: Checkpoint, first: Checkpoint, tmp_path: Path
) -> None:
    before = {name: part.clone() for name, part in last.unet.state_dict().items()}
    places = [part.data_ptr() for part in last.unet.parameters()]
    info = written(tmp_path / "n.safetensors", kohya(lora(first)))
    worn, wanted = Adapters(last), Adapters(first)
    worn.wear((use(info),))
    wanted.wear((use(info),))
    found, theirs = weights(last), weights(first)
    for name, part in found.items():
        torch.testing.assert_close(part, theirs[name], atol=1e-5, rtol=1e-5)
    assert_last(last.unet)
    worn.wear(())
    wanted.wear(())
    assert all(torch.equal(part, before[name]) for name, part in last.unet.state_dict().items())
    # written in place: what has their addresses may keep them
    assert places == [part.data_ptr() for part in last.unet.parameters()]


def test_a_visit_keeps_the_order(last: Checkpoint) -> None:
    before, guest = drawn(last), Guest(last.unet, CPU, at_home=True)
    guest.arrive()
    assert_last(last.unet)
    assert torch.equal(drawn(last), before)
    guest.leave()
    assert_last(last.unet)


def test_an_autoencoder_of_a_file_of_its_own_lies_so(last: Checkpoint, tmp_path: Path) -> None:
    shelf = EmbeddingShelf(())
    fitting = Fitting(last, shelf, vae_dtype=torch.float32, allow_pickle=False)
    info = vae_file(tmp_path)
    lent = fitting.fit(replace(ModelChoice(checkpoint=last.info), vae=info))
    assert_last(lent.vae)
    plain = load_vae(info, device=CPU, dtype=torch.float32)
    latents = torch.ones(1, 4, 8, 8)
    wanted = replace(lent, vae=plain, channels_last=False).decode(latents)
    torch.testing.assert_close(lent.decode(latents), wanted, atol=1e-4, rtol=1e-4)
    fitting.fit(ModelChoice(checkpoint=last.info))
