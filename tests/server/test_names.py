"""What there is by name."""

from pathlib import Path
from types import MappingProxyType

from pipelines.pictures.upscale import Upscaler
from server.names import names
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
