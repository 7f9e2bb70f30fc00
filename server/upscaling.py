"""The upscalers there are, by the names of the wire; torch-free until one of them works."""

import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any

from PIL import Image

from models.library import Library
from models.sessions import SessionCache
from models.upscalers.files import UpscalerFile, find_upscaler, find_upscalers
from models.upscalers.tiles import Tiling
from pipelines.pictures.upscale import Tick, Upscaler
from pipelines.upscalers import LATENT_UPSCALERS, PIXEL_UPSCALERS

from .heavy import heavy
from .options import Options
from .settings import Settings

#: what `--use-cpu` calls folders, beside their own names
_PARTS: Mapping[str, str] = MappingProxyType(
    {"RealESRGAN": "esrgan", "BSRGAN": "esrgan", "DAT": "esrgan"}
)


@dataclass(frozen=True, slots=True, eq=False)
class Opener:
    """Opens the files of upscalers as the flags say, and keeps what it opened in `sessions`."""

    settings: Settings
    sessions: SessionCache
    #: of networks: one tile at a time is all that memory is reckoned for
    turn: threading.Lock

    def enlarge(
        self, file: UpscalerFile, options: Options, image: Image.Image, tick: Tick
    ) -> Image.Image:
        """One run of the file's network, in tiles as the options say.

        Raises NoSpandrel and CheckpointError for a file that cannot be used, and as the network's
        own `enlarge`.
        """
        network = self.sessions.get(
            ("upscaler", file.path, file.kind), (file.path,), partial(self._open, file)
        )
        enlarged: Image.Image = network.enlarge(image, tiling(file.kind, options), tick)
        return enlarged

    def _open(self, file: UpscalerFile) -> Any:
        runtime, network = heavy(), heavy("models.upscalers.network")
        parts = (file.kind.lower(), _PARTS.get(file.kind, file.kind.lower()))
        wanted = {self.settings.device_for(part) for part in parts}
        device = runtime.torch_device("cpu" if "cpu" in wanted else wanted.pop())
        return network.open_upscaler(
            file.path,
            device=device,
            half=not runtime.full_precision(self.settings, device),
            turn=self.turn,
        )


class Upscalers(Mapping[str, Upscaler]):
    """Those that need no weights, then those of the folders as they are at each look.

    A file whose name one of the others has cannot be reached.
    """

    def __init__(self, library: Library, opener: Opener, options: Callable[[], Options]) -> None:
        """`options` says how each picture is cut into tiles."""
        self._library = library
        self._opener = opener
        self._options = options

    def under(self, options: Options) -> "Upscalers":
        """The same for a job with options of its own."""
        return Upscalers(self._library, self._opener, lambda: options)

    def files(self) -> tuple[UpscalerFile, ...]:
        """The files there are, in the order of the wire."""
        taken = (*PIXEL_UPSCALERS, *LATENT_UPSCALERS)
        return tuple(file for file in find_upscalers(self._library.tools) if file.name not in taken)

    def __getitem__(self, name: str) -> Upscaler:
        if name in PIXEL_UPSCALERS:
            return name
        file = find_upscaler(self.files(), name)
        if file is None:
            raise KeyError(name)
        return partial(self._enlarge, file)

    def __iter__(self) -> Iterator[str]:
        return iter((*PIXEL_UPSCALERS, *(file.name for file in self.files())))

    def __len__(self) -> int:
        return len(PIXEL_UPSCALERS) + len(self.files())

    def _enlarge(self, file: UpscalerFile, image: Image.Image, tick: Tick) -> Image.Image:
        return self._opener.enlarge(file, self._options(), image, tick)


def tiling(kind: str, options: Options) -> Tiling:
    """How pictures are cut into tiles for the networks of a folder."""
    match kind:
        case "DAT":
            return Tiling(size=options.DAT_tile, overlap=options.DAT_tile_overlap)
        case "SwinIR":
            return Tiling(size=options.SWIN_tile, overlap=options.SWIN_tile_overlap)
    return Tiling(size=options.ESRGAN_tile, overlap=options.ESRGAN_tile_overlap)
