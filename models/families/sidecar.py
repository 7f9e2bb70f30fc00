"""The `.yaml` beside a checkpoint: what it says wins over what the header shows."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from ..errors import CorruptCheckpoint, UnsupportedCheckpoint
from .base import Prediction
from .schedule import Schedule
from .shapes import USUAL_GROUPS
from .text_layout import TextLayout
from .unet_layout import Depths, UnetLayout
from .vae_layout import VaeLayout

MAX_BYTES = 1 << 20
PREDICTIONS: Mapping[str, Prediction] = {"eps": "epsilon", "v": "v"}
#: the same in the words of SDXL's code
SCALINGS: Mapping[str, Prediction] = {"EpsScaling": "epsilon", "VScaling": "v"}
ACTIVATIONS = ("quick_gelu", "gelu")
HIGHEST = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A table of the yaml, and how to ask it for values of a kind. Raises CorruptCheckpoint."""

    path: Path
    name: str
    values: Mapping[str, Any]

    def section(self, *names: str) -> "Section":
        """Go down; a table that is not there counts as empty."""
        here = self
        for name in names:
            inner = here.values.get(name) or {}
            if not isinstance(inner, dict):
                raise here.bad(name, inner, "a table")
            here = Section(path=self.path, name=name, values=inner)
        return here

    def whole(self, key: str, default: int) -> int:
        """Read a positive whole number."""
        value = self.values.get(key, default)
        if type(value) is not int or not 0 < value <= HIGHEST:
            raise self.bad(key, value, f"a whole number from 1 to {HIGHEST}")
        return value

    def number(self, key: str, default: float) -> float:
        """Read a positive number."""
        value = self.values.get(key, default)
        if type(value) not in (int, float) or not 0 < value < HIGHEST:
            raise self.bad(key, value, "a positive number")
        return float(value)

    def wholes(self, key: str) -> tuple[int, ...] | None:
        """Read a list of positive whole numbers, or None where the key is absent."""
        value = self.values.get(key)
        if value is None:
            return None
        if not isinstance(value, list) or not 0 < len(value) <= 16:
            raise self.bad(key, value, "a list of 1 to 16 whole numbers")
        if not all(type(item) is int and 0 < item <= HIGHEST for item in value):
            raise self.bad(key, value, f"whole numbers from 1 to {HIGHEST}")
        return tuple(value)

    def bad(self, key: str, value: object, wanted: str) -> CorruptCheckpoint:
        """The error that names the value and what is wanted."""
        return CorruptCheckpoint(self.path, f"{self.name}.{key} is {value!r}, not {wanted}")


def read_sidecar(path: Path) -> Section:
    """Read the yaml's model parameters. Raises CorruptCheckpoint."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise CorruptCheckpoint(path, f"longer than {MAX_BYTES} bytes")
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError, RecursionError) as error:
        raise CorruptCheckpoint(path, "cannot be read as yaml") from error
    if not isinstance(values, dict):
        raise CorruptCheckpoint(path, "is not a table")
    return Section(path=path, name="yaml", values=values).section("model", "params")


def prediction(params: Section, detected: Prediction | None) -> Prediction | None:
    """Read what the UNet predicts, in LDM's words or SDXL's. Raises UnsupportedCheckpoint."""
    scaling = params.section("denoiser_config", "params", "scaling_config").values.get("target")
    if isinstance(scaling, str) and (named := scaling.rpartition(".")[2]) in SCALINGS:
        return SCALINGS[named]
    value = params.values.get("parameterization")
    if value is None:
        return detected
    if value not in PREDICTIONS:
        raise UnsupportedCheckpoint(
            params.path, f"parameterization {value!r}; supported: {', '.join(PREDICTIONS)}"
        )
    return PREDICTIONS[value]


def schedule(params: Section, detected: Schedule) -> Schedule:
    """Apply the yaml to the noise schedule. Raises CorruptCheckpoint."""
    return replace(
        detected,
        start=params.number("linear_start", detected.start),
        end=params.number("linear_end", detected.end),
        timesteps=params.whole("timesteps", detected.timesteps),
    )


def unet(params: Section, detected: UnetLayout) -> UnetLayout:
    """Apply the yaml to the UNet's dimensions. Raises CorruptCheckpoint."""
    said = params.section("unet_config", "params")
    channels, attention = detected.channels, detected.attention
    if (mult := said.wholes("channel_mult")) is not None:
        width = said.whole("model_channels", channels[0])
        channels = tuple(width * factor for factor in mult)
    if (resolutions := said.wholes("attention_resolutions")) is not None:
        attention = tuple(1 << level in resolutions for level in range(len(channels)))
    heads = detected.heads
    if "num_heads" in said.values or len(heads) != len(channels):
        heads = (said.whole("num_heads", heads[0]),) * len(channels)
    if said.values.get("num_head_channels", -1) != -1:
        head_width = said.whole("num_head_channels", 1)
        heads = tuple(max(1, width // head_width) for width in channels)
    layers = said.whole("num_res_blocks", detected.layers)
    return replace(
        detected,
        in_channels=said.whole("in_channels", detected.in_channels),
        out_channels=said.whole("out_channels", detected.out_channels),
        channels=channels,
        layers=layers,
        down=_depths(detected.down, attention, layers),
        up=_depths(detected.up, attention, layers + 1),
        context_width=said.whole("context_dim", detected.context_width),
        heads=heads,
        groups=_groups(said, channels),
    )


def _groups(said: Section, channels: Sequence[int]) -> int:
    """Read how many groups the norms have, LDM's 32 where nothing is said."""
    groups = said.whole("num_groups", USUAL_GROUPS)
    if "num_groups" in said.values and any(width % groups for width in channels):
        raise said.bad("num_groups", groups, f"a divisor of each width in {list(channels)}")
    return groups


def _depths(detected: Depths, attention: Sequence[bool], layers: int) -> Depths:
    """Each layer's depth of transformers: as detected, where that is what the yaml says too."""
    depths: list[tuple[int, ...]] = []
    for level, has in enumerate(attention):
        found = detected[level] if level < len(detected) else ()
        same = any(found) == has and len(found) == layers
        depths.append(found if same else (int(has),) * layers)
    return tuple(depths)


def vae(params: Section, detected: VaeLayout) -> VaeLayout:
    """Apply the yaml to the autoencoder's dimensions. Raises CorruptCheckpoint."""
    said = params.section("first_stage_config", "params", "ddconfig")
    channels = detected.channels
    if (mult := said.wholes("ch_mult")) is not None:
        width = said.whole("ch", channels[0])
        channels = tuple(width * factor for factor in mult)
    return VaeLayout(
        channels=channels,
        layers=said.whole("num_res_blocks", detected.layers),
        latent_channels=said.whole("z_channels", detected.latent_channels),
        groups=_groups(said, channels),
    )


def text(params: Section) -> TextLayout | None:
    """Read the text encoder's folder, named relative to the yaml; None where none is named.

    A model hub's name is not followed: it means the text encoder that all SD1.x models have.
    Raises CorruptCheckpoint and UnsupportedCheckpoint.
    """
    version = params.section("cond_stage_config", "params").values.get("version")
    if not isinstance(version, str):
        return None
    folder = params.path.parent / version
    if not (folder / "config.json").is_file():
        if version.startswith(("/", ".")):
            raise UnsupportedCheckpoint(params.path, f"no config.json in {version!r}")
        return None
    return _text_config(folder / "config.json")


def activation(config: Section, usual: str | None) -> str | None:
    """Read a text encoder's activation. Raises UnsupportedCheckpoint."""
    value = config.values.get("hidden_act", usual)
    if value is not None and value not in ACTIVATIONS:
        raise UnsupportedCheckpoint(
            config.path, f"activation {value!r}; supported: {', '.join(ACTIVATIONS)}"
        )
    return None if value is None else str(value)


def _text_config(path: Path) -> TextLayout:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CorruptCheckpoint(path, "cannot be read as JSON") from error
    if not isinstance(values, dict):
        raise CorruptCheckpoint(path, "is not a table")
    config = Section(path=path, name="config", values=values)
    config = config.section("text_config") if "text_config" in values else config
    width = config.whole("hidden_size", 768)
    return TextLayout(
        vocabulary=config.whole("vocab_size", 49408),
        positions=config.whole("max_position_embeddings", 77),
        width=width,
        inner_width=config.whole("intermediate_size", 3072),
        layers=config.whole("num_hidden_layers", 12),
        heads=config.whole("num_attention_heads", 12),
        activation=activation(config, "quick_gelu"),
    )
