"""Stripped headers of public models: their names, shapes and types, without their weights.

The UNets in diffusers' names come from diffusers' own modules, built from the public configs
without memory; those in LDM's names from the generators beside the families' tests, which
`test_public.py` holds against them.
"""

from collections.abc import Iterable, Mapping
from functools import cache

import torch
from diffusers import AutoencoderKL, SD3Transformer2DModel, UNet2DConditionModel
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from models.header import Header, TensorEntry

from ..families.ldm_layout import Shape, sd15_header
from ..families.tiny_xl import TRUE, header

Shapes = Mapping[str, Shape]
UNET = "model.diffusion_model."

_CROSS, _PLAIN = ("CrossAttnDownBlock2D", "CrossAttnUpBlock2D"), ("DownBlock2D", "UpBlock2D")


def _unet(depths: tuple[int, ...], **more: object) -> dict[str, object]:
    """A public config; `depths` of transformers from the full resolution down."""
    kinds = [_CROSS if depth else _PLAIN for depth in depths]
    return {
        "down_block_types": [down for down, _ in kinds],
        "up_block_types": [up for _, up in reversed(kinds)],
        "transformer_layers_per_block": [max(1, depth) for depth in depths],
        **more,
    }


_LINEAR = {"use_linear_projection": True}
_SIZES = {"addition_embed_type": "text_time", "addition_time_embed_dim": 256, **_LINEAR}
_XL = {
    "block_out_channels": (320, 640, 1280),
    "attention_head_dim": [5, 10, 20],
    "cross_attention_dim": 2048,
    "projection_class_embeddings_input_dim": 2816,
    **_SIZES,
}
UNETS: Mapping[str, dict[str, object]] = {
    "sd1": _unet((1, 1, 1, 0), cross_attention_dim=768, attention_head_dim=8),
    "sd2": _unet(
        (1, 1, 1, 0), cross_attention_dim=1024, attention_head_dim=[5, 10, 20, 20], **_LINEAR
    ),
    "sdxl": _unet((0, 2, 10), **_XL),
    "ssd-1b": _unet((0, 2, 4), **_XL)
    | {
        "mid_block_type": "UNetMidBlock2D",
        "transformer_layers_per_block": [[1, 1], [2, 2], [4, 4]],
        "reverse_transformer_layers_per_block": [[4, 4, 10], [2, 1, 1], 1],
    },
    "refiner": _unet(
        (0, 4, 4, 0),
        block_out_channels=(384, 768, 1536, 1536),
        attention_head_dim=[6, 12, 24, 24],
        cross_attention_dim=1280,
        projection_class_embeddings_input_dim=2560,
        **_SIZES,
    )
    | {"transformer_layers_per_block": 4},
}


def shapes_of(module: nn.Module) -> dict[str, Shape]:
    return {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}


@cache
def unet_shapes(kind: str, in_channels: int = 4) -> Shapes:
    with torch.device("meta"):
        return shapes_of(UNet2DConditionModel(in_channels=in_channels, **UNETS[kind]))


@cache
def vae_shapes() -> Shapes:
    widths, levels = (128, 256, 512, 512), 4
    with torch.device("meta"):
        return shapes_of(
            AutoencoderKL(
                block_out_channels=widths,
                layers_per_block=2,
                latent_channels=4,
                down_block_types=["DownEncoderBlock2D"] * levels,
                up_block_types=["UpDecoderBlock2D"] * levels,
            )
        )


@cache
def text_shapes(width: int, layers: int, *, projected: bool = False) -> Shapes:
    """A CLIP text encoder as transformers 4 wrote all the public files."""
    config = CLIPTextConfig(
        hidden_size=width,
        intermediate_size=4 * width,
        num_hidden_layers=layers,
        num_attention_heads=width // 64,
        projection_dim=width,
    )
    with torch.device("meta"):
        module = CLIPTextModelWithProjection(config) if projected else CLIPTextModel(config)
    return {
        name if name.startswith("text_") else f"text_model.{name}": shape
        for name, shape in shapes_of(module).items()
    }


@cache
def sd3_shapes(*, large: bool = False, doubled: int = 0) -> Shapes:
    """The MMDiT of SD3 medium, or of SD3.5 medium (`doubled` 13) and large, in diffusers' names."""
    with torch.device("meta"):
        return shapes_of(
            SD3Transformer2DModel(
                num_layers=38 if large else 24,
                num_attention_heads=38 if large else 24,
                caption_projection_dim=2432 if large else 1536,
                pos_embed_max_size=192,
                qk_norm="rms_norm" if large or doubled else None,
                dual_attention_layers=tuple(range(doubled)),
            )
        )


def stripped(
    shapes: Shapes, dtype: str = "F16", metadata: Mapping[str, str] | None = None
) -> Header:
    entries = {name: TensorEntry(dtype=dtype, shape=shape) for name, shape in shapes.items()}
    return Header(tensors=entries, metadata=metadata or {})


def prefixed(prefix: str, shapes: Shapes) -> dict[str, Shape]:
    return {prefix + name: shape for name, shape in shapes.items()}


def ldm(kind: str, in_channels: int = 4) -> Header:
    """A public single file in LDM's names: SD1, or a kind of `TRUE`."""
    return sd15_header(in_channels=in_channels) if kind == "sd1" else header(TRUE[kind])


def diffusers(kind: str, in_channels: int = 4) -> dict[str, Shape]:
    """All parts of a public model under diffusers' names of them."""
    texts = {
        "sd1": prefixed("text_encoder.", text_shapes(768, 12)),
        "sd2": prefixed("text_encoder.", text_shapes(1024, 23)),
    }
    bigger = prefixed("text_encoder_2.", text_shapes(1280, 32, projected=True))
    both = prefixed("text_encoder.", text_shapes(768, 12)) | bigger
    return {
        **prefixed("unet.", unet_shapes(kind, in_channels)),
        **prefixed("vae.", vae_shapes()),
        **texts.get(kind, bigger if kind == "refiner" else both),
    }


def joint(blocks: int, width: int, *, doubled: int = 0, normed: bool = False) -> dict[str, Shape]:
    """Stable Diffusion 3's MMDiT in its authors' names
    (https://github.com/Stability-AI/sd3-ref)."""
    found: dict[str, Shape] = {
        "pos_embed": (1, 192 * 192, width),
        "x_embedder.proj.weight": (width, 16, 2, 2),
        "t_embedder.mlp.0.weight": (width, 256),
        "y_embedder.mlp.0.weight": (width, 2048),
        "context_embedder.weight": (width, 4096),
        "final_layer.linear.weight": (64, width),
    }
    for block in range(blocks):
        for side in ("x", "context"):
            name = f"joint_blocks.{block}.{side}_block"
            found[f"{name}.attn.qkv.weight"] = (3 * width, width)
            found[f"{name}.adaLN_modulation.1.weight"] = (6 * width, width)
            if normed:
                found[f"{name}.attn.ln_q.weight"] = (64,)
        found[f"joint_blocks.{block}.x_block.mlp.fc1.weight"] = (4 * width, width)
        if block < doubled:
            found[f"joint_blocks.{block}.x_block.attn2.qkv.weight"] = (3 * width, width)
    return prefixed(UNET, found)


def like(names: Iterable[str], shape: Shape = (4, 4)) -> Header:
    return stripped(dict.fromkeys(names, shape))
