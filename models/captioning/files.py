"""The files of the models that put pictures into words, in the folders of a webui; torch-free."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import CorruptCheckpoint
from ..folders import Stamp

BLIP = "BLIP"
TAGGER = "torch_deepdanbooru"
SELECTED_TAGS, PLAIN_TAGS = "selected_tags.csv", "tags.txt"
#: bytes of a table of words or numbers; BERT's has some 700 000
MOST_BYTES = 1 << 24

_PICKLE = "pytorch_model.bin"


class WeightsMissing(LookupError):
    """A model was asked for whose files are not here; the message says which go where."""

    def __init__(self, folder: str, wanted: Sequence[str]) -> None:
        super().__init__(
            f"its weights are not installed; missing in the folder {folder!r} of the models folder:"
            f" {', '.join(wanted)}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class BlipFiles:
    """A captioning model as transformers saves it; `stamps` tell this state of it from another."""

    config: Path
    weights: Path
    vocabulary: Path
    allow_pickle: bool
    stamps: tuple[Stamp | None, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TaggerFiles:
    """A tagger and the names of what it scores; `stamps` tell this state of it from another."""

    model: Path
    tags: Path
    stamps: tuple[Stamp | None, ...]


def find_blip(models: Path, *, allow_pickle: bool) -> BlipFiles:
    """The captioning model of a models folder. Raises `WeightsMissing`."""
    folder = models / BLIP
    config = _first(folder, "config.json")
    weights = _first(folder, "model.safetensors", *((_PICKLE,) if allow_pickle else ()))
    vocabulary = _first(folder, "tokenizer.json", "vocab.txt")
    if config is None or weights is None or vocabulary is None:
        refused = _first(folder, _PICKLE) is not None and not allow_pickle
        only = f" ({_PICKLE} is read only with --allow-pickle)" if refused else ""
        found = {
            "config.json": config,
            f"model.safetensors{only}": weights,
            "tokenizer.json or vocab.txt": vocabulary,
        }
        raise WeightsMissing(BLIP, [name for name, path in found.items() if path is None])
    return BlipFiles(
        config=config,
        weights=weights,
        vocabulary=vocabulary,
        allow_pickle=allow_pickle,
        stamps=_stamps(config, weights, vocabulary),
    )


def find_tagger(models: Path) -> TaggerFiles:
    """The tagger of a models folder. Raises `WeightsMissing`."""
    folder = models / TAGGER
    model = _first(folder, "model.onnx")
    tags = _first(folder, SELECTED_TAGS, PLAIN_TAGS)
    if model is None or tags is None:
        found = {"model.onnx": model, f"{SELECTED_TAGS} or {PLAIN_TAGS}": tags}
        raise WeightsMissing(TAGGER, [name for name, path in found.items() if path is None])
    return TaggerFiles(model=model, tags=tags, stamps=_stamps(model, tags))


def read_text(path: Path) -> str:
    """A small text file in UTF-8. Raises CorruptCheckpoint."""
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
        if len(content) > MOST_BYTES:
            raise CorruptCheckpoint(path, f"longer than {MOST_BYTES} bytes")
        return content.decode("utf-8-sig")
    except OSError as error:
        raise CorruptCheckpoint(path, f"cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise CorruptCheckpoint(path, f"not a text in UTF-8 ({error.reason})") from error


def read_json(path: Path) -> Mapping[str, Any]:
    """A small JSON object. Raises CorruptCheckpoint."""
    try:
        content = json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise CorruptCheckpoint(path, f"not JSON ({error})") from error
    if not isinstance(content, dict):
        raise CorruptCheckpoint(path, "not a JSON object")
    return content


def _first(folder: Path, *names: str) -> Path | None:
    return next((path for name in names if (path := folder / name).is_file()), None)


def _stamps(*paths: Path) -> tuple[Stamp | None, ...]:
    return tuple(Stamp.of(path) for path in paths)
