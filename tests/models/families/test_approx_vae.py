"""The small networks, by files in the layouts that there are of them."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderTiny
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.functional import conv2d

from models.errors import CorruptCheckpoint, UnsupportedCheckpoint
from models.families.approx_vae import (
    PreviewNetwork,
    load_network,
    load_taesd_decoder,
    load_taesd_encoder,
)

ON_CPU: dict[str, Any] = {
    "device": torch.device("cpu"),
    "dtype": torch.float32,
    "allow_pickle": False,
}


def tiny() -> AutoencoderTiny:
    torch.manual_seed(1)
    return AutoencoderTiny().eval()


def renumbered(module: nn.Module, offset: int) -> dict[str, Tensor]:
    """The author's layout: a plain list of layers."""
    state: dict[str, Tensor] = {}
    for name, tensor in module.state_dict().items():
        number, _, rest = name.removeprefix("layers.").partition(".")
        state[f"{int(number) + offset}.{rest}"] = tensor
    return state


def prefixed(module: nn.Module, prefix: str) -> dict[str, Tensor]:
    return {f"{prefix}.{name}": tensor for name, tensor in module.state_dict().items()}


@pytest.mark.parametrize(
    "layout", [partial(renumbered, offset=1), partial(prefixed, prefix="decoder")]
)
def test_taesd_decodes_as_diffusers_does(
    tmp_path: Path, layout: Callable[[nn.Module], dict[str, Tensor]]
) -> None:
    vae, latents = tiny(), torch.randn(1, 4, 4, 6)
    save_file(layout(vae.decoder), tmp_path / "a.safetensors")
    decoder = load_taesd_decoder(tmp_path / "a.safetensors", **ON_CPU)
    with torch.no_grad():
        pixels = decoder(latents)
        assert torch.equal(pixels, vae.decode(latents).sample)
    assert pixels.shape == (1, 3, 32, 48)
    assert float(pixels.std()) > 0


@pytest.mark.parametrize(
    "layout", [partial(renumbered, offset=0), partial(prefixed, prefix="encoder")]
)
def test_taesd_encodes_as_diffusers_does(
    tmp_path: Path, layout: Callable[[nn.Module], dict[str, Tensor]]
) -> None:
    vae, pixels = tiny(), torch.rand(1, 3, 32, 48) * 2 - 1
    save_file(layout(vae.encoder), tmp_path / "a.safetensors")
    encoder = load_taesd_encoder(tmp_path / "a.safetensors", **ON_CPU)
    with torch.no_grad():
        assert torch.equal(encoder(pixels), vae.encode(pixels).latents)


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    vae = tiny()
    save_file(renumbered(vae.encoder, 0), tmp_path / "a.safetensors")
    with pytest.raises((CorruptCheckpoint, UnsupportedCheckpoint)):
        load_taesd_decoder(tmp_path / "a.safetensors", **ON_CPU)
    save_file({"conv1.weight": torch.zeros(8, 4, 7, 7)}, tmp_path / "a.safetensors")
    with pytest.raises(CorruptCheckpoint, match="missing"):
        load_network(tmp_path / "a.safetensors", **ON_CPU)


def test_the_preview_network_doubles_pads_and_keeps_the_size(tmp_path: Path) -> None:
    torch.manual_seed(2)
    network = PreviewNetwork()
    save_file(network.state_dict(), tmp_path / "a.safetensors")
    loaded = load_network(tmp_path / "a.safetensors", **ON_CPU)
    latents = torch.randn(2, 4, 3, 5)
    with torch.no_grad():
        pixels = loaded(latents)
        assert torch.equal(pixels, network(latents))
    assert pixels.shape == (2, 3, 6, 10)


def test_the_preview_networks_arithmetic(tmp_path: Path) -> None:
    """One path through all layers: sums of doubled latents, with a tenth of what is negative."""
    network = PreviewNetwork()
    for parameter in network.parameters():
        nn.init.zeros_(parameter)
    first = True
    for layer in network.children():
        assert isinstance(layer, nn.Conv2d)
        middle = layer.kernel_size[0] // 2
        with torch.no_grad():
            layer.weight[0, 0, middle, middle] = -1.0 if first else 1.0
        first = False
    latents = torch.zeros(1, 4, 2, 2)
    latents[0, 0, 0, 1], latents[0, 0, 1, 0] = -3.0, 2.0
    with torch.no_grad():
        red = network(latents)[0, 0]
    kept = conv2d(red[None, None], torch.ones(1, 1, 2, 2), stride=2)[0, 0] / 4
    assert torch.allclose(kept, torch.tensor([[0.0, 3.0], [-2.0 * 0.1**8, 0.0]]))
