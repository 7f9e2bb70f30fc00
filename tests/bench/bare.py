"""The least that a picture takes: a plain loop over a checkpoint's modules, in its own process.

`python -m tests.bench.bare CHECKPOINT DEVICE` reads a request a line and answers each by a line of
JSON. There is no server in it, no engine and no sampler but Euler's; only the modules are ours, as
the server loads them.
"""

import base64
import json
import math
import sys
import time
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models import families
from models.families import Checkpoint
from models.memory import settle
from models.precision import Formats
from tests.models.families.variants import info_of

#: tokens of text in a chunk
CHUNK = 75


def contexts(checkpoint: Checkpoint, texts: tuple[str, str]) -> Tensor:
    """What the UNet is told of the two texts [2,77,D]; they are short and have no syntax."""
    tokenizer = checkpoint.traits.tokenizer
    rows = []
    for text in texts:
        tokens = tokenizer.encode(text)[:CHUNK]
        rows.append([tokenizer.bos, *tokens, *[tokenizer.eos] * (CHUNK + 1 - len(tokens))])
    (encoder,) = checkpoint.encoders
    ids = torch.tensor(rows, device=checkpoint.device)
    return encoder.encode(ids, end=tokenizer.eos).states.to(checkpoint.dtype)


def noise_levels(checkpoint: Checkpoint, steps: int) -> tuple[list[float], list[float]]:
    """Evenly spaced time steps from the last to the first, and their sigmas with a 0 behind."""
    alphas = checkpoint.traits.alphas_cumprod.double().cpu().numpy()
    logs = np.log((1 - alphas) / alphas) / 2
    timesteps = np.linspace(len(alphas) - 1, 0, steps)
    sigmas = np.exp(np.interp(timesteps, np.arange(len(alphas)), logs))
    return timesteps.tolist(), [*sigmas.tolist(), 0.0]


@torch.inference_mode()
def painted(checkpoint: Checkpoint, body: Mapping[str, Any]) -> NDArray[np.uint8]:
    """The picture [H,W,3] of a request: Euler's method with guidance, both halves in a forward."""
    device, dtype = checkpoint.device, checkpoint.dtype
    context = contexts(checkpoint, (body["prompt"], body["negative_prompt"]))
    timesteps, sigmas = noise_levels(checkpoint, body["steps"])
    size = (1, 4, body["height"] // 8, body["width"] // 8)
    noise = torch.randn(size, generator=torch.Generator().manual_seed(body["seed"]))
    x = noise.to(device) * sigmas[0]
    for timestep, (sigma, following) in zip(timesteps, pairwise(sigmas), strict=True):
        scaled = (x / math.sqrt(sigma**2 + 1)).to(dtype)
        times = torch.full((2,), timestep, dtype=torch.float32, device=device)
        told: Tensor = checkpoint.unet(
            torch.cat([scaled, scaled]),
            times,
            encoder_hidden_states=context,
            return_dict=False,
        )[0]
        wanted, unwanted = told.float().chunk(2)
        x = x + (unwanted + body["cfg_scale"] * (wanted - unwanted)) * (following - sigma)
    latents = (x / checkpoint.traits.latent_scale).to(checkpoint.vae_dtype)
    pixels: Tensor = checkpoint.vae.decode(latents, return_dict=False)[0][0]
    light = ((pixels.float() + 1) / 2).clamp(0, 1)
    levels: NDArray[np.uint8] = (255 * light).to(torch.uint8).permute(1, 2, 0).cpu().numpy()
    return levels


def main() -> None:
    """Load what the command line names and paint until the input ends."""
    path, device = Path(sys.argv[1]), torch.device(sys.argv[2])
    # as the server has it: half precision where there is a GPU
    dtype = torch.float32 if device.type == "cpu" else torch.float16
    formats = Formats.all(dtype, channels_last=device.type == "cuda")
    checkpoint = families.load(info_of(path), device=device, formats=formats)
    if checkpoint.traits.prediction != "epsilon" or len(checkpoint.encoders) != 1:
        raise SystemExit(f"{path}: the bare loop knows SD1 and its like alone")
    settle()
    for line in sys.stdin:
        body = json.loads(line)
        start = time.perf_counter()
        picture = painted(checkpoint, body)
        seconds = time.perf_counter() - start
        pixels = base64.b64encode(np.ascontiguousarray(picture).data).decode()
        answer = {"seconds": seconds, "shape": picture.shape, "pixels": pixels}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
