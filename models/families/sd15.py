"""Stable Diffusion 1.x, from a single file in the layout of the LDM code."""

import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel

from ..errors import UnsupportedCheckpoint
from ..header import Header
from . import ldm_keys, sidecar
from .base import Checkpoint, Family, ModelTraits, Prediction
from .modules import build, fill
from .sd15_layout import (
    TEXT_ENCODER,
    UNET,
    VAE,
    TextLayout,
    UnetLayout,
    VaeLayout,
    text_layout,
    unet_layout,
    vae_layout,
)
from .text import ClipEncoder
from .tokenizer import VOCABULARY_SIZE, ClipTokenizer
from .upsample import replace_upsamplers
from .weights import FLOATS, Weights

if TYPE_CHECKING:
    from ..catalog import CheckpointInfo

NAME = "SD1.x"
CONFIGS = Path(__file__).parent / "sd15_config"
LATENT_CHANNELS = 4
IN_CHANNELS = (4, 8, 9)
# Parts of a training run that some files keep.
LEFTOVERS = ("loss.", "model_ema.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """All that must be known before a tensor is read."""

    unet: UnetLayout
    vae: VaeLayout
    text: TextLayout
    prediction: Prediction
    latent_scale: float
    beta_start: float
    beta_end: float
    timesteps: int


def detect(header: Header) -> bool:
    """Tell an SD1.x file: an LDM UNet, and OpenAI's CLIP in transformers' layout."""
    return f"{UNET}input_blocks.0.0.weight" in header.tensors and any(
        name.startswith(TEXT_ENCODER) for name in header.tensors
    )


def layout(info: "CheckpointInfo", header: Header) -> Layout:
    """Read the dimensions, the sidecar's word going before the header's.

    Raises CorruptCheckpoint and UnsupportedCheckpoint.
    """
    scheduler, vae_config = _config("scheduler"), _config("vae")
    unet, vae = unet_layout(info.path, header), vae_layout(info.path, header)
    prediction, text = _prediction(header), None
    scale = float(vae_config["scaling_factor"])
    betas = (float(scheduler["beta_start"]), float(scheduler["beta_end"]))
    timesteps = int(scheduler["num_train_timesteps"])
    if info.config is not None:
        params = sidecar.read_sidecar(info.config)
        unet, vae, text = sidecar.unet(params, unet), sidecar.vae(params, vae), sidecar.text(params)
        prediction = sidecar.prediction(params, prediction)
        scale = params.number("scale_factor", scale)
        betas = (params.number("linear_start", betas[0]), params.number("linear_end", betas[1]))
        timesteps = params.whole("timesteps", timesteps)
    found = Layout(
        unet=unet,
        vae=vae,
        text=text or text_layout(info.path, header),
        prediction=prediction,
        latent_scale=scale,
        beta_start=betas[0],
        beta_end=betas[1],
        timesteps=timesteps,
    )
    _check(info.path, found)
    return found


def load(
    info: "CheckpointInfo",
    weights: Weights,
    *,
    device: torch.device,
    dtype: torch.dtype,
    vae_dtype: torch.dtype,
) -> Checkpoint:
    """Build the three modules and fill them from the file.

    Raises CorruptCheckpoint and UnsupportedCheckpoint.
    """
    found = layout(info, weights.header)
    unet, vae, text_encoder = empty_modules(found, weights)
    levels, attention = len(found.vae.channels), found.unet.attention
    unet_key = partial(ldm_keys.unet, layers=found.unet.layers, attention=attention)
    weights = _without_leftovers(weights)
    fill(unet, weights, UNET, unet_key, device=device, dtype=dtype)
    fill(vae, weights, VAE, partial(ldm_keys.vae, levels=levels), device=device, dtype=vae_dtype)
    fill(text_encoder, weights, TEXT_ENCODER, ldm_keys.text_encoder, device=device, dtype=dtype)
    positions = torch.arange(found.text.positions, device=device)[None]
    text_encoder.embeddings.register_buffer("position_ids", positions, persistent=False)
    traits = ModelTraits(
        tokenizer=ClipTokenizer(),
        alphas_cumprod=_alphas_cumprod(found, weights),
        prediction=found.prediction,
        latent_scale=found.latent_scale,
        latent_channels=found.vae.latent_channels,
        in_channels=found.unet.in_channels,
        device=device,
    )
    return Checkpoint(
        info=info,
        family=NAME,
        traits=traits,
        unet=unet,
        vae=vae,
        encoders=(ClipEncoder(module=text_encoder),),
        dtype=dtype,
    )


def empty_modules(
    found: Layout, weights: Weights
) -> tuple[UNet2DConditionModel, AutoencoderKL, CLIPTextModel]:
    """Build UNet, autoencoder and text encoder on the meta device.

    Raises UnsupportedCheckpoint.
    """
    unet_config = _config("unet") | found.unet.config()
    vae_config = _config("vae") | found.vae.config()
    text_config = CLIPTextConfig(**(_config("text_encoder") | found.text.config()))
    unet = build(lambda: UNet2DConditionModel(**unet_config), weights)
    replace_upsamplers(unet)
    return (
        unet,
        build(lambda: AutoencoderKL(**vae_config), weights),
        build(lambda: CLIPTextModel(text_config), weights),
    )


def _check(path: Path, found: Layout) -> None:
    reason = None
    if found.unet.in_channels not in IN_CHANNELS:
        reason = f"a UNet of {found.unet.in_channels} input channels; supported: {IN_CHANNELS}"
    elif found.unet.out_channels != LATENT_CHANNELS or found.vae.latent_channels != LATENT_CHANNELS:
        reason = f"latents of other than {LATENT_CHANNELS} channels"
    elif found.text.vocabulary != VOCABULARY_SIZE:
        reason = f"a vocabulary of {found.text.vocabulary} tokens; CLIP's has {VOCABULARY_SIZE}"
    elif found.text.width != found.unet.context_width:
        reason = (
            f"text of width {found.text.width} for a UNet that reads {found.unet.context_width}"
        )
    if reason is not None:
        raise UnsupportedCheckpoint(path, reason)


def _prediction(header: Header) -> Prediction:
    """Tell v-prediction by the marks that trainers leave; SD1.x predicts the noise otherwise."""
    said = header.metadata.get("modelspec.prediction_type", "")
    return "v" if "v_pred" in header.tensors or said == "v" else "epsilon"


def _without_leftovers(weights: Weights) -> Weights:
    kept = {
        name: entry
        for name, entry in weights.header.tensors.items()
        if not name.removeprefix(VAE).startswith(LEFTOVERS) and not name.endswith(".position_ids")
    }
    header = Header(tensors=kept, metadata=weights.header.metadata)
    return Weights(path=weights.path, header=header, read=weights.read)


def _alphas_cumprod(found: Layout, weights: Weights) -> Tensor:
    """Take the noise schedule from the file, as the LDM code does, or compute it.

    One that is not a falling sequence between 0 and 1 (merges add the tensors up) is computed too.
    """
    entry = weights.header.tensors.get("alphas_cumprod")
    if entry is not None and entry.shape == (found.timesteps,) and entry.dtype in FLOATS:
        stored = weights.read("alphas_cumprod").float()
        if bool((stored > 0).all() and (stored < 1).all() and (stored.diff() <= 0).all()):
            return stored
    start, end = found.beta_start**0.5, found.beta_end**0.5
    betas = torch.linspace(start, end, found.timesteps, dtype=torch.float64) ** 2
    return torch.cumprod(1 - betas, dim=0).float()


def _config(name: str) -> dict[str, Any]:
    config: dict[str, Any] = json.loads((CONFIGS / f"{name}.json").read_text(encoding="utf-8"))
    return config


FAMILY = Family(name=NAME, detect=detect, check=layout, load=load)
