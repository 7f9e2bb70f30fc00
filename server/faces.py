"""What finds and what restores faces, as the flags and folders have it; torch-free until it works.

Nothing is fetched: what is not here is told by the name of its file and the folder it belongs into.
"""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any

from PIL import Image

from extensions.protocol import Missing
from models.errors import NoSpandrel
from models.faces.analysis import Analyser, NoInsightface, open_analyser
from models.faces.files import (
    CODEFORMER,
    GFPGAN,
    RESTORERS,
    FaceWeightsMissing,
    find_analyser,
    find_restorer,
)
from models.library import Library
from models.onnx import NoOnnxruntime, session_options
from models.sessions import SessionCache
from models.tool_files import ToolFile
from pipelines.pictures.upscale import Tick, unwatched

from .heavy import heavy
from .options import Options
from .settings import Settings

#: what `--use-cpu` calls the restorers, and what finds faces
_PARTS: Mapping[str, str] = MappingProxyType({CODEFORMER: "codeformer", GFPGAN: "gfpgan"})
_FINDER = "roop"


@dataclass(frozen=True, slots=True, eq=False)
class FaceTools:
    """Opens the models of faces as the flags say, and keeps what it opened in `sessions`."""

    settings: Settings
    library: Library
    sessions: SessionCache
    #: of networks: one face at a time is all that memory is reckoned for
    turn: threading.Lock

    def faces(self, image: Image.Image) -> Sequence[Any]:
        """The faces with their embeddings, left to right, as insightface's `Face`.

        Raises Missing, and CorruptCheckpoint for models that cannot be used.
        """
        try:
            return self._analyser().faces(image)
        except (FaceWeightsMissing, NoInsightface, NoOnnxruntime) as error:
            raise Missing(str(error)) from error

    def restore(
        self, name: str, options: Options, image: Image.Image, weight: float, tick: Tick
    ) -> Image.Image:
        """The picture with its faces restored; `weight` is CodeFormer's, from 0 to 1.

        Raises Missing, CheckpointError for models that cannot be used, and NansException.
        """
        try:
            file = find_restorer(self.library.tools, name)
            found = self._analyser().detect(image)
            if not found:
                return image
            key = ("face restorer", name, file.path)
            network = self.sessions.get(key, (file.path,), partial(self._open, name, file))
            restored: Image.Image = network.restore(
                image, [face.kps for face in found], weight, tick
            )
            if options.face_restoration_unload:
                network.rest()
        except (FaceWeightsMissing, NoInsightface, NoOnnxruntime, NoSpandrel) as error:
            raise Missing(str(error)) from error
        return restored

    def _analyser(self) -> Analyser:
        folder, files = find_analyser(self.library.tools)
        return self.sessions.get(("faces", folder), files, lambda: self._open_analyser(folder))

    def _open_analyser(self, folder: Any) -> Analyser:
        # insightface imports what diffusers imports too
        device = heavy().torch_device(self.settings.device_for(_FINDER))
        return open_analyser(folder, session_options(str(device)))

    def _open(self, name: str, file: ToolFile) -> Any:
        restoration = heavy("models.faces.restoration")
        device = heavy().torch_device(self.settings.device_for(_PARTS[name]))
        return restoration.open_restorer(file.path, name, device=device, turn=self.turn)


class Restorers(Mapping[str, Callable[..., Image.Image]]):
    """The restorers whose weights are here at each look, by the names of the wire."""

    def __init__(self, tools: FaceTools, options: Callable[[], Options]) -> None:
        """`options` says what becomes of a network after its work."""
        self._tools = tools
        self._options = options

    def under(self, options: Options) -> "Restorers":
        """The same for a job with options of its own."""
        return Restorers(self._tools, lambda: options)

    def why_not(self, name: str) -> str:
        """Why a name of `RESTORERS` is not among them: the file, and where it belongs."""
        try:
            find_restorer(self._tools.library.tools, name)
        except FaceWeightsMissing as error:
            return str(error)
        return ""

    def __getitem__(self, name: str) -> Callable[..., Image.Image]:
        if name not in RESTORERS or self.why_not(name):
            raise KeyError(name)
        return partial(self._restore, name)

    def __iter__(self) -> Iterator[str]:
        return (name for name in RESTORERS if not self.why_not(name))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def _restore(
        self, name: str, image: Image.Image, weight: float, tick: Tick = unwatched
    ) -> Image.Image:
        return self._tools.restore(name, self._options(), image, weight, tick)
