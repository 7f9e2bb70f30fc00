"""What lies beside the weights: a webui-style yaml, and the text encoder's configuration."""

from __future__ import annotations

import json
from pathlib import Path

import yaml

from . import networks
from .networks import Widths

TEXT_FOLDER = "text-encoder"

_TEXT_KEYS = (
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "projection_dim",
    "num_hidden_layers",
    "num_attention_heads",
    "max_position_embeddings",
    "hidden_act",
    "layer_norm_eps",
    "bos_token_id",
    "eos_token_id",
    "pad_token_id",
)


class UnevenWidths(ValueError):
    """A level's width is no multiple of the first level's, which the yaml could not say."""


def write_sidecar(
    checkpoint: Path,
    widths: Widths = networks.WIDTHS,
    *,
    in_channels: int = networks.LATENT_CHANNELS,
) -> None:
    """Writes `STEM.yaml` and `text-encoder/config.json` beside the checkpoint."""
    document = {"model": _model(widths, in_channels)}
    checkpoint.with_suffix(".yaml").write_text(
        yaml.safe_dump(document, sort_keys=False, default_flow_style=False), encoding="utf-8"
    )
    folder = checkpoint.parent / TEXT_FOLDER
    folder.mkdir(exist_ok=True)
    config = networks.text_config(widths).to_dict()
    kept = {key: config[key] for key in _TEXT_KEYS}
    named = {"architectures": ["CLIPTextModel"], "model_type": "clip_text_model", **kept}
    (folder / "config.json").write_text(json.dumps(named, indent=2) + "\n", encoding="utf-8")


def multipliers(widths: tuple[int, ...]) -> list[int]:
    """LDM's channel multipliers; raises `UnevenWidths` if one is not whole."""
    if any(width % widths[0] for width in widths):
        raise UnevenWidths(f"{widths}: each must be a multiple of {widths[0]}")
    return [width // widths[0] for width in widths]


def _model(widths: Widths, in_channels: int) -> dict[str, object]:
    inpainting = in_channels > networks.LATENT_CHANNELS
    target = "LatentInpaintDiffusion" if inpainting else "LatentDiffusion"
    return {
        "target": f"ldm.models.diffusion.ddpm.{target}",
        "params": {
            "linear_start": networks.BETA_START,
            "linear_end": networks.BETA_END,
            "timesteps": networks.TIMESTEPS,
            "parameterization": "v",
            "channels": networks.LATENT_CHANNELS,
            "image_size": networks.PICTURE_SIZE // 8,
            "conditioning_key": "hybrid" if inpainting else "crossattn",
            "scale_factor": networks.LATENT_SCALE,
            "use_ema": False,
            "unet_config": _unet(widths, in_channels),
            "first_stage_config": _autoencoder(widths),
            "cond_stage_config": {
                "target": "ldm.modules.encoders.modules.FrozenCLIPEmbedder",
                "params": {"version": f"./{TEXT_FOLDER}"},
            },
        },
    }


def _unet(widths: Widths, in_channels: int) -> dict[str, object]:
    return {
        "target": "ldm.modules.diffusionmodules.openaimodel.UNetModel",
        "params": {
            "in_channels": in_channels,
            "out_channels": networks.LATENT_CHANNELS,
            "model_channels": widths.unet[0],
            "attention_resolutions": _resolutions(),
            "num_res_blocks": 1,
            "channel_mult": multipliers(widths.unet),
            "num_heads": networks.HEADS,
            "num_groups": networks.GROUPS,
            "use_spatial_transformer": True,
            "transformer_depth": 1,
            "context_dim": widths.text,
            "legacy": False,
        },
    }


def _resolutions() -> list[int]:
    """By how much each level that attends is smaller than the finest, from the coarsest."""
    attending = [1 << level for level, has in enumerate(networks.ATTENTION) if has]
    return attending[::-1]


def _autoencoder(widths: Widths) -> dict[str, object]:
    return {
        "target": "ldm.models.autoencoder.AutoencoderKL",
        "params": {
            "embed_dim": networks.LATENT_CHANNELS,
            "ddconfig": {
                "double_z": True,
                "z_channels": networks.LATENT_CHANNELS,
                "resolution": networks.PICTURE_SIZE,
                "in_channels": 3,
                "out_ch": 3,
                "ch": widths.autoencoder[0],
                "ch_mult": multipliers(widths.autoencoder),
                "num_res_blocks": 1,
                "num_groups": networks.GROUPS,
                "attn_resolutions": [],
                "dropout": 0.0,
            },
        },
    }
