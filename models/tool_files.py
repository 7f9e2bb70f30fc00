"""Files of weights that are no part of a Stable Diffusion model: upscalers, face tools; torch-free.

Which of them can be run is not said here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog

from .catalog import SAFETENSORS
from .folders import Found, Stamp, is_text, printable
from .watched import Watched

log = structlog.get_logger(__name__)

#: kinds by the folder that a webui keeps them in, and how the names of their files end
ENDINGS: Mapping[str, tuple[str, ...]] = {
    "BSRGAN": (".pth", ".pt", SAFETENSORS),
    "Codeformer": (".pth", SAFETENSORS),
    "DAT": (".pth", ".pt", SAFETENSORS),
    "ESRGAN": (".pth", ".pt", SAFETENSORS),
    "GFPGAN": (".pth", SAFETENSORS),
    "insightface": (".onnx",),
    "LDSR": (".ckpt", SAFETENSORS),
    "nudenet": (".onnx",),
    "RealESRGAN": (".pth", ".pt", SAFETENSORS),
    "roop": (".onnx", ".pth"),
    "ScuNET": (".pth", ".pt", SAFETENSORS),
    "SwinIR": (".pth", ".pt", SAFETENSORS),
    "u2net": (".onnx",),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolFile:
    """A file of one kind; `name` is its path below its folder, with extension."""

    path: Path
    name: str
    stamp: Stamp

    @property
    def stem(self) -> str:
        """The file's name without folder and extension."""
        return self.path.stem


class ToolFiles:
    """The files of one kind in some folders as they are now; none is opened.

    Names only ever select among the files found: no path is made from what a client sends.
    """

    def __init__(self, kind: str, dirs: Sequence[Path]) -> None:
        """`kind` is a key of `ENDINGS`; the folders need not be there."""
        self.kind = kind
        self._dirs = tuple(dirs)
        self._files = Watched(self._dirs, endings=ENDINGS[kind], read=self._read)

    @property
    def folder(self) -> Path:
        """Where a file of this kind belongs."""
        return self._dirs[0]

    def files(self) -> tuple[ToolFile, ...]:
        """List them folder by folder, in natural order."""
        return tuple(file for file in self._files.look().values() if file is not None)

    def find(self, name: str) -> ToolFile | None:
        """Look up a name, a file name or a stem, exactly; of several the first, names going first.

        The file is looked at once more: None where it has gone since.
        """
        for spell in (_name, _file_name, _stem):
            found = next((file for file in self.files() if spell(file) == name), None)
            if found is not None:
                if self._files.recheck(found.path, found.stamp):
                    return found
                return next((file for file in self.files() if file.path == found.path), None)
        return None

    def _read(self, found: Sequence[Found]) -> list[ToolFile | None]:
        return [self._file(file) for file in found]

    def _file(self, file: Found) -> ToolFile | None:
        if file.stamp is None or not is_text(file.path):
            reason = "its name is not UTF-8" if file.stamp else "no such file"
            log.warning("file skipped", kind=self.kind, path=printable(file.path), reason=reason)
            return None
        root = next(each for each in self._dirs if file.path.is_relative_to(each))
        name = file.path.relative_to(root).as_posix()
        return ToolFile(path=file.path, name=name, stamp=file.stamp)


def _name(file: ToolFile) -> str:
    return file.name


def _file_name(file: ToolFile) -> str:
    return file.path.name


def _stem(file: ToolFile) -> str:
    return file.stem
