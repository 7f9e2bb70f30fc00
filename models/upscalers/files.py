"""Which files of upscalers there are, and what clients call them; torch-free."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from ..tool_files import ToolFile, ToolFiles

KINDS = ("ESRGAN", "RealESRGAN", "BSRGAN", "DAT", "ScuNET", "SwinIR")
"""The folders of upscalers, as `tool_files.ENDINGS` names them; of one name the first wins."""

NOT_SUPPORTED: Mapping[str, str] = MappingProxyType(
    {"LDSR": "LDSR paints with a diffusion model of its own, which is not supported"}
)
"""Folders of upscalers that cannot be run, and why."""

DEFAULT_SCALE = 4.0

PUBLISHED: Mapping[str, tuple[str, float]] = MappingProxyType(
    {
        "ESRGAN": ("ESRGAN_4x", 4.0),
        "ESRGAN_4x": ("ESRGAN_4x", 4.0),
        "RealESRGAN_x4plus": ("R-ESRGAN 4x+", 4.0),
        "RealESRGAN_x4plus_anime_6B": ("R-ESRGAN 4x+ Anime6B", 4.0),
        "RealESRGAN_x2plus": ("R-ESRGAN 2x+", 2.0),
        "realesr-general-x4v3": ("R-ESRGAN General 4xV3", 4.0),
        "realesr-general-wdn-x4v3": ("R-ESRGAN General WDN 4xV3", 4.0),
        "realesr-animevideov3": ("R-ESRGAN AnimeVideo", 4.0),
        "DAT_x2": ("DAT x2", 2.0),
        "DAT_x3": ("DAT x3", 3.0),
        "DAT_x4": ("DAT x4", 4.0),
        "scunet_color_real_gan": ("ScuNET GAN", 4.0),
        "ScuNET": ("ScuNET GAN", 4.0),
        "scunet_color_real_psnr": ("ScuNET PSNR", 4.0),
        "003_realSR_BSRGAN_DFOWMFC_s64w8_SwinIR-L_x4_GAN": ("SwinIR 4x", 4.0),
        "SwinIR_4x": ("SwinIR 4x", 4.0),
    }
)
"""Names on the wire, and scales there, of files as they are published and as a webui keeps them."""

_SCALES = ("1", "2", "3", "4", "8", "16")
_IN_NAME = re.compile(r"(?<![0-9a-z])(?:([0-9]+)x|x([0-9]+))(?![0-9])", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class UpscalerFile:
    """A file by its name on the wire, and the folder it is of.

    `scale` is what the names say; what the network does is known when it is opened.
    """

    name: str
    path: Path
    scale: float
    kind: str


def find_upscalers(tools: Mapping[str, ToolFiles]) -> tuple[UpscalerFile, ...]:
    """List the upscalers of the folders as they are now, in the order of the wire.

    That is by name, whatever its case. `tools` are those of a `Library`. A published file has the
    name that clients know it by, any other its stem; of several with one name the first is meant.
    """
    found: dict[str, UpscalerFile] = {}
    for kind in KINDS:
        for file in tools[kind].files() if kind in tools else ():
            upscaler = _upscaler(kind, file)
            found.setdefault(upscaler.name, upscaler)
    return tuple(sorted(found.values(), key=lambda each: (each.name.lower(), each.name)))


def find_upscaler(files: Sequence[UpscalerFile], name: str) -> UpscalerFile | None:
    """The file of that name; else the one with that stem, as webuis list some published files."""
    named = (file for file in files if file.name == name)
    return next(named, None) or next((file for file in files if file.path.stem == name), None)


def _upscaler(kind: str, file: ToolFile) -> UpscalerFile:
    name, scale = PUBLISHED.get(file.stem) or (file.stem, _scale(file.stem))
    return UpscalerFile(name=name, path=file.path, scale=scale, kind=kind)


def _scale(stem: str) -> float:
    """The scale that a name tells, such as 2 for `2x-Ours` and `ours_x2plus`; else the default."""
    told = (before or after for before, after in _IN_NAME.findall(stem))
    return next((float(number) for number in told if number in _SCALES), DEFAULT_SCALE)
