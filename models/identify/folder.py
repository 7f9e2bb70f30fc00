"""A model that is a folder: diffusers' layout, or one LDM file in a folder of its own; torch-free.

Facts: https://huggingface.co/docs/diffusers/using-diffusers/other-formats.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..errors import CheckpointNotFound, CorruptCheckpoint, UnsupportedCheckpoint
from ..header import Header, TensorEntry, read_header
from .identifying import PREDICTIONS, identify
from .kind import Kind

INDEX = "model_index.json"
#: the parts whose weights are read, and what their files may be called
PARTS: Mapping[str, str] = {
    "unet": "diffusion_pytorch_model",
    "transformer": "diffusion_pytorch_model",
    "vae": "diffusion_pytorch_model",
    "text_encoder": "model",
    "text_encoder_2": "model",
    "text_encoder_3": "model",
}
#: endings of such files, the wanted one first
ENDINGS = (".safetensors", ".fp16.safetensors")
SHARDS = (".safetensors.index.json", ".safetensors.index.fp16.json")
LIBRARIES = ("diffusers", "transformers", "stable_diffusion", None)
CUSTOM = "names code of its own, which is never run"
MAX_JSON_BYTES = 16 << 20
MAX_SHARDS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Folder:
    """A folder's parts as one header, each name beginning with its part's (`unet.`, `vae.`).

    `files` says in which file a name's tensor is, `name` there without its part's prefix; the
    entries' positions are those in that file. `configs` holds each part's config.json.
    """

    path: Path
    header: Header
    files: Mapping[str, Path]
    configs: Mapping[str, Mapping[str, Any]]


def identify_folder(path: Path) -> Kind:
    """Tell what a folder holds, from its JSON files and the headers of its weights.

    Raises CheckpointNotFound, CorruptCheckpoint, and UnsupportedCheckpoint for a folder that asks
    for code of its own, or has pickles alone.
    """
    if not (path / INDEX).is_file():
        return identify(read_header(_lone_file(path)))
    folder = read_folder(path)
    found = identify(folder.header)
    schedule = folder.configs.get("scheduler", {})
    said = schedule.get("prediction_type")
    if found.family is not None and isinstance(said, str):
        found = replace(found, prediction=PREDICTIONS.get(said, found.prediction))
        if said not in PREDICTIONS and found.reason is None:
            found = replace(found, reason=f"predicts {said!r}; supported: epsilon, v_prediction")
    if schedule.get("rescale_betas_zero_snr") is True:
        found = replace(found, zero_snr=True)
    return found


def read_folder(path: Path) -> Folder:
    """Read the headers of a folder in diffusers' layout.

    Raises CheckpointNotFound, CorruptCheckpoint and UnsupportedCheckpoint as `identify_folder`.
    """
    index = _json(path / INDEX)
    _refuse_code(path / INDEX, index)
    configs: dict[str, Mapping[str, Any]] = {}
    tensors: dict[str, TensorEntry] = {}
    files: dict[str, Path] = {}
    for part in index:
        if part.startswith("_") or not part.isidentifier():
            continue
        for name in ("config.json", "scheduler_config.json"):
            if (path / part / name).is_file():
                configs[part] = _json(path / part / name)
                _refuse_code(path / part / name, configs[part])
        if part in PARTS and index[part] not in (None, [None, None]):
            for file in _weights(path / part, PARTS[part]):
                entries = read_header(file).tensors
                tensors |= {f"{part}.{name}": entry for name, entry in entries.items()}
                files |= {f"{part}.{name}": file for name in entries}
    return Folder(
        path=path, header=Header(tensors=tensors, metadata={}), files=files, configs=configs
    )


def _lone_file(path: Path) -> Path:
    if not path.is_dir():
        raise CheckpointNotFound(path, "no such folder")
    found = sorted(path.glob("*.safetensors"))
    if len(found) != 1:
        raise UnsupportedCheckpoint(
            path, f"no {INDEX} in it, and {len(found)} .safetensors files instead of one"
        )
    return found[0]


def _weights(folder: Path, stem: str) -> tuple[Path, ...]:
    """A part's files: one, or the shards that its index names, all in the part's own folder."""
    for ending in ENDINGS:
        if (folder / (stem + ending)).is_file():
            return (folder / (stem + ending),)
    for ending in SHARDS:
        index = folder / (stem + ending)
        if index.is_file():
            return _shards(index)
    if any(folder.glob("*.bin")):
        raise UnsupportedCheckpoint(folder, "its weights are pickles, not safetensors")
    raise CorruptCheckpoint(folder, f"holds no {stem}.safetensors")


def _shards(index: Path) -> tuple[Path, ...]:
    named = _json(index).get("weight_map")
    names = set(map(str, named.values())) if isinstance(named, dict) else set()
    if not 0 < len(names) <= MAX_SHARDS:
        raise CorruptCheckpoint(index, f"names {len(names)} files; 1 to {MAX_SHARDS} are read")
    for name in names:
        if Path(name).name != name or not name.endswith(ENDINGS[0]):
            raise CorruptCheckpoint(index, f"names {name[:80]!r}, no file beside it")
    return tuple(index.parent / name for name in sorted(names))


def _refuse_code(path: Path, config: Mapping[str, Any]) -> None:
    if "auto_map" in config:
        raise UnsupportedCheckpoint(path, f"{CUSTOM} ('auto_map')")
    if path.name != INDEX:
        return
    if not isinstance(config.get("_class_name"), str):
        raise UnsupportedCheckpoint(path, f"{CUSTOM} ('_class_name')")
    for part, value in config.items():
        if isinstance(value, list) and (len(value) != 2 or value[0] not in LIBRARIES):
            raise UnsupportedCheckpoint(path, f"{CUSTOM} ({part[:80]!r})")


def _json(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_JSON_BYTES + 1)
        if len(content) > MAX_JSON_BYTES:
            raise CorruptCheckpoint(path, f"longer than {MAX_JSON_BYTES} bytes")
        values = json.loads(content)
    except FileNotFoundError as error:
        raise CheckpointNotFound(path, "no such file") from error
    except OSError as error:
        raise CorruptCheckpoint(path, f"cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise CorruptCheckpoint(path, "cannot be read as JSON") from error
    if not isinstance(values, dict):
        raise CorruptCheckpoint(path, "is not a table")
    return values
