"""The files that finding and restoring faces takes, in the folders of a webui; torch-free."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from ..tool_files import ToolFile, ToolFiles

ANALYSER = "insightface"
"""The kind of the files that find and recognise faces."""
ANALYSER_FOLDER = "models/buffalo_l"
"""Where they are, below the folder of their kind, as insightface has it."""
DETECTOR, RECOGNISER = "det_10g.onnx", "w600k_r50.onnx"


class FaceWeightsMissing(LookupError):
    """Weights were asked for that are not here; the message says which file goes where."""

    def __init__(self, wanted: str, folder: Path) -> None:
        super().__init__(f"{wanted} is not installed; it belongs into the folder {folder}")


@dataclass(frozen=True, slots=True, kw_only=True)
class RestorerKind:
    """A restorer as the wire names it: the folder of its files, their usual names, best first."""

    name: str
    folder: str
    usual: tuple[str, ...]


CODEFORMER, GFPGAN = "CodeFormer", "GFPGAN"
RESTORERS: Mapping[str, RestorerKind] = MappingProxyType(
    {
        CODEFORMER: RestorerKind(
            name=CODEFORMER,
            folder="Codeformer",
            usual=("codeformer-v0.1.0.pth", "codeformer.pth"),
        ),
        GFPGAN: RestorerKind(
            name=GFPGAN,
            folder="GFPGAN",
            usual=("GFPGANv1.4.pth", "GFPGANv1.3.pth"),
        ),
    }
)
"""By the names of the wire, in its order."""


def find_restorer(tools: Mapping[str, ToolFiles], name: str) -> ToolFile:
    """The weights of a restorer of `RESTORERS`; of several the usual ones first.

    Other files of its folder count when their names hold the restorer's: beside it lie the
    detectors that a webui fetches. Raises `FaceWeightsMissing`.
    """
    kind = RESTORERS[name]
    there = tools[kind.folder].files()
    for usual in kind.usual:
        for file in there:
            if file.path.name.lower() == usual.lower():
                return file
    for file in there:
        if name.lower() in file.path.name.lower():
            return file
    raise FaceWeightsMissing(kind.usual[0], tools[kind.folder].folder)


def find_analyser(tools: Mapping[str, ToolFiles]) -> tuple[Path, tuple[Path, ...]]:
    """The folder of insightface's models, and the ONNX files in it. Raises `FaceWeightsMissing`."""
    folder = tools[ANALYSER].folder / ANALYSER_FOLDER
    files = tuple(file.path for file in tools[ANALYSER].files() if file.path.parent == folder)
    if not files:
        raise FaceWeightsMissing(f"{DETECTOR} (with {RECOGNISER})", folder)
    return folder, files
