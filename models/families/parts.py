"""A checkpoint's parts: how large they are, where in its file they lie, and their building.

The same for every family of Stable Diffusion; what sets a family apart is its `Facts`.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from ..approx_files import LatentSpace
from ..errors import UnsupportedCheckpoint
from ..header import Header
from ..identify import Folder, identify, read_folder
from ..precision import Formats
from . import folder, ldm_keys, openclip_keys, sidecar
from .base import Checkpoint, ModelTraits, Prediction, SizeConditioning
from .modules import Rename, build, fill
from .schedule import Schedule, alphas_cumprod
from .shapes import Shapes, shapes_under
from .text import ClipEncoder, Layer
from .text_layout import TextLayout, clip_layout, open_clip_layout
from .tokenizer import VOCABULARY_SIZE, ClipTokenizer
from .unet_layout import UnetLayout, diffusers_unet, ldm_unet
from .upsample import replace_upsamplers
from .vae_layout import VaeLayout, diffusers_key, in_diffusers_names, vae_layout
from .weights import Weights

if TYPE_CHECKING:
    from ..catalog import CheckpointInfo

CONFIGS = Path(__file__).parent / "config"
LATENT_CHANNELS = 4
IN_CHANNELS = (4, 8, 9)


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """The prefixes of a file's parts, and whether what follows is as diffusers' modules name it."""

    unet: str
    vae: str
    diffusers: bool


LDM = Names(unet="model.diffusion_model.", vae="first_stage_model.", diffusers=False)
DIFFUSERS = Names(unet="unet.", vae="vae.", diffusers=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class TextPart:
    """A text encoder: its size, its place in the file, and how its family reads it."""

    layout: TextLayout
    prefix: str
    open_clip: bool = False
    layer: Layer = "skip"
    normed: bool = True
    pad: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What all models of a family have in common and no shape in a file tells.

    `heads` is how many heads of attention every level has, None where they are 64 wide;
    `stored_schedule`: a file's own noise schedule goes before the usual one.
    """

    family: str
    heads: int | None
    latent_scale: float
    latent_space: LatentSpace
    stored_schedule: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """All that must be known before a tensor is read; `prediction` is None if nothing says it."""

    family: str
    names: Names
    unet: UnetLayout
    vae: VaeLayout
    texts: tuple[TextPart, ...]
    prediction: Prediction | None
    latent_scale: float
    latent_space: LatentSpace
    schedule: Schedule
    sizes: SizeConditioning | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A file or a folder before a tensor of it is read; `folder` has its configurations."""

    info: "CheckpointInfo"
    header: Header
    names: Names
    folder: Folder | None = None

    @classmethod
    def of(cls, info: "CheckpointInfo", header: Header) -> "Source":
        """Look at names and configurations.

        Raises CheckpointNotFound, CorruptCheckpoint and UnsupportedCheckpoint.
        """
        marked = f"{DIFFUSERS.unet}conv_in.weight" in header.tensors
        return cls(
            info=info,
            header=header,
            names=DIFFUSERS if marked else LDM,
            folder=read_folder(info.path) if info.path.is_dir() else None,
        )

    def shapes(self, prefix: str) -> Shapes:
        """The shapes of one part."""
        return shapes_under(self.header, prefix)

    def clip(self, prefix: str) -> TextPart:
        """Find a text encoder in transformers' names. Raises what `layout` does."""
        part, said = prefix.removesuffix("."), self.folder
        heads = None if said is None else folder.heads(said, part)
        found = clip_layout(self.info.path, self.shapes(prefix), heads)
        found = found if said is None else folder.text(said, part, found)
        return TextPart(layout=found, prefix=prefix)

    def open_clip(self, prefix: str) -> TextPart:
        """Find one of OpenCLIP, in its own names or transformers'. Raises what `layout` does."""
        if self.names.diffusers:
            part = self.clip(prefix)
            gelu = part.layout.activation or "gelu"
            return replace(part, layout=replace(part.layout, activation=gelu), pad=0)
        found = open_clip_layout(self.info.path, self.shapes(prefix))
        return TextPart(layout=found, prefix=prefix, open_clip=True, pad=0)


def layout(
    source: Source,
    facts: Facts,
    texts: tuple[TextPart, ...],
    sizes: SizeConditioning | None = None,
) -> Layout:
    """Read the dimensions; a sidecar's or a folder's word goes before the header's.

    Raises CorruptCheckpoint and UnsupportedCheckpoint.
    """
    info, names, kind = source.info, source.names, identify(source.header)
    read = diffusers_unet if names.diffusers else ldm_unet
    found = Layout(
        family=facts.family,
        names=names,
        unet=read(info.path, source.shapes(names.unet), heads=facts.heads),
        vae=vae_layout(info.path, source.shapes(names.vae)),
        texts=texts,
        prediction=kind.prediction,
        latent_scale=facts.latent_scale,
        latent_space=facts.latent_space,
        schedule=Schedule(stored=facts.stored_schedule, zero_terminal_snr=kind.zero_snr),
        sizes=sizes,
    )
    found = found if source.folder is None else _of_folder(source.folder, found)
    found = found if info.config is None else _of_sidecar(info.config, found)
    _check(info.path, found)
    return found


def load(
    layout: Callable[["CheckpointInfo", Header], Layout],
    info: "CheckpointInfo",
    weights: Weights,
    *,
    device: torch.device,
    formats: Formats,
) -> Checkpoint:
    """Build the modules that `layout` reads from the header, and fill them from the file.

    Raises CorruptCheckpoint and UnsupportedCheckpoint.
    """
    found = layout(info, weights.header)
    return assemble(info, weights, found, device=device, formats=formats)


def assemble(
    info: "CheckpointInfo",
    weights: Weights,
    found: Layout,
    *,
    device: torch.device,
    formats: Formats,
) -> Checkpoint:
    """Build the modules and fill them from the file; an unknown prediction counts as epsilon.

    Raises CorruptCheckpoint and UnsupportedCheckpoint.
    """
    unet, vae = _unet(found.unet, weights), _vae(found.vae, weights)
    modules = [_text_encoder(part.layout, weights) for part in found.texts]
    unet_key, vae_key = _unet_key(found), _vae_key(found, weights.header)
    filled = partial(fill, device=device, channels_last=formats.channels_last)
    filled(unet, weights, found.names.unet, unet_key, dtype=formats.unet)
    filled(vae, weights, found.names.vae, vae_key, dtype=formats.vae)
    for module, part in zip(modules, found.texts, strict=True):
        filled(module, weights, part.prefix, _text_key(part), dtype=formats.text)
        _number_positions(module, device)
    traits = ModelTraits(
        tokenizer=ClipTokenizer(),
        alphas_cumprod=alphas_cumprod(found.schedule, weights),
        prediction=found.prediction or "epsilon",
        latent_scale=found.latent_scale,
        latent_channels=found.vae.latent_channels,
        in_channels=found.unet.in_channels,
        device=device,
        latent_space=found.latent_space,
        sizes=found.sizes,
    )
    encoders = (
        ClipEncoder(module=module, layer=part.layer, normed=part.normed, pad=part.pad)
        for module, part in zip(modules, found.texts, strict=True)
    )
    return Checkpoint(
        info=info,
        family=found.family,
        traits=traits,
        unet=unet,
        vae=vae,
        encoders=tuple(encoders),
        dtype=formats.unet,
        channels_last=formats.channels_last,
    )


def config(name: str) -> dict[str, Any]:
    """What no shape tells of a module, in the words of its library."""
    values: dict[str, Any] = json.loads((CONFIGS / f"{name}.json").read_text(encoding="utf-8"))
    return values


def _of_folder(said: Folder, found: Layout) -> Layout:
    """What the configurations of a folder's parts say."""
    return replace(
        found,
        unet=folder.unet(said, found.unet),
        prediction=folder.prediction(said, found.prediction),
        latent_scale=folder.latent_scale(said, found.latent_scale),
        schedule=folder.schedule(said, found.schedule),
    )


def _of_sidecar(path: Path, found: Layout) -> Layout:
    params = sidecar.read_sidecar(path)
    return replace(
        found,
        unet=sidecar.unet(params, found.unet),
        vae=sidecar.vae(params, found.vae),
        prediction=sidecar.prediction(params, found.prediction),
        latent_scale=params.number("scale_factor", found.latent_scale),
        schedule=sidecar.schedule(params, found.schedule),
    )


def _check(path: Path, found: Layout) -> None:
    unet, width = found.unet, sum(part.layout.width for part in found.texts)
    vocabularies = {part.layout.vocabulary for part in found.texts}
    reason = None
    if unet.in_channels not in IN_CHANNELS:
        reason = f"a UNet of {unet.in_channels} input channels; supported: {IN_CHANNELS}"
    elif unet.out_channels != LATENT_CHANNELS or found.vae.latent_channels != LATENT_CHANNELS:
        reason = f"latents of other than {LATENT_CHANNELS} channels"
    elif vocabularies != {VOCABULARY_SIZE}:
        reason = f"a vocabulary of {min(vocabularies)} tokens; CLIP's has {VOCABULARY_SIZE}"
    elif width != unet.context_width:
        reason = f"text of width {width} for a UNet that reads {unet.context_width}"
    elif unet.vector_width is not None and found.sizes is None:
        reason = "a UNet that is guided by more than text"
    if reason is not None:
        raise UnsupportedCheckpoint(path, reason)


def _unet(found: UnetLayout, weights: Weights) -> UNet2DConditionModel:
    values = config("unet") | found.config()
    unet = build(lambda: UNet2DConditionModel(**values), weights)
    replace_upsamplers(unet)
    return unet


def _vae(found: VaeLayout, weights: Weights) -> AutoencoderKL:
    values = config("vae") | found.config()
    return build(lambda: AutoencoderKL(**values), weights)


def _text_encoder(
    found: TextLayout, weights: Weights
) -> CLIPTextModel | CLIPTextModelWithProjection:
    values = CLIPTextConfig(**(config("text_encoder") | found.config()))
    if found.projection is None:
        return build(lambda: CLIPTextModel(values), weights)
    return build(lambda: CLIPTextModelWithProjection(values), weights)


def _number_positions(
    module: CLIPTextModel | CLIPTextModelWithProjection, device: torch.device
) -> None:
    """Give the module the one buffer that is in no file."""
    model = module.text_model if isinstance(module, CLIPTextModelWithProjection) else module
    positions = torch.arange(model.config.max_position_embeddings, device=device)[None]
    model.embeddings.register_buffer("position_ids", positions, persistent=False)


def _unet_key(found: Layout) -> Rename:
    if found.names.diffusers:
        return str
    return partial(ldm_keys.unet, layers=found.unet.layers, attention=found.unet.up_attention)


def _vae_key(found: Layout, header: Header) -> Rename:
    if in_diffusers_names(shapes_under(header, found.names.vae)):
        return diffusers_key
    return partial(ldm_keys.vae, levels=len(found.vae.channels))


def _text_key(part: TextPart) -> Rename:
    projected = part.layout.projection is not None
    if part.open_clip:
        layers = part.layout.layers
        return partial(openclip_keys.text_encoder, layers=layers, projected=projected)
    return partial(ldm_keys.text_encoder, projected=projected)
