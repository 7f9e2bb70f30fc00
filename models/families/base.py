"""What every family of models offers to the pipelines."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal, Protocol

import structlog
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPTextModel

from ..errors import ClipSkipOutOfRange, NansException
from .tokenizer import ClipTokenizer

if TYPE_CHECKING:
    from ..catalog import CheckpointInfo
    from ..embeddings.table import EmbeddingTable
    from ..header import Header
    from .weights import Weights

log = structlog.get_logger(__name__)

Prediction = Literal["epsilon", "v"]
#: vectors [n,D], and the token from which on they stand for the tokens' own
Inserted = tuple[int, Tensor]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ModelTraits:
    """What a generation must know of the model it runs on; holds none of its modules."""

    tokenizer: ClipTokenizer
    alphas_cumprod: Tensor
    prediction: Prediction
    latent_scale: float
    latent_channels: int
    in_channels: int
    device: torch.device
    embeddings: "EmbeddingTable | None" = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Checkpoint:
    """A checkpoint's modules on one device, and the few operations asked of them.

    Inputs may be of any floating dtype and on any device; outputs are float32 on the device.
    """

    info: "CheckpointInfo"
    family: str
    unet: UNet2DConditionModel
    vae: AutoencoderKL
    text_encoder: CLIPTextModel
    tokenizer: ClipTokenizer
    alphas_cumprod: Tensor
    prediction: Prediction
    latent_scale: float
    latent_channels: int
    in_channels: int
    device: torch.device
    dtype: torch.dtype
    embeddings: "EmbeddingTable | None" = None

    @property
    def traits(self) -> ModelTraits:
        """What generations see of it."""
        return ModelTraits(
            tokenizer=self.tokenizer,
            alphas_cumprod=self.alphas_cumprod,
            prediction=self.prediction,
            latent_scale=self.latent_scale,
            latent_channels=self.latent_channels,
            in_channels=self.in_channels,
            device=self.device,
            embeddings=self.embeddings,
        )

    @property
    def vae_dtype(self) -> torch.dtype:
        """The autoencoder's present dtype: float32 from the first NaN on."""
        dtype: torch.dtype = next(self.vae.parameters()).dtype
        return dtype

    def predict(self, x: Tensor, timestep: Tensor, context: Tensor) -> Tensor:
        """Run the UNet: x [R,C,h,w], timestep [R] (may be fractional), context [R,L,D].

        `x` is already scaled by 1/sqrt(sigma^2 + 1). Returns the raw prediction [R,4,h,w].
        """
        output: Tensor = self.unet(
            x.to(self.device, self.dtype),
            timestep.to(self.device, torch.float32),
            encoder_hidden_states=context.to(self.device, self.dtype),
            return_dict=False,
        )[0]
        return output.float()

    def encode_tokens(
        self, ids: Tensor, clip_skip: int, inserted: Sequence[Sequence[Inserted]] = ()
    ) -> Tensor:
        """Turn token ids [R,77] into context [R,77,D].

        A `clip_skip` of n > 1 takes the n-th last layer's output, the embeddings counting as
        the first of them; the final norm follows. `inserted` gives each row's vectors that stand
        for those of its tokens. Raises ClipSkipOutOfRange.
        """
        layers = self.text_encoder.config.num_hidden_layers
        if clip_skip > layers + 1:
            raise ClipSkipOutOfRange(clip_skip, layers)
        tokens = self.text_encoder.get_input_embeddings()
        with tokens.register_forward_hook(partial(_insert, inserted)):
            output = self.text_encoder(
                input_ids=ids.to(self.device), output_hidden_states=clip_skip > 1
            )
        context: Tensor = output.last_hidden_state
        if clip_skip > 1:
            context = self.text_encoder.final_layer_norm(output.hidden_states[-clip_skip])
        return context.float()

    def decode(self, latents: Tensor) -> Tensor:
        """Turn latents [N,4,h,w] into pixels [N,3,8h,8w], nominally in [-1,1], not clamped.

        One image at a time, to bound memory. Raises NansException.
        """
        scaled = latents.to(self.device) / self.latent_scale
        return torch.stack([self._without_nans(self._decode_one, z) for z in scaled.unbind()])

    def encode_image(self, pixels: Tensor) -> Tensor:
        """Turn pixels [N,3,8h,8w] in [-1,1] into latents [N,4,h,w]: the posterior's mean.

        One image at a time, to bound memory. Raises NansException.
        """
        images = pixels.to(self.device).unbind()
        latents = [self._without_nans(self._encode_one, image) for image in images]
        return torch.stack(latents) * self.latent_scale

    def _decode_one(self, z: Tensor) -> Tensor:
        pixels: Tensor = self.vae.decode(z[None].to(self.vae_dtype), return_dict=False)[0][0]
        return pixels.float()

    def _encode_one(self, image: Tensor) -> Tensor:
        mean: Tensor = self.vae.encode(image[None].to(self.vae_dtype)).latent_dist.mean[0]
        return mean.float()

    def _without_nans(self, run: Callable[[Tensor], Tensor], value: Tensor) -> Tensor:
        output = run(value)
        if not output.isnan().any():
            return output
        if self.vae_dtype is not torch.float32:
            # Half precision overflows in some autoencoders: this one stays in float32 from now on.
            log.warning("the VAE overflowed and now runs in float32", name=self.info.title)
            self.vae.to(torch.float32)
            output = run(value)
        if output.isnan().any():
            raise NansException("VAE")
        return output


def _insert(
    inserted: Sequence[Sequence[Inserted]], module: nn.Module, ids: object, vectors: Tensor
) -> Tensor:
    """Put vectors in the place of a token embedding's output [R,77,D]; a forward hook."""
    for row, places in enumerate(inserted):
        for start, wanted in places:
            vectors[row, start : start + len(wanted)] = wanted.to(vectors)
    return vectors


class Load(Protocol):
    """Build a checkpoint's modules from its file.

    Raises CorruptCheckpoint and UnsupportedCheckpoint.
    """

    def __call__(
        self,
        info: "CheckpointInfo",
        weights: "Weights",
        *,
        device: torch.device,
        dtype: torch.dtype,
        vae_dtype: torch.dtype,
    ) -> Checkpoint: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """One row of FAMILIES: how to know a file of the family, and how to load it.

    `check` raises what `load` would raise, as far as the header shows it.
    """

    name: str
    detect: Callable[["Header"], bool]
    check: Callable[["CheckpointInfo", "Header"], object]
    load: Load
