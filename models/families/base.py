"""What every family of models offers to the pipelines."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal, Protocol

import structlog
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import Tensor

from ..approx_files import LatentSpace
from ..errors import NansException
from .autoencoding import SCALE, Run, decoded, encoded, passed, ways
from .inputs import Forward, Placement, UnetInputs, run_unet
from .text import ClipEncoder
from .tokenizer import ClipTokenizer

if TYPE_CHECKING:
    from ..catalog import CheckpointInfo
    from ..embeddings.table import EmbeddingTable
    from ..header import Header
    from ..identify import Kind
    from ..precision import Formats
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


def nothing_to_let_go() -> bool:
    """What a checkpoint that is simply run holds only to be fast."""
    return False


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Checkpoint:
    """A checkpoint's modules on one device, and the few operations asked of them.

    Inputs may be of any floating dtype and on any device; outputs are float32 on the device. A VAE
    that overflows is moved to the next of `vae_retries`, for good. `dtype` is the UNet's;
    `forward` runs it where it is not simply called, and `lighten` lets go of what that holds only
    to be fast, and tells whether there was any: for whoever runs out of memory.
    """

    info: "CheckpointInfo"
    family: str
    traits: ModelTraits
    unet: UNet2DConditionModel
    vae: AutoencoderKL
    encoders: tuple[ClipEncoder, ...]
    dtype: torch.dtype
    channels_last: bool = False
    vae_retries: tuple[torch.dtype, ...] = (torch.float32,)
    forward: Forward | None = None
    lighten: Callable[[], bool] = nothing_to_let_go

    @property
    def device(self) -> torch.device:
        """Where its modules are."""
        return self.traits.device

    @property
    def text_widths(self) -> tuple[int, ...]:
        """The lengths of the vectors that its text encoders take in the place of tokens."""
        return tuple(encoder.width for encoder in self.encoders)

    @property
    def placement(self) -> Placement:
        """How its UNet takes its inputs."""
        return Placement(device=self.device, dtype=self.dtype, channels_last=self.channels_last)

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
        text = numbers = None
        if vector is not None:
            count = NUMBERS[self.traits.sizes]
            text, numbers = vector[:, :-count], vector[:, -count:]
        inputs = UnetInputs(x=x, timestep=timestep, context=context, text=text, numbers=numbers)
        if self.forward is not None:
            return self.forward(inputs).float()
        return run_unet(self.unet, self.placement.placed(inputs)).float()

    def decode(self, latents: Tensor) -> Tensor:
        """Turn latents [N,4,h,w] into pixels [N,3,8h,8w], nominally in [-1,1], not clamped.

        So many at once as memory is meant for; large ones, and those for which it is short, in
        tiles. Raises NansException.
        """
        scaled = latents.to(self.device) / self.traits.latent_scale
        return self._sound(decoded, scaled, pixels=SCALE)

    def encode_image(self, pixels: Tensor) -> Tensor:
        """Turn pixels [N,3,8h,8w] in [-1,1] into latents [N,4,h,w]: the posterior's mean.

        As many at once as `decode`. Raises NansException.
        """
        means = self._sound(encoded, pixels.to(self.device), pixels=1)
        return means * self.traits.latent_scale

    def _sound(
        self,
        run: Callable[[AutoencoderKL, Tensor, int | None], Tensor],
        values: Tensor,
        pixels: int,
    ) -> Tensor:
        """Run the VAE on `values` [N,...], each of whose cells is so many pixels wide.

        One that overflows stays in the next dtype that it is tried in, and only the pictures that
        came out wrong are made again. Looks at the result once, which is all the waiting there is.
        """
        outputs = self._through(partial(run, self.vae), values, pixels)
        bad = _with_nans(outputs)
        for dtype in () if self.vae_dtype is torch.float32 else self.vae_retries:
            if not bad:
                break
            if dtype is not self.vae_dtype:
                log.warning("the VAE overflowed", name=self.info.title, now_runs_in=str(dtype))
                self.vae.to(dtype)
                outputs[bad] = self._through(partial(run, self.vae), values[bad], pixels)
                bad = _with_nans(outputs)
        if bad:
            raise NansException("VAE", self.info.name)
        return outputs

    def _through(self, run: Run, values: Tensor, pixels: int) -> Tensor:
        height, width = (side * pixels for side in values.shape[-2:])
        lying = torch.channels_last if self.channels_last else torch.preserve_format
        placed = values.to(self.vae_dtype, memory_format=lying)
        found = ways(height, width, self.vae_dtype, self.device)
        return passed(run, placed, found, self.lighten)


def _with_nans(pictures: Tensor) -> list[int]:
    """Which of the pictures [N,...] are not all numbers; waits for the device."""
    found: list[bool] = pictures.isnan().flatten(1).any(1).tolist()
    return [place for place, bad in enumerate(found) if bad]


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
        formats: "Formats",
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
