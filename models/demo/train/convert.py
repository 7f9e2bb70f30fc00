"""From the trained modules to one file in the key layout of Stable Diffusion 1's checkpoints.

Every name is derived from the topology: four levels, one residual layer a level, attention on some.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from safetensors.torch import save_file
from torch import Tensor, nn

from . import networks

UNET, VAE, TEXT = "model.diffusion_model.", "first_stage_model.", "cond_stage_model.transformer."
LEVELS: Final = 4
LAYERS: Final = 1

Renames = tuple[tuple[str, str], ...]
"""Pairs of beginnings or middles of a name: diffusers', LDM's."""

_UNET_TOP: Renames = (
    ("time_embedding.linear_1.", "time_embed.0."),
    ("time_embedding.linear_2.", "time_embed.2."),
    ("conv_in.", "input_blocks.0.0."),
    ("conv_norm_out.", "out.0."),
    ("conv_out.", "out.2."),
)
_UNET_RESIDUAL: Renames = (
    ("norm1.", "in_layers.0."),
    ("conv1.", "in_layers.2."),
    ("norm2.", "out_layers.0."),
    ("conv2.", "out_layers.3."),
    ("time_emb_proj.", "emb_layers.1."),
    ("conv_shortcut.", "skip_connection."),
)
_VAE_ATTENTION: Renames = (
    ("group_norm.", "norm."),
    ("to_q.", "q."),
    ("to_k.", "k."),
    ("to_v.", "v."),
    ("to_out.0.", "proj_out."),
)


class UnknownTensor(KeyError):
    """A tensor's name has no place in the layout."""


def to_ldm(unet: nn.Module, vae: nn.Module, text: nn.Module) -> dict[str, Tensor]:
    """All weights under LDM's names, half precision and contiguous, with the noise schedule."""
    tensors = {UNET + unet_name(name): value for name, value in unet.state_dict().items()}
    for name, value in vae.state_dict().items():
        tensors[VAE + vae_name(name)] = _as_convolution(name, value)
    for name, value in text.state_dict().items():
        tensors[TEXT + _text_name(name)] = value
    halves = {name: value.half().contiguous() for name, value in tensors.items()}
    return {**halves, "alphas_cumprod": networks.alphas_cumprod()}


def save(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Writes the checkpoint whole or not at all."""
    partial = path.with_suffix(".partial")
    save_file(dict(tensors), partial, metadata={"format": "pt", **metadata})
    partial.replace(path)


def unet_name(name: str) -> str:
    """LDM's name for a tensor of `UNet2DConditionModel`; raises `UnknownTensor`."""
    for ours, theirs in _UNET_TOP:
        if name.startswith(ours):
            return theirs + name.removeprefix(ours)
    for ours, theirs in _unet_blocks():
        if name.startswith(ours):
            rest = name.removeprefix(ours)
            return theirs + (_renamed_start(rest, _UNET_RESIDUAL) if ".resnets." in ours else rest)
    raise UnknownTensor(name)


def vae_name(name: str) -> str:
    """LDM's name for a tensor of `AutoencoderKL`."""
    attention = "mid_block.attentions.0."
    if attention in name:
        before, after = name.split(attention)
        return f"{before}mid.attn_1.{_renamed_start(after, _VAE_ATTENTION)}"
    for ours, theirs in (
        *_vae_blocks(),
        ("conv_shortcut.", "nin_shortcut."),
        ("conv_norm_out.", "norm_out."),
    ):
        name = name.replace(ours, theirs)
    return name


def _unet_blocks() -> Iterable[tuple[str, str]]:
    stride = LAYERS + 1
    for level in range(LEVELS):
        for layer in range(LAYERS):
            place = f"input_blocks.{stride * level + layer + 1}"
            yield f"down_blocks.{level}.resnets.{layer}.", f"{place}.0."
            yield f"down_blocks.{level}.attentions.{layer}.", f"{place}.1."
        for layer in range(LAYERS + 1):
            place = f"output_blocks.{stride * level + layer}"
            yield f"up_blocks.{level}.resnets.{layer}.", f"{place}.0."
            yield f"up_blocks.{level}.attentions.{layer}.", f"{place}.1."
        yield (
            f"down_blocks.{level}.downsamplers.0.conv.",
            f"input_blocks.{stride * (level + 1)}.0.op.",
        )
        # An upsampler stands behind the attention, where there is one.
        last = 2 if networks.ATTENTION[LEVELS - 1 - level] else 1
        upsampler = f"output_blocks.{stride * level + LAYERS}.{last}."
        yield f"up_blocks.{level}.upsamplers.0.", upsampler
    yield "mid_block.resnets.0.", "middle_block.0."
    yield "mid_block.attentions.0.", "middle_block.1."
    yield "mid_block.resnets.1.", "middle_block.2."


def _vae_blocks() -> Iterable[tuple[str, str]]:
    for level in range(LEVELS):
        mirrored = LEVELS - 1 - level
        for layer in range(LAYERS + 1):
            yield f"down_blocks.{level}.resnets.{layer}.", f"down.{level}.block.{layer}."
            yield f"up_blocks.{level}.resnets.{layer}.", f"up.{mirrored}.block.{layer}."
        yield f"down_blocks.{level}.downsamplers.0.", f"down.{level}.downsample."
        yield f"up_blocks.{level}.upsamplers.0.", f"up.{mirrored}.upsample."
    for layer in range(2):
        yield f"mid_block.resnets.{layer}.", f"mid.block_{layer + 1}."


def _renamed_start(name: str, renames: Renames) -> str:
    for ours, theirs in renames:
        if name.startswith(ours):
            return theirs + name.removeprefix(ours)
    raise UnknownTensor(name)


def _as_convolution(name: str, value: Tensor) -> Tensor:
    """LDM's autoencoder writes its attention's projections as 1x1 convolutions."""
    is_projection = "attentions" in name and value.ndim == 2
    return value[:, :, None, None] if is_projection else value


def _text_name(name: str) -> str:
    """`transformers` 5 dropped the outer `text_model.` that the layout has."""
    return name if name.startswith("text_model.") else f"text_model.{name}"
