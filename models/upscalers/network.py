"""A network that enlarges pictures, run tile by tile within the memory there is."""

import contextlib
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import structlog
import torch
from PIL import Image
from torch import Tensor, nn

from ..architectures import open_architecture
from ..errors import CorruptCheckpoint, NansException, UnsupportedCheckpoint
from ..memory import available
from .colours import TooManyPixels, joined, parted
from .tiles import SMALLEST, Pixels, Tiling, area, lay, spans

log = structlog.get_logger(__name__)

MAX_PIXELS = 2**28
"""Pixels that a network's picture may have; its bytes are held as a whole."""

#: the side of the picture that a network is tried with
_TRIED = 16
#: tensors of the largest layer's size that are held at the peak: 2 to 5 where measured
_HELD = 6
#: of the memory there is, what one tile may take: others work beside
_SHARE = 0.5
_WAIT = 0.2
_CHANNELS = 3
_CPU_IS_FULL = "can't allocate memory"


def open_upscaler(
    path: Path, *, device: torch.device, half: bool, turn: "threading.Lock | None" = None
) -> "NetworkUpscaler":
    """The network of a file on a device; in half precision where it, and a GPU, can do that.

    Who has `turn` computes: networks that share one take turns, tile by tile.

    Raises NoSpandrel, CheckpointNotFound, CorruptCheckpoint, and UnsupportedCheckpoint for what
    does not make an RGB picture of an RGB picture.
    """
    network = open_architecture(path)
    _check(path, network)
    dtype = _dtype(network) if half and device.type == "cuda" else torch.float32
    return NetworkUpscaler(path, network.to(device, dtype), turn or threading.Lock())


class NetworkUpscaler:
    """Enlarges pictures by a whole factor; for any number of threads."""

    def __init__(self, path: Path, network: Any, turn: threading.Lock) -> None:
        """Try the network on a small picture. Raises CorruptCheckpoint."""
        self.scale: int = network.scale
        self._path = path
        self._network = network
        self._turn = turn
        self._bytes_a_pixel = self._tried()

    @property
    def dtype(self) -> torch.dtype:
        """What it computes in: float32 from then on where half precision did not suffice."""
        dtype: torch.dtype = self._network.dtype
        return dtype

    def enlarge(
        self, image: Image.Image, tiling: Tiling, tick: Callable[[float], None]
    ) -> Image.Image:
        """The picture `scale` times as large, in 8 bits; grey stays grey, alpha is enlarged beside.

        `tick` is told of the share done, tile by tile, and while others have their turn; what it
        raises is raised here. Tiles are made smaller where memory is short.

        Raises:
            TooManyPixels: the result would have more than `MAX_PIXELS`.
            NansException: the network gave not-a-number values, even in float32.
            CorruptCheckpoint: it cannot be run on a picture of that size.
        """
        pixels = image.width * image.height * self.scale**2
        if pixels > MAX_PIXELS:
            raise TooManyPixels(image.size, self.scale, MAX_PIXELS)
        colours, alpha = parted(image)
        work = _Work(self, tick)
        enlarged = work.enlarge(np.asarray(colours), self._fitting(tiling, image))
        return joined(Image.fromarray(enlarged), colours_of=image, alpha=alpha)

    def run(self, pixels: Pixels, waiting: Callable[[], None]) -> Pixels:
        """Enlarge one tile in its turn; `waiting` is called meanwhile. Raises as `enlarge`."""
        while not self._turn.acquire(timeout=_WAIT):
            waiting()
        try:
            return self._run(pixels)
        finally:
            self._turn.release()

    def _run(self, pixels: Pixels) -> Pixels:
        given = torch.tensor(pixels, device=self._network.device).permute(2, 0, 1)[None]
        made = self._forward(given)
        if not made.isfinite().all() and self.dtype != torch.float32:
            log.warning("half precision overflows: float32 from now on", path=str(self._path))
            # from its file: numbers that half precision cannot hold are lost
            self._network = open_architecture(self._path).to(self._network.device)
            made = self._forward(given)
        if not made.isfinite().all():
            raise NansException(f"upscaler {self._path.stem!r}")
        shown = made[0].float().mul(255).round().clamp(0, 255).byte()
        told: Pixels = shown.permute(1, 2, 0).contiguous().cpu().numpy()
        return told

    @torch.inference_mode()
    def _forward(self, given: Tensor) -> Tensor:
        height, width = given.shape[2:]
        try:
            made: Tensor = self._network(given.to(self.dtype) / 255)
        except (RuntimeError, ValueError, LookupError, AssertionError) as error:
            if _is_full(error):
                raise
            raise CorruptCheckpoint(
                self._path, f"cannot be run on {width}x{height} pixels ({error!s:.200})"
            ) from error
        wanted = (1, _CHANNELS, height * self.scale, width * self.scale)
        if made.shape != wanted:
            raise CorruptCheckpoint(
                self._path, f"gave a picture of {tuple(made.shape)}, not of {wanted}"
            )
        return made

    def _fitting(self, tiling: Tiling, image: Image.Image) -> Tiling:
        """The tiling, with tiles no larger than there is memory for."""
        room = available(self._network.device) * _SHARE / self._bytes_a_pixel
        largest = max(int(room**0.5), SMALLEST)
        if tiling.size <= 0 and image.width * image.height <= room:
            return tiling
        size = largest if tiling.size <= 0 else min(tiling.size, largest)
        return Tiling(size=size, overlap=tiling.overlap)

    def _tried(self) -> float:
        """Run on a small picture; bytes that a pixel of one takes at the peak."""
        sizes = [1]

        def measure(module: nn.Module, given: Any, made: Any) -> None:
            if isinstance(made, Tensor):
                sizes.append(made.numel() * made.element_size())

        with contextlib.ExitStack() as hooks:
            for module in self._network.model.modules():
                hooks.callback(module.register_forward_hook(measure).remove)
            with self._turn:
                self._forward(
                    torch.zeros(1, _CHANNELS, _TRIED, _TRIED, device=self._network.device)
                )
        wide, high = self._network.size_requirements.get_padding(_TRIED, _TRIED)
        pixels: int = (_TRIED + wide) * (_TRIED + high)
        return _HELD * max(sizes) / pixels


class _Work:
    """One picture under way: how much of it is done, and the largest tile that fits so far."""

    def __init__(self, upscaler: NetworkUpscaler, tick: Callable[[float], None]) -> None:
        self._upscaler = upscaler
        self._tick = tick
        self._done = 0.0
        self._fits: int | None = None

    def enlarge(self, pixels: Pixels, tiling: Tiling, share: float = 1.0) -> Pixels:
        """Enlarge a picture, or a tile again, that is `share` of the whole work."""
        height, width = pixels.shape[:2]
        rows, columns = spans(height, tiling), spans(width, tiling)
        scale = self._upscaler.scale
        if len(rows) == len(columns) == 1:
            return self._tile(pixels, tiling, share)
        whole = area(rows, columns)
        canvas = np.empty((height * scale, width * scale, _CHANNELS), np.uint8)
        for down in rows:
            band = np.empty(((down.stop - down.start) * scale, *canvas.shape[1:]), np.uint8)
            for across in columns:
                tile = pixels[down.start : down.stop, across.start : across.stop]
                part = share * tile.shape[0] * tile.shape[1] / whole
                lay(band, self._tile(tile, tiling, part), across, 1, scale)
            lay(canvas, band, down, 0, scale)
        return canvas

    def _tile(self, pixels: Pixels, tiling: Tiling, share: float) -> Pixels:
        """Enlarge a tile at once, or as smaller ones where memory is short."""
        side = max(pixels.shape[:2])
        if self._fits is None or side <= self._fits:
            made = self._tried(pixels)
            if made is not None:
                self._done = min(self._done + share, 1.0)
                self._look()
                return made
            # only now is what the attempt held of the device's memory free
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            self._fits = max(side // 2, SMALLEST)
            log.warning("tile too large for the memory there is", side=side, smaller=self._fits)
        smaller = Tiling(size=self._fits, overlap=min(tiling.overlap, self._fits // 2))
        return self.enlarge(pixels, smaller, share)

    def _tried(self, pixels: Pixels) -> Pixels | None:
        """The enlarged tile; None where memory does not suffice, and a smaller one can be tried."""
        try:
            return self._upscaler.run(pixels, self._look)
        except (RuntimeError, MemoryError) as error:
            if not _is_full(error) or max(pixels.shape[:2]) <= SMALLEST:
                raise
            return None

    def _look(self) -> None:
        self._tick(self._done)


def _check(path: Path, network: Any) -> None:
    """Refuse what is no upscaler. A network that keeps the size but restores serves as one."""
    if network.purpose == "FaceSR":
        raise UnsupportedCheckpoint(
            path, "restores faces; its place is the folder GFPGAN or Codeformer"
        )
    if network.purpose not in ("SR", "Restoration"):
        raise UnsupportedCheckpoint(path, f"is no upscaler but for {network.purpose.lower()}")
    channels = network.input_channels, network.output_channels
    if channels != (_CHANNELS, _CHANNELS):
        raise UnsupportedCheckpoint(
            path, f"makes pictures of {channels[1]} channels from {channels[0]}, not RGB from RGB"
        )


def _dtype(network: Any) -> torch.dtype:
    if network.supports_half:
        return torch.float16
    if network.supports_bfloat16 and torch.cuda.is_bf16_supported():
        return torch.bfloat16
    return torch.float32


def _is_full(error: BaseException) -> bool:
    """Whether a device, or the machine, has no memory left."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or _CPU_IS_FULL in str(error)
