"""Generations carried out by toy checkpoints, without an engine."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from pipelines import conditioning
from pipelines.generate import Generated, GeneratedImage, generation
from pipelines.plan import Encoding, Plan
from pipelines.prompt.chunks import chunk_prompt
from pipelines.steps import Encode, Predict, Step, Use
from pipelines.watch import Watch

from .toy import ToyCheckpoint, answer, finish, label, plan


def watching(wanted: Plan) -> Watch:
    return Watch(batch_count=wanted.batch_count, steps=wanted.sampler.steps, passes=wanted.passes)


class Bench:
    """Answers steps by the checkpoint in use, and logs each step with that checkpoint's label."""

    def __init__(self, **checkpoints: ToyCheckpoint) -> None:
        self.checkpoints = checkpoints
        self.used: list[str] = []
        self.steps: list[tuple[str, Step]] = []

    def __call__(self, step: Step) -> Any:
        if isinstance(step, Use):
            self.used.append(label(step.choice))
        self.steps.append((self.used[-1], step))
        return answer(step, self.checkpoints[self.used[-1].split("+")[0]])

    def run(self, wanted: Plan, watch: Watch | None = None) -> Generated:
        """A plan to its end."""
        done: Generated = finish(generation(wanted, watch or watching(wanted)), self)
        return done

    def asked(self, kind: type[Any]) -> list[tuple[str, Any]]:
        """The steps of one kind, each with the checkpoint that was in use."""
        return [(used, step) for used, step in self.steps if isinstance(step, kind)]


def made(
    wanted: Plan, toy: ToyCheckpoint | None = None, watch: Watch | None = None
) -> list[GeneratedImage]:
    return Bench(toy=toy or ToyCheckpoint()).run(wanted, watch).images


def pixels(wanted: Plan, toy: ToyCheckpoint | None = None) -> np.ndarray[Any, Any]:
    return np.stack([image.pixels for image in made(wanted, toy)])


def recorded(wanted: Plan, toy: ToyCheckpoint | None = None) -> list[Step]:
    """The steps that a generation asks for."""
    bench = Bench(toy=toy or ToyCheckpoint())
    bench.run(wanted)
    return [step for _, step in bench.steps]


def rows(wanted: Plan, toy: ToyCheckpoint | None = None) -> list[tuple[Any, ...]]:
    """The rows of every model call."""
    return [step.rows for step in recorded(wanted, toy) if isinstance(step, Predict)]


def contexts(wanted: Plan) -> list[tuple[Tensor, Tensor]]:
    """The conditional and unconditional context of every model call."""
    return [(cond.told.context, uncond.told.context) for cond, uncond in rows(wanted)]


def context(prompt: str) -> Tensor:
    """The conditioning [1,L,D] of a prompt that does not change."""
    return contexts(plan(prompt))[0][0]


def start(seed: int, width: int = 32, height: int = 16) -> Tensor:
    """The first noise of a picture."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn((1, 4, height // 8, width // 8), generator=generator).double()


def named_mean(prompt: str) -> float:
    """The mean of the toy's data under a prompt."""
    toy = ToyCheckpoint()
    chunks = chunk_prompt(prompt, toy.tokenizer, backtrack=20)
    (empty,) = chunk_prompt("", toy.tokenizer, backtrack=20)
    step = Encode((chunks,), empty, Encoding())
    return float(toy.mean(conditioning.encode(toy.lent(), step).context))


def as_picture(latents: Tensor) -> np.ndarray[Any, Any]:
    return ToyCheckpoint().decode(latents).permute(0, 2, 3, 1).numpy()
