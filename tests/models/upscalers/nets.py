"""Tiny networks of the real architectures, with seeded weights, and files of them."""

import importlib
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image
from torch import Tensor, nn

from models import torchvision_ops as torchvision_ops  # before spandrel

pytest.importorskip("spandrel")

SIZES: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "Compact": {"num_feat": 8, "num_conv": 2, "upscale": 4},
        "ESRGAN": {"num_filters": 8, "num_blocks": 1, "scale": 4},
        "SwinIR": {
            "img_size": 16,
            "embed_dim": 12,
            "depths": [2],
            "num_heads": [2],
            "window_size": 8,
            "upscale": 4,
            "upsampler": "nearest+conv",
        },
        "DAT": {
            "img_size": 16,
            "embed_dim": 32,
            "depth": [3],
            "num_heads": [2],
            "split_size": [2, 4],
            "upscale": 2,
        },
        "SCUNet": {"dim": 64, "config": [1, 1, 1, 1, 1, 1, 1]},
    }
)
SCALES: Mapping[str, int] = MappingProxyType(
    {"Compact": 4, "ESRGAN": 4, "SwinIR": 4, "DAT": 2, "SCUNet": 1}
)


def network(kind: str, **changes: Any) -> nn.Module:
    """An architecture in its smallest size, its weights drawn anew so that a picture comes out."""
    module = importlib.import_module(f"spandrel.architectures.{kind}")
    with warnings.catch_warnings(), torch.random.fork_rng():
        warnings.simplefilter("ignore")
        torch.manual_seed(len(kind))
        made: nn.Module = getattr(module, kind)(**{**SIZES[kind], **changes})
    generator = torch.Generator().manual_seed(len(kind))
    with torch.no_grad():
        for weights in made.parameters():
            if weights.dim() > 1:
                spread = (weights[0].numel()) ** -0.5
                weights.copy_(torch.randn(weights.shape, generator=generator) * spread)
    return made.eval()


def saved(module: nn.Module, path: Path, *, key: str | None = None) -> Path:
    """The module's weights in a file as torch or safetensors writes them, below `key` if given."""
    path.parent.mkdir(parents=True, exist_ok=True)
    weights = {name: each.contiguous() for name, each in module.state_dict().items()}
    if path.suffix == ".safetensors":
        safetensors.torch.save_file(weights, path)
    else:
        torch.save({key: weights} if key else weights, path)
    return path


def in_new_names(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """ESRGAN's weights of one block and scale 4 as Real-ESRGAN names them."""
    names = {"0": "conv_first", "3": "conv_up1", "6": "conv_up2", "8": "conv_hr", "10": "conv_last"}

    def renamed(name: str) -> str:
        block = re.fullmatch(r"model\.1\.sub\.0\.RDB(\d)\.conv(\d)\.0\.(\w+)", name)
        if block:
            return f"body.0.rdb{block[1]}.conv{block[2]}.{block[3]}"
        if name.startswith("model.1.sub.1."):
            return name.replace("model.1.sub.1", "conv_body")
        number, kind = name.removeprefix("model.").split(".")
        return f"{names[number]}.{kind}"

    return {renamed(name): tensor for name, tensor in weights.items()}


def directly(module: nn.Module, image: Image.Image) -> Image.Image:
    """What the bare architecture makes of an RGB picture."""
    given = torch.tensor(np.asarray(image)).permute(2, 0, 1)[None].float() / 255
    with torch.inference_mode():
        made = module(given)
    shown = made[0].clamp(0, 1).mul(255).round().byte().permute(1, 2, 0).numpy()
    return Image.fromarray(shown)


def picture(width: int, height: int, mode: str = "RGB") -> Image.Image:
    """Soft colours with some grain, as photographs have them."""
    random = np.random.default_rng(width * 1000 + height)
    coarse = random.integers(0, 256, (height // 8 + 2, width // 8 + 2, 4), np.uint8)
    soft = Image.fromarray(coarse, "RGBA").resize((width, height), Image.Resampling.BICUBIC)
    grain = random.integers(-8, 9, (height, width, 4))
    values = np.clip(np.asarray(soft).astype(int) + grain, 0, 255).astype(np.uint8)
    return Image.fromarray(values, "RGBA").convert(mode)
