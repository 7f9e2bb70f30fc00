"""Restores the faces of a picture by GFPGAN (https://arxiv.org/abs/2101.04061) or CodeFormer
(https://arxiv.org/abs/2206.11253), built by spandrel.

Heavy: imports torch.
"""

import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from ..architectures import open_architecture
from ..errors import CorruptCheckpoint, NansException, UnsupportedCheckpoint
from .alignment import Alignment, Pixels, put, take
from .files import CODEFORMER, GFPGAN

Points = NDArray[np.float32]
Tick = Callable[[float], None]

_WAIT = 0.2


def open_restorer(
    path: Path, name: str, *, device: torch.device, turn: "threading.Lock | None" = None
) -> "FaceRestorer":
    """The network of a file on a device, in float32: neither of the two can do with less.

    `name` is "GFPGAN" or "CodeFormer". Who has `turn` computes: networks that share one take turns,
    face by face. Raises NoSpandrel, CheckpointNotFound, CorruptCheckpoint, and
    UnsupportedCheckpoint for a network that is not what `name` says.
    """
    network = open_architecture(path)
    kind = network.architecture.id
    if kind != name:
        raise UnsupportedCheckpoint(path, f"is a network of the kind {kind}, not {name}")
    return FaceRestorer(network.model, path, name, device, turn or threading.Lock())


class FaceRestorer:
    """Restores faces of 512x512 pixels; for any number of threads."""

    def __init__(
        self, model: Any, path: Path, name: str, device: torch.device, turn: threading.Lock
    ) -> None:
        """Restore by a module of the kind `name`; `path` is for what goes wrong."""
        self._model = model
        self._device = device
        self._path = path
        self._restore = _CALLS[name]
        self._name = name
        self._turn = turn

    def restore(
        self, image: Image.Image, faces: Iterable[Points], weight: float, tick: Tick
    ) -> Image.Image:
        """The picture with its faces restored; the very same one where there is none to restore.

        `faces` are the five points of each, [5, 2]; those too small for `Alignment.of` are left as
        they are. `weight` is CodeFormer's: 0 is most restored, 1 most alike. `tick` is told of the
        share done, and while others have their turn; what it raises is raised here. Alpha is kept.

        Raises:
            NansException: the network gave not-a-number values.
            CorruptCheckpoint: it cannot be run.
        """
        found = [face for face in map(Alignment.of, faces) if face is not None]
        found = [face for face in found if _within(face, image.size)]
        if not found:
            return image
        given = np.asarray(image.convert("RGB"))
        made = given.copy()
        for number, face in enumerate(found):
            tick(number / len(found))
            put(made, face, self._upright(take(given, face), weight, number / len(found), tick))
        tick(1.0)
        restored = Image.fromarray(made)
        if "A" in image.getbands():
            restored.putalpha(image.getchannel("A"))
        return restored

    def rest(self) -> None:
        """Leave the device, until there is a face to restore again."""
        with self._turn:
            self._model.to("cpu")

    def _upright(self, face: Pixels, weight: float, share: float, tick: Tick) -> Pixels:
        while not self._turn.acquire(timeout=_WAIT):
            tick(share)
        try:
            return self._run(face, weight)
        finally:
            self._turn.release()

    @torch.inference_mode()
    def _run(self, face: Pixels, weight: float) -> Pixels:
        given = torch.tensor(face, device=self._device).permute(2, 0, 1)[None].float()
        try:
            made = self._restore(self._model.to(self._device), given / 127.5 - 1, weight)[0]
        except (RuntimeError, ValueError, LookupError, AssertionError) as error:
            if isinstance(error, torch.OutOfMemoryError):
                raise
            raise CorruptCheckpoint(self._path, f"cannot be run ({error!s:.200})") from error
        if not made.isfinite().all():
            raise NansException(f"face restorer {self._name}")
        shown = (made.clamp(-1, 1) + 1).mul(127.5).round().byte()
        told: Pixels = shown.permute(1, 2, 0).contiguous().cpu().numpy()
        return told


def _gfpgan(model: Any, given: torch.Tensor, weight: float) -> torch.Tensor:
    # the noise of the file in place of fresh noise: the same picture comes out the same
    made: torch.Tensor = model(given, return_rgb=False, randomize_noise=False)[0]
    return made


def _codeformer(model: Any, given: torch.Tensor, weight: float) -> torch.Tensor:
    made: torch.Tensor = model(given, weight=weight)[0]
    return made


_CALLS: Mapping[str, Callable[[Any, torch.Tensor, float], torch.Tensor]] = MappingProxyType(
    {GFPGAN: _gfpgan, CODEFORMER: _codeformer}
)


def _within(face: Alignment, size: tuple[int, int]) -> bool:
    """Whether a face is at least in part in the picture, and not out of all proportion to it."""
    left, top, right, bottom = face.area()
    inside = left < size[0] and right > 0 and top < size[1] and bottom > 0
    return inside and face.side <= 4 * max(size)
