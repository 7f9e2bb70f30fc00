"""Cheap stand-ins for autoencoders, loaded when they are first asked for."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import structlog
import torch
from torch import Tensor, nn

from .approx_files import Approximations, LatentSpace
from .errors import CheckpointError
from .families.approx_vae import load_network, load_taesd_decoder, load_taesd_encoder

log = structlog.get_logger(__name__)

Loaded = TypeVar("Loaded", bound=nn.Module)


class ApproxVaes:
    """The stand-ins whose weights are there, on one device; for the device thread alone.

    Inputs may be of any floating dtype and on any device; outputs are float32 on the device. One
    image is done at a time, to bound memory. Weights that cannot be loaded cost one warning and
    count as absent from then on.
    """

    def __init__(
        self,
        files: Approximations,
        *,
        device: torch.device,
        dtype: torch.dtype,
        allow_pickle: bool,
    ) -> None:
        self._files = files
        self._device = device
        self._dtype = dtype
        self._allow_pickle = allow_pickle
        self._loaded: dict[Path, nn.Module | None] = {}

    def taesd_decoded(self, latents: Tensor, space: LatentSpace) -> Tensor | None:
        """Turn latents [N,4,h,w] as sampled into pixels [N,3,8h,8w] in [-1,1]."""
        return self._run(self._files[space].taesd_decoder, load_taesd_decoder, latents)

    def taesd_encoded(self, pixels: Tensor, space: LatentSpace) -> Tensor | None:
        """Turn pixels [N,3,8h,8w] in [-1,1] into latents [N,4,h,w] as sampled."""
        return self._run(self._files[space].taesd_encoder, load_taesd_encoder, pixels)

    def network_decoded(self, latents: Tensor, space: LatentSpace) -> Tensor | None:
        """Turn latents [N,4,h,w] as sampled into pixels [N,3,2h,2w], nominally in [-1,1]."""
        return self._run(self._files[space].network, load_network, latents)

    def _run(self, path: Path | None, load: Callable[..., Loaded], batch: Tensor) -> Tensor | None:
        if path is None:
            return None
        if path not in self._loaded:
            self._loaded[path] = self._load(path, load)
        module = self._loaded[path]
        if module is None:
            return None
        images = batch.to(self._device, self._dtype).unbind()
        return torch.stack([module(image[None])[0].float() for image in images])

    def _load(self, path: Path, load: Callable[..., Loaded]) -> Loaded | None:
        try:
            return load(
                path, device=self._device, dtype=self._dtype, allow_pickle=self._allow_pickle
            )
        except CheckpointError as error:
            log.warning("approximate VAE not loaded", path=str(path), reason=error.reason)
            return None
