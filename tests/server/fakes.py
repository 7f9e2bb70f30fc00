"""A device room without a device, for tests of what stands before it."""

from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np

from models.catalog import CheckpointInfo
from pipelines.generate import GeneratedImage
from pipelines.plan import Encoding, GuidanceSpec, SamplerSpec, Seeds, Txt2ImgPlan
from pipelines.watch import Watch

CHECKPOINT = CheckpointInfo(
    path=Path("/models/some.safetensors"), name="some.safetensors", model_name="some"
)


class FakeDevice:
    """Holds what it was given until the test ends it."""

    def __init__(self) -> None:
        self.submitted: list[tuple[Txt2ImgPlan, Watch, Future[list[GeneratedImage]]]] = []
        self.loaded: list[CheckpointInfo] = []
        self.closed = False

    def submit(self, plan: Txt2ImgPlan, watch: Watch) -> Future[list[GeneratedImage]]:
        future: Future[list[GeneratedImage]] = Future()
        self.submitted.append((plan, watch, future))
        return future

    def load(self, checkpoint: CheckpointInfo) -> Future[list[GeneratedImage]]:
        self.loaded.append(checkpoint)
        future: Future[list[GeneratedImage]] = Future()
        future.set_result([])
        return future

    def memory(self) -> dict[str, Any]:
        return {"error": "no device"}

    def close(self) -> None:
        self.closed = True


def plan(*, images: int = 1, batch_size: int = 1, steps: int = 4) -> Txt2ImgPlan:
    """A small plan."""
    return Txt2ImgPlan(
        checkpoint=CHECKPOINT,
        prompts=("a",) * images,
        negative_prompts=("",) * images,
        seeds=Seeds(seeds=tuple(range(images)), subseeds=tuple(range(images))),
        sampler=SamplerSpec(name="Euler", schedule="automatic", steps=steps),
        encoding=Encoding(),
        guidance=GuidanceSpec(scale=7.0),
        width=64,
        height=64,
        batch_size=batch_size,
    )


def image(index: int = 0, level: int = 0) -> GeneratedImage:
    """An 8x8 picture of one grey level."""
    return GeneratedImage(index=index, pixels=np.full((8, 8, 3), level, np.uint8))
