"""Stable Diffusion 2.x: OpenCLIP's ViT-H read before its last layer, heads 64 wide."""

from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from ..header import Header
from ..identify import Kind
from ..precision import Formats
from . import parts
from .base import Checkpoint, Family, Prediction
from .weights import Weights

if TYPE_CHECKING:
    from ..catalog import CheckpointInfo

NAME = "SD2"
TEXT_ENCODER = "cond_stage_model.model."
#: ViT-H's. Its last layer guides nothing, and files that came from diffusers lack it.
LAYERS = 24
FACTS = parts.Facts(
    family=NAME,
    heads=None,
    latent_scale=0.18215,
    latent_space="SD1",
    stored_schedule=True,
)
#: A UNet that nothing is said of is run once over even latents and text, at the noisiest step. As
#: webui 1.10.1 has it, it predicts v where its output lies further below the latents than this.
TRIED = 0.5
TRIED_SIDE = 8
TRIED_TOKENS = 2
TRIED_STEP = 999.0
LOWEST_OF_EPSILON = -1.0


def detect(kind: Kind) -> bool:
    """Whether a file is of this family, and of a kind that is supported."""
    return kind.family == "SD2" and kind.reason is None


def layout(info: "CheckpointInfo", header: Header) -> parts.Layout:
    """Read the dimensions; the prediction is None where neither file nor sidecar says it.

    Raises CorruptCheckpoint and UnsupportedCheckpoint.
    """
    source = parts.Source.of(info, header)
    prefix = "text_encoder." if source.names.diffusers else TEXT_ENCODER
    text = source.open_clip(prefix)
    layers = text.layout.layers
    if text.open_clip and layers != LAYERS - 1:
        layers -= 1
    text = replace(text, layout=replace(text.layout, layers=layers, projection=None), layer="last")
    return parts.layout(source, FACTS, (text,))


def load(
    info: "CheckpointInfo",
    weights: Weights,
    *,
    device: torch.device,
    formats: Formats,
) -> Checkpoint:
    """Build the modules and fill them from the file; a UNet nothing is said of is tried.

    Raises CorruptCheckpoint and UnsupportedCheckpoint.
    """
    found = layout(info, weights.header)
    loaded = parts.assemble(info, weights, found, device=device, formats=formats)
    if found.prediction is not None:
        return loaded
    prediction = _tried(loaded, found.unet.context_width)
    return replace(loaded, traits=replace(loaded.traits, prediction=prediction))


def _tried(checkpoint: Checkpoint, context_width: int) -> Prediction:
    """Tell by one step of the UNet what it predicts."""
    x = torch.full((1, parts.LATENT_CHANNELS, TRIED_SIDE, TRIED_SIDE), TRIED)
    context = torch.full((1, TRIED_TOKENS, context_width), TRIED)
    with torch.inference_mode():
        output = checkpoint.predict(x, torch.tensor([TRIED_STEP]), context)
    return "v" if (output.cpu() - x).mean().item() < LOWEST_OF_EPSILON else "epsilon"


FAMILY = Family(name=NAME, detect=detect, check=layout, load=load)
