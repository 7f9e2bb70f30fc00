"""The modules that a checkpoint's parts should become, made without the code under test.

UNet and VAE by diffusers' own converters and configurations written by hand; OpenCLIP's text tower
as its authors build it, under their names, so that a file's tensors load into it as they are.
"""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.loaders.single_file_utils import (
    convert_ldm_unet_checkpoint,
    convert_ldm_vae_checkpoint,
)
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel

State = dict[str, Tensor]
END = 49407
HEAD = 64
#: in these tiny models every kind of block stands once; see `tiny_xl`
XL_UNET: dict[str, Any] = {
    "block_out_channels": (32, 128, 64),
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "transformer_layers_per_block": (1, 2, 3),
    "attention_head_dim": (1, 2, 1),
    "cross_attention_dim": 64 + 128,
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 128 + 6 * 256,
}
SSD_UNET: dict[str, Any] = XL_UNET | {
    "mid_block_type": "UNetMidBlock2D",
    "transformer_layers_per_block": ((1, 1), (2, 2), (2, 2)),
    "reverse_transformer_layers_per_block": ((2, 2, 3), (2, 1, 1), (1, 1, 1)),
}
REFINER_UNET: dict[str, Any] = XL_UNET | {
    "block_out_channels": (32, 64, 128, 64),
    "down_block_types": ("DownBlock2D", *["CrossAttnDownBlock2D"] * 2, "DownBlock2D"),
    "up_block_types": ("UpBlock2D", *["CrossAttnUpBlock2D"] * 2, "UpBlock2D"),
    "transformer_layers_per_block": 2,
    "attention_head_dim": (1, 1, 2, 1),
    "cross_attention_dim": 128,
    "projection_class_embeddings_input_dim": 128 + 5 * 256,
}
SD2_UNET: dict[str, Any] = {
    "block_out_channels": (64, 128, 64, 64),
    "attention_head_dim": (1, 2, 1, 1),
    "cross_attention_dim": 128,
    "use_linear_projection": True,
}


def unet(state: State, config: dict[str, Any]) -> UNet2DConditionModel:
    """Diffusers' UNet with a file's weights, by diffusers' converter."""
    made = UNet2DConditionModel(**config)
    whole = dict(made.config) | {"layers_per_block": 2}
    made.load_state_dict(convert_ldm_unet_checkpoint(dict(state), whole))
    return made.eval().requires_grad_(False)


def vae(state: State, scale: float = 0.18215) -> AutoencoderKL:
    """Diffusers' autoencoder with a file's weights, by diffusers' converter."""
    made = AutoencoderKL(
        scaling_factor=scale,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(32, 64, 32, 32),
        layers_per_block=2,
    )
    made.load_state_dict(convert_ldm_vae_checkpoint(dict(state), dict(made.config)))
    return made.eval().requires_grad_(False)


def clip(state: State, prefix: str, *, width: int, layers: int) -> CLIPTextModel:
    """OpenAI's CLIP in transformers, whose names the file has."""
    config = CLIPTextConfig(
        vocab_size=49408,
        hidden_size=width,
        intermediate_size=4 * width,
        num_hidden_layers=layers,
        num_attention_heads=width // HEAD,
        hidden_act="quick_gelu",
    )
    made = CLIPTextModel(config)
    made.load_state_dict(under(state, f"{prefix}text_model."))
    made.train(False)
    made.requires_grad_(False)
    return made


def under(state: State, prefix: str) -> State:
    """The tensors below a prefix."""
    return {n.removeprefix(prefix): t for n, t in state.items() if n.startswith(prefix)}


class Block(nn.Module):
    """One residual attention block of OpenCLIP."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(width)
        self.attn = nn.MultiheadAttention(width, width // HEAD, batch_first=True)
        self.ln_2 = nn.LayerNorm(width)
        layers = {
            "c_fc": nn.Linear(width, 4 * width),
            "gelu": nn.GELU(),
            "c_proj": nn.Linear(4 * width, width),
        }
        self.mlp = nn.Sequential(OrderedDict(layers))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """States [N,L,D] -> states."""
        normed = self.ln_1(x)
        x = x + self.attn(normed, normed, normed, attn_mask=mask, need_weights=False)[0]
        added: Tensor = self.mlp(self.ln_2(x))
        return x + added


class Stack(nn.Module):
    """OpenCLIP's blocks, one after the other."""

    def __init__(self, width: int, layers: int) -> None:
        super().__init__()
        self.resblocks = nn.ModuleList(Block(width) for _ in range(layers))


@dataclass(frozen=True)
class Read:
    """Each layer's states, the embeddings first, and the pooled text."""

    states: list[Tensor]
    pooled: Tensor


class Tower(nn.Module):
    """OpenCLIP's text tower."""

    def __init__(self, width: int, layers: int) -> None:
        super().__init__()
        self.token_embedding = nn.Embedding(49408, width)
        self.positional_embedding = nn.Parameter(torch.empty(77, width))
        self.transformer = Stack(width, layers)
        self.ln_final = nn.LayerNorm(width)
        self.text_projection = nn.Parameter(torch.empty(width, width))
        self.logit_scale = nn.Parameter(torch.empty(()))

    @classmethod
    def of(cls, state: State, prefix: str, *, width: int, layers: int) -> "Tower":
        """The tower whose weights lie below a prefix."""
        made = cls(width, layers)
        made.load_state_dict(under(state, prefix))
        made.eval().requires_grad_(False)
        return made

    def forward(self, ids: Tensor) -> Read:
        """Token ids [N,77] -> states and pooled text."""
        mask = torch.full((77, 77), float("-inf")).triu(1)
        states = [self.token_embedding(ids) + self.positional_embedding]
        for block in self.transformer.resblocks:
            states.append(block(states[-1], mask))
        ends = (ids == END).int().argmax(1)
        last = self.ln_final(states[-1])[torch.arange(len(ids)), ends]
        return Read(states, last @ self.text_projection)
