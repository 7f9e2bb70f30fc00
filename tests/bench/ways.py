"""The ways to run a UNet that the table `device` compares, each on a checkpoint of its own."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from models import families
from models.compiling import Compiled
from models.families import Checkpoint
from models.families.inputs import Forward, UnetInputs
from models.graphs import Graphs, cuda_recorders
from models.memory import give_back
from models.precision import Formats
from tests.models.families.variants import info_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """How weights lie, and what stands before the UNet; `fused`: q, k and v in one product."""

    title: str
    channels_last: bool = True
    graphs: bool = False
    compiled: bool = False
    fused: bool = False


#: what the server does of itself on a GPU
USUAL = "graphs"
WAYS: Mapping[str, Way] = {
    "plain": Way(title="eager, channels first", channels_last=False),
    "last": Way(title="eager"),
    "first": Way(title="graphs, channels first", channels_last=False, graphs=True),
    USUAL: Way(title="graphs", graphs=True),
    "compiled": Way(title="compiled", compiled=True),
    "both": Way(title="compiled, graphs", compiled=True, graphs=True),
    "fused": Way(title="fused QKV, graphs", fused=True, graphs=True),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a step tells a UNet, on its device."""

    x: Tensor
    timestep: Tensor
    context: Tensor
    vector: Tensor | None


def told(checkpoint: Checkpoint, images: int, side: int) -> Told:
    """A row with the prompt and one without for each image of `side` pixels, of random numbers."""
    rows, unet = 2 * images, checkpoint.unet
    generator = torch.Generator().manual_seed(1)
    context = torch.randn(rows, 77, unet.config.cross_attention_dim, generator=generator)
    vector = None
    if checkpoint.traits.sizes is not None:
        # the numbers are widened within
        width = unet.add_embedding.linear_1.in_features
        numbers = 6 if checkpoint.traits.sizes == "sizes" else 5
        pooled = width - numbers * unet.config.addition_time_embed_dim
        vector = torch.cat(
            [torch.randn(rows, pooled, generator=generator), torch.full((rows, numbers), 512.0)], 1
        ).to(checkpoint.device)
    x = torch.randn(rows, 4, side // 8, side // 8, generator=generator)
    return Told(
        x=x.to(checkpoint.device),
        timestep=torch.full((rows,), 500.0),
        context=context.to(checkpoint.device),
        vector=vector,
    )


@contextmanager
def loaded(path: Path, device: torch.device, *, channels_last: bool) -> Iterator[Checkpoint]:
    """A checkpoint on the device, and none of its memory after that."""
    dtype = torch.float32 if device.type == "cpu" else torch.float16
    formats = Formats.all(dtype, channels_last=channels_last)
    with torch.inference_mode(False):
        held = [families.load(info_of(path), device=device, formats=formats)]
    try:
        yield held[0]
    finally:
        held.clear()
        give_back(device)


Step = Callable[[Told], Tensor]


@contextmanager
def prepared(checkpoint: Checkpoint, way: Way) -> Iterator[Step | None]:
    """What does a step the way's way, for as long; None where the device cannot."""
    recorders = cuda_recorders(checkpoint.device) if way.graphs else None
    if way.graphs and recorders is None:
        yield None
        return
    placement, compiled = checkpoint.placement, Compiled(checkpoint.unet)
    run: Forward = compiled
    if way.fused:
        checkpoint.unet.fuse_qkv_projections()
    compiled.use(way.compiled)

    def placed_first(inputs: UnetInputs) -> Tensor:
        return run(placement.placed(inputs))

    forward: Forward = placed_first
    if recorders is not None:
        forward = Graphs(checkpoint.unet, placement, run, recorders).under("")
    lent = replace(checkpoint, forward=forward)
    try:
        yield lambda step: lent.predict(step.x, step.timestep, step.context, step.vector)
    finally:
        compiled.use(False)
        if way.fused:
            checkpoint.unet.unfuse_qkv_projections()
