"""The dimensions of a captioning model, checked before anything is built of them; torch-free."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ..errors import CorruptCheckpoint, UnsupportedCheckpoint
from .files import read_json

Limits = Mapping[str, tuple[float, float]]

KIND = "blip"
ARCHITECTURE = "BlipForConditionalGeneration"

#: what each whole number may be; the largest BLIP has 1024 wide vectors in 24 layers
_TEXT: Limits = MappingProxyType(
    {
        "vocab_size": (4, 1 << 20),
        "hidden_size": (1, 8192),
        "encoder_hidden_size": (1, 8192),
        "intermediate_size": (1, 32768),
        "num_hidden_layers": (1, 128),
        "num_attention_heads": (1, 256),
        "max_position_embeddings": (8, 8192),
        "bos_token_id": (0, 1 << 20),
        "pad_token_id": (0, 1 << 20),
        "sep_token_id": (0, 1 << 20),
    }
)
_VISION: Limits = MappingProxyType(
    {
        "hidden_size": (1, 8192),
        "intermediate_size": (1, 32768),
        "num_hidden_layers": (1, 128),
        "num_attention_heads": (1, 256),
        "image_size": (8, 2048),
        "patch_size": (4, 256),
    }
)
_EPSILON = (0.0, 0.1)
_ACTIVATIONS = ("gelu", "gelu_new", "gelu_pytorch_tanh", "quick_gelu", "relu", "silu")
_DEFAULT_VOCABULARY = 30524


def read_config(path: Path) -> Mapping[str, Any]:
    """The `text_config` and `vision_config` of a config.json, with what shapes the model alone.

    What is not named there is BLIP base's. Raises CorruptCheckpoint and UnsupportedCheckpoint.
    """
    content = read_json(path)
    kind, named = content.get("model_type"), content.get("architectures") or [ARCHITECTURE]
    if kind != KIND or named != [ARCHITECTURE]:
        raise UnsupportedCheckpoint(
            path, f"describes {str(named)[:80]} of kind {kind!r:.40}; read is {ARCHITECTURE} alone"
        )
    text = _section(path, content, "text_config", _TEXT)
    vision = _section(path, content, "vision_config", _VISION)
    vocabulary = text.get("vocab_size", _DEFAULT_VOCABULARY)
    for key in (key for key in text if key.endswith("_token_id")):
        if text[key] >= vocabulary:
            raise CorruptCheckpoint(path, f"{key} is {text[key]} of {vocabulary} tokens")
    return {"text_config": text, "vision_config": vision}


def _section(path: Path, content: Mapping[str, Any], name: str, limits: Limits) -> dict[str, Any]:
    given = content.get(name) or {}
    if not isinstance(given, dict):
        raise CorruptCheckpoint(path, f"{name} is no table")
    kept: dict[str, Any] = {}
    for key, (least, most) in limits.items():
        if given.get(key) is None:
            continue
        if type(given[key]) is not int or not least <= given[key] <= most:
            raise _wrong(path, name, key, given[key], f"{least} to {most}")
        kept[key] = given[key]
    epsilon, activation = given.get("layer_norm_eps"), given.get("hidden_act")
    if epsilon is not None:
        if type(epsilon) is not float or not _EPSILON[0] < epsilon <= _EPSILON[1]:
            raise _wrong(path, name, "layer_norm_eps", epsilon, "above 0, up to 0.1")
        kept["layer_norm_eps"] = epsilon
    if activation is not None:
        if activation not in _ACTIVATIONS:
            raise _wrong(path, name, "hidden_act", activation, ", ".join(_ACTIVATIONS))
        kept["hidden_act"] = activation
    return kept


def _wrong(path: Path, section: str, key: str, value: object, allowed: str) -> CorruptCheckpoint:
    return CorruptCheckpoint(path, f"{section}.{key} is {value!r:.40}; allowed: {allowed}")
