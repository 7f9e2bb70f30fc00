"""The demo's three networks: Stable Diffusion 1's topology, made very small.

Two things differ from SD1 besides the widths. Its norms have 8 groups, which the sidecar says: in
32 groups of two channels each, a norm takes out most of a picture's overall colour. And there is no
attention at the finest level, where it would be more than half of a step's cost on a CPU.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from diffusers.models.attention_processor import AttnProcessor
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel

TIMESTEPS = 1000
BETA_START, BETA_END = 0.00085, 0.012
LATENT_SCALE = 0.18215
LATENT_CHANNELS = 4
GROUPS, HEADS = 8, 8
ATTENTION = (False, True, True, False)
"""Which of the UNet's levels, from the finest, attend to the words."""

PICTURE_SIZE = 128

_EMBEDDING_DEVIATION = 0.3
_OUTPUT_MEAN = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Widths:
    """Channels of each network, by level; together they fit 20 MB in half precision."""

    unet: tuple[int, int, int, int] = (64, 64, 128, 128)
    autoencoder: tuple[int, int, int, int] = (32, 32, 64, 64)
    text: int = 40
    text_layers: int = 3
    text_heads: int = 4
    text_inner: int = 160


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipVocabulary:
    """CLIP's vocabulary and the two ids that frame a prompt; a prompt is padded with `eos`."""

    size: int = 49408
    bos: int = 49406
    eos: int = 49407
    length: int = 77


WIDTHS = Widths()
VOCABULARY = ClipVocabulary()


def betas() -> Tensor:
    """Noise schedule of SD1 ("scaled linear"), float64 [1000]."""
    return torch.linspace(BETA_START**0.5, BETA_END**0.5, TIMESTEPS, dtype=torch.float64).square()


def alphas_cumprod() -> Tensor:
    """Share of signal variance left at each step, float32 [1000]."""
    return torch.cumprod(1 - betas(), 0).float()


def text_config(widths: Widths = WIDTHS) -> CLIPTextConfig:
    """Configuration of the text encoder; also written beside the checkpoint."""
    return CLIPTextConfig(
        vocab_size=VOCABULARY.size,
        hidden_size=widths.text,
        intermediate_size=widths.text_inner,
        projection_dim=widths.text,
        num_hidden_layers=widths.text_layers,
        num_attention_heads=widths.text_heads,
        max_position_embeddings=VOCABULARY.length,
        hidden_act="quick_gelu",
        bos_token_id=VOCABULARY.bos,
        eos_token_id=VOCABULARY.eos,
        pad_token_id=VOCABULARY.eos,
    )


def text_encoder(widths: Widths = WIDTHS) -> CLIPTextModel:
    """A fresh CLIP text model; wide embeddings, without which the words are not told apart.

    Its output's mean is far from zero, because webui keeps that mean when a word is stressed.
    """
    model = CLIPTextModel(text_config(widths))
    nn.init.normal_(model.embeddings.token_embedding.weight, std=_EMBEDDING_DEVIATION)
    nn.init.constant_(model.final_layer_norm.bias, _OUTPUT_MEAN)
    return model


def unet(widths: Widths = WIDTHS, *, in_channels: int = LATENT_CHANNELS) -> UNet2DConditionModel:
    """A fresh velocity predictor with explicit attention (SDPA's backward is slower on a CPU)."""
    down = tuple("CrossAttnDownBlock2D" if has else "DownBlock2D" for has in ATTENTION)
    up = tuple("CrossAttnUpBlock2D" if has else "UpBlock2D" for has in reversed(ATTENTION))
    model: UNet2DConditionModel = UNet2DConditionModel(
        sample_size=PICTURE_SIZE // 8,
        in_channels=in_channels,
        out_channels=LATENT_CHANNELS,
        down_block_types=down,
        up_block_types=up,
        block_out_channels=widths.unet,
        layers_per_block=1,
        cross_attention_dim=widths.text,
        attention_head_dim=HEADS,
        norm_num_groups=GROUPS,
    )
    model.set_attn_processor(AttnProcessor())
    return model


def autoencoder(widths: Widths = WIDTHS) -> AutoencoderKL:
    """A fresh 8x autoencoder with SD1's latent scale."""
    model: AutoencoderKL = AutoencoderKL(
        in_channels=3,
        out_channels=3,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=widths.autoencoder,
        layers_per_block=1,
        latent_channels=LATENT_CHANNELS,
        norm_num_groups=GROUPS,
        sample_size=PICTURE_SIZE,
        scaling_factor=LATENT_SCALE,
    )
    return model
