"""What there is by name."""

from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import pytest

from models.tool_files import ToolFiles
from pipelines.pictures.upscale import Upscaler
from server.names import names, place_of, why_no_restorer
from server.tools import Tools

from .fakes import CHECKPOINT, FakeCatalog, library

NAMES = MappingProxyType(
    {
        "upscalers": ("None",),
        "restorers": ("CodeFormer",),
        "samplers": ("DPM++ 2M", "Euler"),
        "schedulers": ("Automatic", "Karras"),
        "checkpoints": ("one [1111111111]",),
        "vaes": (),
    }
)


def test_everything_is_named_as_clients_name_it(tmp_path: Path) -> None:
    there = names(library(FakeCatalog(CHECKPOINT), tmp_path))
    assert set(there) == set(NAMES)
    assert there["checkpoints"] == ("some.safetensors",)
    assert there["upscalers"] == ("None", "Lanczos", "Nearest")
    assert there["restorers"] == ("CodeFormer", "GFPGAN")
    assert "DPM++ 2M SDE Heun" in there["samplers"]
    assert tuple(there["schedulers"])[:2] == ("Automatic", "Uniform")


def test_upscalers_are_those_that_are_here_now(tmp_path: Path) -> None:
    upscalers: dict[str, Upscaler] = {"None": "None"}
    tools = Tools(upscalers=upscalers, restorers={})
    files = library(FakeCatalog(CHECKPOINT), tmp_path)
    assert names(files, tools)["upscalers"] == ("None",)
    upscalers["4x-Sharp"] = "Lanczos"
    assert names(files, tools)["upscalers"] == ("None", "4x-Sharp")


@pytest.mark.parametrize(
    ("name", "file", "folder"),
    [
        ("ESRGAN_4x", "ESRGAN", "ESRGAN"),
        ("R-ESRGAN 4x+ Anime6B", "RealESRGAN_x4plus_anime_6B", "RealESRGAN"),
        ("R-ESRGAN General 4xV3", "realesr-general-x4v3", "RealESRGAN"),
        ("DAT x3", "DAT_x3", "DAT"),
        ("ScuNET PSNR", "scunet_color_real_psnr", "ScuNET"),
        ("SwinIR 4x", "003_realSR_BSRGAN_DFOWMFC_s64w8_SwinIR-L_x4_GAN", "SwinIR"),
    ],
)
def test_a_published_upscaler_has_a_place(
    tmp_path: Path, name: str, file: str, folder: str
) -> None:
    kinds = ("ESRGAN", "RealESRGAN", "DAT", "ScuNET", "SwinIR")
    tools = {kind: ToolFiles(kind, (tmp_path / kind,)) for kind in kinds}
    files = replace(library(FakeCatalog(CHECKPOINT), tmp_path), tools=tools)
    assert place_of(name, files) == f"{name} is the file {file}.pth in {tmp_path / folder}"


def test_no_place_is_made_up(tmp_path: Path) -> None:
    files = library(FakeCatalog(CHECKPOINT), tmp_path)
    assert place_of("4x-Mine", files) is None
    assert place_of("ESRGAN_mine", files) is None
    assert place_of("DAT x4", files) is None
    assert "not supported" in str(place_of("LDSR", files))


def test_a_restorer_that_is_not_here_is_told_with_the_place_of_its_file(tmp_path: Path) -> None:
    folder = tmp_path / "GFPGAN"
    tools = {"GFPGAN": ToolFiles("GFPGAN", (folder,))}
    files = replace(library(FakeCatalog(CHECKPOINT), tmp_path), tools=tools)
    told = why_no_restorer("GFPGAN", files)
    assert told == f"GFPGAN: GFPGANv1.4.pth is not installed; it belongs into the folder {folder}"
    assert why_no_restorer("CodeFormer", files) == "CodeFormer is not installed"
    told = why_no_restorer("Nose", files)
    assert told == "no face restorer 'Nose'; there are CodeFormer, GFPGAN"
