"""What there is by name."""

from pathlib import Path
from types import MappingProxyType

from server.names import names

from .fakes import CHECKPOINT, FakeCatalog, library

NAMES = MappingProxyType(
    {
        "upscalers": ("None",),
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
    assert tuple(there["upscalers"])[:3] == ("None", "Lanczos", "Nearest")
    assert "DPM++ 2M SDE Heun" in there["samplers"]
    assert tuple(there["schedulers"])[:2] == ("Automatic", "Uniform")
