"""A checkpoint as diffusers keeps it: a folder of parts, each with its configuration.

Of the configurations only what no shape tells is read; nothing that they name is imported.
"""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import torch

from ..errors import CorruptCheckpoint, UnsupportedCheckpoint
from ..identify import Folder, read_folder
from .base import Prediction
from .filling import Source
from .schedule import Schedule
from .sharing import Stock
from .sidecar import Section, activation
from .text_layout import TextLayout
from .unet_layout import UnetLayout
from .weights import Weights, open_weights

CLASSES: Mapping[str, str] = {"unet": "UNet2DConditionModel", "vae": "AutoencoderKL"}
PREDICTIONS: Mapping[str, Prediction] = {"epsilon": "epsilon", "v_prediction": "v"}
#: the one course of betas that Stable Diffusion was trained with
BETAS = "scaled_linear"


@contextmanager
def open_folder(path: Path, stock: Stock | None = None) -> Iterator[Weights]:
    """Open a folder for reading, its parts' tensors named `unet.`, `vae.`, `text_encoder.` first.

    Raises CheckpointNotFound, CorruptCheckpoint and UnsupportedCheckpoint.
    """
    folder = read_folder(path)
    with ExitStack() as stack:
        files = {
            file: stack.enter_context(open_weights(file, allow_pickle=False))
            for file in sorted(set(folder.files.values()))
        }

        def found(name: str) -> tuple[Weights, str]:
            weights, bare = files[folder.files[name]], name.partition(".")[2]
            if weights.header.tensors.get(bare) != folder.header.tensors[name]:
                raise CorruptCheckpoint(weights.path, "the file was replaced while it was read")
            return weights, bare

        def read(name: str) -> torch.Tensor:
            weights, bare = found(name)
            return weights.read(bare)

        def locate(name: str) -> tuple[Source, int]:
            weights, bare = found(name)
            assert weights.locate is not None, "a folder's parts are safetensors"
            return weights.locate(bare)

        yield Weights(path=path, header=folder.header, read=read, locate=locate, stock=stock)


def section(folder: Folder, part: str) -> Section:
    """A part's configuration; empty where it has none. Raises UnsupportedCheckpoint."""
    found = Section(path=folder.path / part, name="config", values=folder.configs.get(part, {}))
    named = found.values.get("_class_name")
    if named is not None and named != CLASSES.get(part, named):
        raise UnsupportedCheckpoint(found.path, f"a {named!r}; supported: {CLASSES[part]}")
    return found


def unet(folder: Folder, detected: UnetLayout) -> UnetLayout:
    """Apply the UNet's configuration. Raises CorruptCheckpoint and UnsupportedCheckpoint."""
    said = section(folder, "unet")
    # diffusers' misnomer: it counts heads
    counted = said.values.get("attention_head_dim")
    if counted is None:
        return detected
    if not isinstance(counted, list):
        counts = (said.whole("attention_head_dim", 1),) * len(detected.channels)
    else:
        counts = said.wholes("attention_head_dim") or ()
    if len(counts) != len(detected.channels):
        raise CorruptCheckpoint(said.path, f"heads for {len(counts)} levels of another number")
    return replace(detected, heads=counts)


def heads(folder: Folder, part: str) -> int | None:
    """Read how many heads a text encoder has. Raises CorruptCheckpoint."""
    said = section(folder, part)
    return said.whole("num_attention_heads", 1) if "num_attention_heads" in said.values else None


def text(folder: Folder, part: str, detected: TextLayout) -> TextLayout:
    """Apply a text encoder's configuration. Raises UnsupportedCheckpoint."""
    return replace(detected, activation=activation(section(folder, part), detected.activation))


def prediction(folder: Folder, detected: Prediction | None) -> Prediction | None:
    """Read what the UNet predicts. Raises UnsupportedCheckpoint."""
    said = section(folder, "scheduler")
    value = said.values.get("prediction_type")
    if value is None:
        return detected
    if value not in PREDICTIONS:
        raise UnsupportedCheckpoint(
            said.path, f"prediction_type {value!r}; supported: {', '.join(PREDICTIONS)}"
        )
    return PREDICTIONS[value]


def latent_scale(folder: Folder, usual: float) -> float:
    """Read by how much latents are scaled. Raises CorruptCheckpoint and UnsupportedCheckpoint."""
    return section(folder, "vae").number("scaling_factor", usual)


def schedule(folder: Folder, detected: Schedule) -> Schedule:
    """Apply the scheduler's configuration. Raises CorruptCheckpoint and UnsupportedCheckpoint."""
    said = section(folder, "scheduler")
    if (betas := said.values.get("beta_schedule", BETAS)) != BETAS:
        raise UnsupportedCheckpoint(said.path, f"beta_schedule {betas!r}; supported: {BETAS}")
    return replace(
        detected,
        start=said.number("beta_start", detected.start),
        end=said.number("beta_end", detected.end),
        timesteps=said.whole("num_train_timesteps", detected.timesteps),
        zero_terminal_snr=said.values.get("rescale_betas_zero_snr") is True
        or detected.zero_terminal_snr,
    )
