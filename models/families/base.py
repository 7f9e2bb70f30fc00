"""What every family of models offers to the pipelines."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

import structlog
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import Tensor

from ..approx_files import LatentSpace
from ..errors import NansException
from .text import ClipEncoder
from .tokenizer import ClipTokenizer

if TYPE_CHECKING:
    from ..catalog import CheckpointInfo
    from ..embeddings.table import EmbeddingTable
    from ..header import Header
    from ..identify import Kind
    from .weights import Weights

log = structlog.get_logger(__name__)

Prediction = Literal["epsilon", "v"]
#: What numbers guide a UNet of SDXL beside the pooled text: the sizes and the crop, in the refiner
#: an aesthetic score in the place of the wanted size (https://arxiv.org/abs/2307.01952, 2.2).
SizeConditioning = Literal["sizes", "score"]
#: how many numbers those are
NUMBERS: Mapping[SizeConditioning | None, int] = {"sizes": 6, "score": 5}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ModelTraits:
    """What a generation must know of the model it runs on; holds none of its modules.

    `notes` say what of its networks could not be put on, for the client.
    """

    tokenizer: ClipTokenizer
    alphas_cumprod: Tensor
    prediction: Prediction
    latent_scale: float
    latent_channels: int
    in_channels: int
    device: torch.device
    latent_space: LatentSpace = "SD1"
    sizes: SizeConditioning | None = None
    embeddings: "EmbeddingTable | None" = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Checkpoint:
    """A checkpoint's modules on one device, and the few operations asked of them.

    Inputs may be of any floating dtype and on any device; outputs are float32 on the device. A VAE
    that overflows is moved to the next of `vae_retries`, for good.
    """

    info: "CheckpointInfo"
    family: str
    traits: ModelTraits
    unet: UNet2DConditionModel
    vae: AutoencoderKL
    encoders: tuple[ClipEncoder, ...]
    dtype: torch.dtype
    vae_retries: tuple[torch.dtype, ...] = (torch.float32,)

    @property
    def device(self) -> torch.device:
        """Where its modules are."""
        return self.traits.device

    @property
    def text_widths(self) -> tuple[int, ...]:
        """The lengths of the vectors that its text encoders take in the place of tokens."""
        return tuple(encoder.width for encoder in self.encoders)

    @property
    def vae_dtype(self) -> torch.dtype:
        """The autoencoder's present dtype: float32 from the first NaN on."""
        dtype: torch.dtype = next(self.vae.parameters()).dtype
        return dtype

    def predict(
        self, x: Tensor, timestep: Tensor, context: Tensor, vector: Tensor | None = None
    ) -> Tensor:
        """Run the UNet: x [R,C,h,w], timestep [R] (may be fractional), context [R,L,D].

        `x` is already scaled by 1/sqrt(sigma^2 + 1). `vector` [R,P+n] is the pooled text and the n
        numbers that `traits.sizes` means. Returns the raw prediction [R,4,h,w].
        """
        added = None
        if vector is not None:
            numbers = NUMBERS[self.traits.sizes]
            vector = vector.to(self.device)
            added = {
                "text_embeds": vector[:, :-numbers].to(self.dtype),
                "time_ids": vector[:, -numbers:],
            }
        output: Tensor = self.unet(
            x.to(self.device, self.dtype),
            timestep.to(self.device, torch.float32),
            encoder_hidden_states=context.to(self.device, self.dtype),
            added_cond_kwargs=added,
            return_dict=False,
        )[0]
        return output.float()

    def decode(self, latents: Tensor) -> Tensor:
        """Turn latents [N,4,h,w] into pixels [N,3,8h,8w], nominally in [-1,1], not clamped.

        One image at a time, to bound memory. Raises NansException.
        """
        scaled = latents.to(self.device) / self.traits.latent_scale
        return torch.stack([self._without_nans(self._decode_one, z) for z in scaled.unbind()])

    def encode_image(self, pixels: Tensor) -> Tensor:
        """Turn pixels [N,3,8h,8w] in [-1,1] into latents [N,4,h,w]: the posterior's mean.

        One image at a time, to bound memory. Raises NansException.
        """
        images = pixels.to(self.device).unbind()
        latents = [self._without_nans(self._encode_one, image) for image in images]
        return torch.stack(latents) * self.traits.latent_scale

    def _decode_one(self, z: Tensor) -> Tensor:
        pixels: Tensor = self.vae.decode(z[None].to(self.vae_dtype), return_dict=False)[0][0]
        return pixels.float()

    def _encode_one(self, image: Tensor) -> Tensor:
        mean: Tensor = self.vae.encode(image[None].to(self.vae_dtype)).latent_dist.mean[0]
        return mean.float()

    def _without_nans(self, run: Callable[[Tensor], Tensor], value: Tensor) -> Tensor:
        """Run the VAE; one that overflows stays in the next dtype that it is tried in."""
        output, tried = run(value), self.vae_dtype
        for dtype in () if tried is torch.float32 else self.vae_retries:
            if not output.isnan().any():
                return output
            if dtype is not self.vae_dtype:
                log.warning("the VAE overflowed", name=self.info.title, now_runs_in=str(dtype))
                self.vae.to(dtype)
                output = run(value)
        if output.isnan().any():
            raise NansException("VAE", self.info.name)
        return output


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
    """One row of FAMILIES: which kinds of files it loads, and how.

    `check` raises what `load` would raise, as far as the header shows it.
    """

    name: str
    detect: Callable[["Kind"], bool]
    check: Callable[["CheckpointInfo", "Header"], object]
    load: Load
