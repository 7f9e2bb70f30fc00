"""A checkpoint of a true model's size, random weights: `python -m tests.bench.full_size PATH`.

No weights of such a model are at hand where tests run, but its shapes are: 860 million parameters
in SD1.5's UNet, 84 in its VAE, 123 in its text encoder, in one file laid out as v1-5-pruned-emaonly
is; SDXL's as sd_xl_base_1.0 is.
"""

import argparse
import json
import math
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.header import Header, TensorEntry
from tests.models.families.ldm_layout import sd15_header
from tests.models.families.tiny_xl import TRUE, header

MODELS: Mapping[str, Callable[[str], Header]] = {
    "sd15": sd15_header,
    "sdxl": lambda dtype: header(TRUE["sdxl"], dtype),
}
# Element types that the file may be written in.
STORED: Mapping[str, str] = {"F16": "<f2", "F32": "<f4", "I64": "<i8"}
ALIGNMENT = 8
NORM_SPREAD = 0.1
BIAS_SPREAD = 0.05
# By the end of a name: what its weights are scaled by, where 1, which keeps an input's variance, is
# not right. What the text encoder's layers add is small, so that a prompt's words tell in the
# context. Latents in which nothing was denoised come to the decoder some 80 times too strong, and
# would drown what its layers add.
GAINS: Mapping[str, float] = {
    "token_embedding.weight": 1.0,
    "position_embedding.weight": 0.5,
    "self_attn.out_proj.weight": 0.5,
    "mlp.fc2.weight": 0.5,
    "post_quant_conv.weight": 1 / 80,
}


def write_full_size(path: Path, *, seed: int = 0, dtype: str = "F16", model: str = "sd15") -> int:
    """Write the checkpoint tensor by tensor, the same bytes for the same seed; returns their count.

    `dtype` is how the weights are stored, `model` one of MODELS: in F16 SD1.5 takes 2.1 GB and SDXL
    6.9 GB, in F32 twice that.
    """
    tensors = sorted(MODELS[model](dtype).tensors.items(), key=_by_alignment)
    rng = np.random.default_rng(seed)
    with path.open("wb") as file:
        file.write(_head(tensors))
        for name, entry in tensors:
            file.write(_values(name, entry, rng).astype(STORED[entry.dtype]).data)
        return file.tell()


def parameters(prefix: str, model: str = "sd15") -> int:
    """How many weights one part of the checkpoint has."""
    tensors = MODELS[model]("F16").tensors.items()
    return sum(
        math.prod(entry.shape)
        for name, entry in tensors
        if name.startswith(prefix) and entry.dtype == "F16"
    )


def _by_alignment(item: tuple[str, TensorEntry]) -> int:
    """The widest elements first, so that each tensor begins at a multiple of its elements' size."""
    return -np.dtype(STORED[item[1].dtype]).itemsize


def _head(tensors: list[tuple[str, TensorEntry]]) -> bytes:
    """The file's beginning, as https://github.com/huggingface/safetensors ("Format") has it."""
    fields: dict[str, object] = {}
    position = 0
    for name, entry in tensors:
        end = position + math.prod(entry.shape) * np.dtype(STORED[entry.dtype]).itemsize
        offsets = [position, end]
        fields[name] = {"dtype": entry.dtype, "shape": entry.shape, "data_offsets": offsets}
        position = end
    text = json.dumps(fields).encode()
    text += b" " * (-len(text) % ALIGNMENT)
    return len(text).to_bytes(8, "little") + text


def _values(name: str, entry: TensorEntry, rng: np.random.Generator) -> NDArray[np.generic]:
    """Normal numbers that keep variance; norms and biases differ a little from 1 and 0.

    A weight put in another's place, a norm's or a bias's too, so changes the picture.
    """
    if entry.dtype == "I64":
        return np.arange(math.prod(entry.shape)).reshape(entry.shape)
    drawn = rng.standard_normal(entry.shape, np.float32)
    if name.endswith(".bias"):
        return drawn * np.float32(BIAS_SPREAD)
    if len(entry.shape) == 1:
        return 1 + drawn * np.float32(NORM_SPREAD)
    gain = next((gain for end, gain in GAINS.items() if name.endswith(end)), 1.0)
    inputs = 1 if "embedding" in name else math.prod(entry.shape[1:])
    return drawn * np.float32(gain / math.sqrt(inputs))


def main() -> None:
    """Write one where the command line says."""
    parser = argparse.ArgumentParser(description="Write a checkpoint of random weights.")
    parser.add_argument("path", type=Path, help="the .safetensors file to write")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--dtype", choices=("F16", "F32"), default="F16")
    parser.add_argument("--model", choices=tuple(MODELS), default="sd15")
    asked = parser.parse_args()
    count = write_full_size(asked.path, seed=asked.seed, dtype=asked.dtype, model=asked.model)
    sys.stdout.write(f"{asked.path}: {count / 1e9:.2f} GB\n")


if __name__ == "__main__":
    main()
