"""Which files may hold textual inversions, and what a new one is to be; torch-free."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ..folders import Tree

PICKLES = (".pt", ".bin")
SAFETENSORS = ".safetensors"
PICTURES = (".png", ".webp", ".avif")
PREVIEW = ".preview"


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddingFile:
    """A file as it was when it was found: one that changes is another."""

    path: Path
    size: int
    mtime_ns: int


class BadCreation(Exception):
    """An embedding that cannot be made; the message says why in one line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewEmbedding:
    """An embedding to be made: `count` vectors that begin as those of `text`."""

    name: str
    count: int
    text: str = "*"
    overwrite: bool = False


def find_files(folders: Iterable[Path]) -> list[EmbeddingFile]:
    """Find the files of these folders' trees that may hold an embedding, in natural order.

    A picture of the same name as a file of weights, or called `NAME.preview.png`, is a preview of
    it and is left out.
    """
    endings = (*PICKLES, SAFETENSORS, *PICTURES)
    found = [file for folder in folders for file in Tree(folder, endings).look()]
    weights = {file.path.with_suffix("") for file in found if _holds_weights(file.path)}
    files: list[EmbeddingFile] = []
    for file in found:
        path, stamp = file.path, file.stamp
        if stamp is None or not stamp.size:
            # empty, a link to nothing, a pipe, a device
            continue
        if _holds_weights(path) or (_is_picture(path) and path.with_suffix("") not in weights):
            files.append(EmbeddingFile(path=path, size=stamp.size, mtime_ns=stamp.mtime_ns))
    return files


def _holds_weights(path: Path) -> bool:
    return path.suffix.lower() in (*PICKLES, SAFETENSORS)


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in PICTURES and Path(path.stem).suffix.lower() != PREVIEW
