"""The models of rembg that run here, and the files there are of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import MappingProxyType

from ..protocol import BadScriptArgs, Missing, Workshop

FOLDER = "u2net"
CUSTOM = "dis_custom"
"""The class of rembg that runs a file by any other name, by the rules of ISNet."""
CLOTHES = "u2net_cloth_seg"
"""The model that tells four classes apart rather than how sure it is of one."""

_ENDING = ".onnx"

KNOWN: Mapping[str, Sequence[str]] = MappingProxyType(
    {
        "u2net": (),
        "u2netp": (),
        "u2net_human_seg": (),
        CLOTHES: (),
        "silueta": (),
        "isnet-general-use": (),
        "isnet-anime": (),
        "birefnet-general": ("BiRefNet-general-epoch_244",),
        "birefnet-general-lite": ("BiRefNet-general-bb_swin_v1_tiny-epoch_232",),
        "birefnet-general-fp16": (),
        "birefnet-portrait": ("BiRefNet-portrait-epoch_150",),
        "birefnet-dis": ("BiRefNet-DIS-epoch_590",),
        "birefnet-hrsod": ("BiRefNet-HRSOD_DHU-epoch_115",),
        "birefnet-cod": ("BiRefNet-COD-epoch_125",),
        "birefnet-massive": ("BiRefNet-massive-TR_DIS5K_TR_TEs-epoch_420",),
        "bria-rmbg": ("bria-rmbg-2.0",),
    }
)
"""Models by rembg's names, and what else their files are called where they are handed out.

Not here: `atlascloud` and `withoutbg` send pictures away, `sam` wants points that no client sends.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A model to run: how it was asked for, the class of rembg that knows how, its file."""

    name: str
    base: str
    path: Path

    @property
    def in_logits(self) -> bool:
        """Whether it tells how sure it is in logits rather than from 0 to 1."""
        return self.base.startswith("birefnet")


def find(workshop: Workshop, name: str) -> Model:
    """The model of a name, with or without `.onnx`; a file not of rembg's models is named by stem.

    Raises BadScriptArgs for what is not one of them, Missing for one that has no file here.
    """
    stem = name.removesuffix(_ENDING)
    files = workshop.weights(FOLDER)
    if stem in KNOWN:
        path = _file(stem, files)
        if path is None:
            raise Missing(
                f"model {stem!r} of rembg is not here: put {stem}{_ENDING} "
                f"into {workshop.folder(FOLDER)}"
            )
        return Model(name=stem, base=stem, path=path)
    own = _own(files)
    if stem not in own:
        raise BadScriptArgs(f"model {name!r:.80}: allowed are {', '.join((*KNOWN, *own))}")
    return Model(name=stem, base=CUSTOM, path=own[stem])


def _file(name: str, files: Mapping[str, Path]) -> Path | None:
    """The file of a known model: where rembg itself looks first, then wherever it lies."""
    for place in (f"models/{name}/{name}{_ENDING}", f"{name}{_ENDING}"):
        if place in files:
            return files[place]
    for stem in (name, *KNOWN[name]):
        for place, path in files.items():
            if _stem(place) == stem:
                return path
    return None


def _own(files: Mapping[str, Path]) -> Mapping[str, Path]:
    """The files that are none of a known model's, by their stems; of several the first."""
    known = {stem for name, others in KNOWN.items() for stem in (name, *others)}
    own: dict[str, Path] = {}
    for place, path in files.items():
        if _stem(place) not in known:
            own.setdefault(_stem(place), path)
    return own


def _stem(place: str) -> str:
    return PurePosixPath(place).stem
