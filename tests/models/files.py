"""Checkpoint files made for a test."""

import json
from collections.abc import Mapping
from pathlib import Path

REFERENCE = Path(__file__).parent.parent / "data" / "reference-models"
CHECKPOINTS = REFERENCE / "Stable-diffusion"
GOLDENS = Path(__file__).parent.parent / "data" / "goldens"


def raw_safetensors(header: object, body: bytes = b"") -> bytes:
    """Put any JSON in a safetensors file's header, true to the format or not."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + body


def tensor(dtype: str, shape: list[int], begin: int, end: int) -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def one_tensor(path: Path, *, name: str = "weight", fill: int = 0) -> Path:
    """Write a sound file of one small tensor; `fill` makes files differ."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(raw_safetensors({name: tensor("F32", [4], 0, 16)}, bytes([fill]) * 16))
    return path


def sidecar_text(name: str, changes: Mapping[str, str] | None = None) -> str:
    """Give a reference sidecar whose text encoder's folder is found from anywhere."""
    text = (CHECKPOINTS / f"{name}.yaml").read_text()
    text = text.replace("../tiny-clip", str(REFERENCE / "tiny-clip"))
    for old, new in (changes or {}).items():
        assert old in text
        text = text.replace(old, new)
    return text
