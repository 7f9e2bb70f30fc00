"""A reference checkpoint, and changed copies of it."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from models.catalog import CheckpointInfo
from models.families import Checkpoint, load
from models.families.sharing import Stock
from models.precision import Formats

from ..files import CHECKPOINTS, sidecar_text

State = dict[str, Tensor]


def info_of(path: Path) -> CheckpointInfo:
    config = path.with_suffix(".yaml")
    return CheckpointInfo(
        path=path,
        name=path.name,
        model_name=path.stem,
        config=config if config.is_file() else None,
    )


def load_path(
    path: Path,
    dtype: torch.dtype = torch.float32,
    *,
    channels_last: bool = False,
    allow_pickle: bool = False,
    stock: Stock | None = None,
) -> Checkpoint:
    return load(
        info_of(path),
        device=torch.device("cpu"),
        formats=Formats(unet=dtype, text=dtype, channels_last=channels_last),
        allow_pickle=allow_pickle,
        stock=stock,
    )


@cache
def reference(name: str) -> Checkpoint:
    """Load a reference checkpoint, once for all tests of a process."""
    return load_path(CHECKPOINTS / f"{name}.safetensors")


def changed(folder: Path, change: Callable[[State], State], **yaml_changes: str) -> Path:
    """Write tiny-vpred with its tensors changed; `old="new"` pairs change the sidecar's text."""
    path = folder / "changed.safetensors"
    save_file(change(load_file(CHECKPOINTS / "tiny-vpred.safetensors")), path)
    path.with_suffix(".yaml").write_text(sidecar_text("tiny-vpred", yaml_changes))
    return path
