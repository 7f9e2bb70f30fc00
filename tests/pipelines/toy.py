"""Toys with known answers: a Gaussian's exact denoiser, and a checkpoint made of small formulas."""

import math
import re
import zlib
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
import torch
from torch import Tensor

from models.catalog import CheckpointInfo
from models.choice import ModelChoice
from models.families.base import ModelTraits
from models.families.text import Encoded
from models.networks.files import NetworkInfo, NetworkUse
from pipelines import conditioning
from pipelines.plan import Encoding, GuidanceSpec, SamplerSpec, Seeds, Txt2ImgPlan
from pipelines.schedules import SigmaTable
from pipelines.steps import (
    Decode,
    DenoiseApart,
    Encode,
    EncodeImage,
    Offload,
    Predict,
    Sampling,
    Step,
    Use,
)

if TYPE_CHECKING:
    from models.families.base import Checkpoint

#: numbers a token's vector of the toy's conditioning
WIDTH = 3
#: of the toy's pictures, so that guided latents are not cut off at black and white
CONTRAST = 0.4


def sd1_alphas() -> list[float]:
    """The cumulative products of SD1's scaled-linear betas."""
    betas = np.linspace(math.sqrt(0.00085), math.sqrt(0.012), 1000) ** 2
    return [float(alpha) for alpha in np.cumprod(1 - betas)]


def sd1_table() -> SigmaTable:
    return SigmaTable.from_alphas(sd1_alphas())


def spec(name: str = "Euler", *, steps: int = 4, **numbers: Any) -> SamplerSpec:
    return SamplerSpec(name=name, steps=steps, **{"schedule": "automatic", **numbers})


def seeds(*values: int, **more: Any) -> Seeds:
    """CPU noise of these seeds, with variation seeds far from them."""
    subseeds = tuple(value + 1000 for value in values)
    return Seeds(seeds=values, subseeds=subseeds, **{"source": "CPU", **more})


@dataclass(frozen=True, slots=True, kw_only=True)
class Gaussian:
    """Data of N(mean, spread^2) in every number, for which all of diffusion has a closed form."""

    mean: float = 0.7
    spread: float = 0.5

    def denoised(self, x: Tensor, sigma: float) -> Tensor:
        """The expectation of the data behind `x`."""
        return self.mean + (x - self.mean) * (self.spread**2 / (self.spread**2 + sigma**2))

    def deviation(self, sigma: float) -> float:
        """The standard deviation of noised data."""
        return math.hypot(self.spread, sigma)

    def moved(self, x: Tensor, sigma: float, following: float) -> Tensor:
        """Where the probability-flow ODE takes `x` from `sigma` to `following`."""
        return self.mean + (x - self.mean) * (self.deviation(following) / self.deviation(sigma))


class Script:
    """Noise that is known beforehand: one number everywhere, and a log of what was asked for."""

    def __init__(self, value: float = 1.0) -> None:
        self.value = torch.full((1,), value, dtype=torch.float64)
        self.draws = 0
        self.asked: list[tuple[float, float]] = []

    def draw(self) -> Tensor:
        self.draws += 1
        return self.value

    def between(self, sigma: float, following: float) -> Tensor:
        self.asked.append((sigma, following))
        return self.value


def drive(
    sampling: Sampling, denoise: Callable[[Tensor, float], Tensor]
) -> tuple[Tensor, list[float]]:
    """Answer a sampler to its end; gives its latents and the sigmas it asked about.

    One that asks for the unconditional latents apart is given the same again.
    """
    asked: list[float] = []
    try:
        step = next(sampling)
        while True:
            asked.append(step.sigma)
            answer = denoise(step.x, step.sigma)
            step = sampling.send((answer, answer) if isinstance(step, DenoiseApart) else answer)
    except StopIteration as end:
        latents: Tensor = end.value
        return latents, asked


class Words:
    """A tokenizer of words and commas; the same word always has the same id below 900."""

    bos, eos, comma = 998, 999, 900

    def encode(self, text: str) -> list[int]:
        return [self.id(word) for word in re.findall(r",|[^\s,]+", text)]

    def id(self, word: str) -> int:
        return self.comma if word == "," else zlib.crc32(word.encode()) % 900


@dataclass(frozen=True, slots=True)
class Call:
    """One forward: the latents' sizes [C,h,w], each row's time step, and the context's length."""

    size: tuple[int, ...]
    timesteps: tuple[float, ...]
    length: int


@dataclass(frozen=True, slots=True)
class ToyEncoder:
    """The text encoder of a toy, as conditioning asks it."""

    toy: "ToyCheckpoint"

    def encode(
        self, ids: Tensor, *, end: int, clip_skip: int, always_skip: bool, inserted: Any
    ) -> Encoded:
        assert end == self.toy.tokenizer.eos
        states = self.toy.encode_tokens(ids, clip_skip, inserted)
        return Encoded(states, states[:, 1] if self.toy.sizes else None)


@dataclass(eq=False, kw_only=True)
class ToyCheckpoint:
    """A checkpoint whose data is Gaussian around a mean that the prompt names.

    Every row is answered by itself, so that company can change nothing but rounding. The word
    "boom" in a prompt makes a forward that holds it raise, "poison" makes its own rows NaN, and so
    does "loud" in half precision. What it
    is shown beside the latents moves the data's mean, and so does `bias`, by which two toys differ.
    With `sizes` the first token's vector is the pooled text, and the numbers move the mean as well.
    `before` is called with the number of each forward, on the device thread.
    """

    prediction: Literal["epsilon", "v"] = "epsilon"
    spread: float = 0.5
    before: Callable[[int], None] = lambda call: None
    tokenizer: Words = field(default_factory=Words)
    vae: torch.nn.Module = field(default_factory=lambda: torch.nn.Linear(2, 2))
    calls: list[Call] = field(default_factory=list)
    encoded: list[tuple[tuple[int, ...], int]] = field(default_factory=list)
    inserted: list[Any] = field(default_factory=list)
    decoded: list[Tensor] = field(default_factory=list)
    pictures: list[Tensor] = field(default_factory=list)
    bias: float = 0.0
    info: CheckpointInfo = field(default_factory=lambda: info())
    embeddings: Any = None
    sizes: Literal["sizes", "score"] | None = None
    notes: tuple[str, ...] = ()
    latent_scale: float = 0.5
    latent_channels: int = 4
    in_channels: int = 4
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    dtype: torch.dtype = torch.float32
    ballast: bool = False
    alphas_cumprod: Tensor = field(default_factory=lambda: torch.tensor(sd1_alphas()))

    def __post_init__(self) -> None:
        self.table = SigmaTable.from_alphas(self.alphas_cumprod.tolist())

    @property
    def traits(self) -> ModelTraits:
        """What a generation is told of it."""
        return ModelTraits(
            tokenizer=cast(Any, self.tokenizer),
            alphas_cumprod=self.alphas_cumprod,
            prediction=self.prediction,
            latent_scale=self.latent_scale,
            latent_channels=self.latent_channels,
            in_channels=self.in_channels,
            device=self.device,
            embeddings=self.embeddings,
            sizes=self.sizes,
            notes=self.notes,
        )

    @property
    def encoders(self) -> "tuple[ToyEncoder, ...]":
        """Its only text encoder."""
        return (ToyEncoder(self),)

    def encode_tokens(self, ids: Tensor, clip_skip: int, inserted: Any = ()) -> Tensor:
        """Each token's id in thousandths, its sine, and the clip skip."""
        assert ids.dtype == torch.int64
        assert ids.shape[1:] == (77,)
        self.encoded.append((tuple(ids.flatten().tolist()), clip_skip))
        self.inserted.append(inserted)
        part = ids.float() / 1000
        return torch.stack([part, torch.sin(ids.float()), torch.full_like(part, clip_skip)], 2)

    def mean(self, context: Tensor) -> Tensor:
        """The mean of the data that a context [R,L,D] names: [R,1,1,1], moved by every word."""
        words = context[:, :, 1] - math.sin(self.tokenizer.eos)
        return torch.tanh(words.sum(1))[:, None, None, None] / 2

    def predict(
        self, x: Tensor, timestep: Tensor, context: Tensor, vector: Tensor | None = None
    ) -> Tensor:
        """The Gaussian's exact noise (or v) at the rows' time steps."""
        assert x.shape[0] == timestep.shape[0] == context.shape[0]
        assert x.shape[1] == self.in_channels
        self.calls.append(Call(tuple(x.shape[1:]), tuple(timestep.tolist()), context.shape[1]))
        self.before(len(self.calls))
        if self._says("boom", context).any():
            raise RuntimeError("boom")
        sigma = self._column(self.table.sigma(timestep.double().numpy()))
        latents, shown = x[:, : self.latent_channels], x[:, self.latent_channels :]
        noised = latents.double() * torch.sqrt(sigma**2 + 1)
        mean = self.mean(context).double() + self.bias
        assert (vector is None) == (self.sizes is None)
        if vector is not None:
            mean = mean + vector[:, WIDTH:].double().sum(1)[:, None, None, None] / 1000
        if shown.shape[1]:
            mean = mean + 0.1 * shown.double().mean(1, keepdim=True)
        denoised = mean + (noised - mean) * (self.spread**2 / (self.spread**2 + sigma**2))
        noise = (noised - denoised) / sigma
        output = noise
        if self.prediction == "v":
            output = (noise - sigma * denoised) / torch.sqrt(sigma**2 + 1)
        output[self._says("poison", context)] = math.nan
        if self.dtype is torch.float16:
            output[self._says("loud", context)] = math.nan
        return output.float()

    def decode(self, latents: Tensor) -> Tensor:
        """Three of the channels, weaker, and every latent an 8 by 8 square."""
        self.decoded.append(latents)
        return CONTRAST * latents[:, :3].repeat_interleave(8, 2).repeat_interleave(8, 3)

    def encode_image(self, pixels: Tensor) -> Tensor:
        """What `decode` made of three channels; the fourth is their mean."""
        self.pictures.append(pixels)
        colours = torch.nn.functional.avg_pool2d(pixels, 8) / CONTRAST
        return torch.cat([colours, colours.mean(1, keepdim=True)], dim=1)

    def _says(self, word: str, context: Tensor) -> Tensor:
        return (context[:, :, 0] == torch.tensor(self.tokenizer.id(word)) / 1000).any(1)

    @staticmethod
    def _column(values: np.ndarray[Any, np.dtype[np.float64]]) -> Tensor:
        return torch.from_numpy(values)[:, None, None, None]

    def lighten(self) -> bool:
        """Free what it has beside its weights, once; whether there was anything."""
        had, self.ballast = self.ballast, False
        return had

    def lent(self) -> "Checkpoint":
        """Itself, as the type that pipelines asks for."""
        return cast("Checkpoint", self)


def info(name: str = "toy") -> CheckpointInfo:
    return CheckpointInfo(path=Path(f"/{name}.safetensors"), name=name, model_name=name)


def choice(name: str = "toy", *networks: str, **more: Any) -> ModelChoice:
    """The checkpoint of this name, wearing networks of these names."""
    uses = tuple(
        NetworkUse(network=NetworkInfo(path=Path(f"/{each}.pt"), name=each, alias=each))
        for each in networks
    )
    return ModelChoice(checkpoint=info(name), networks=uses, **more)


def label(wanted: ModelChoice) -> str:
    """A choice in a word: "toy", "toy+style"."""
    return "+".join([wanted.checkpoint.name, *(use.network.name for use in wanted.networks)])


def settings(count: int, first_seed: int = 1) -> dict[str, Any]:
    """What plans of `count` 32 by 16 pictures have in common, all in one batch."""
    return {
        "negative_prompts": ("bad",) * count,
        "seeds": seeds(*range(first_seed, first_seed + count)),
        "sampler": spec(),
        "encoding": Encoding(),
        "width": 32,
        "height": 16,
        "batch_size": count,
    }


def plan(
    *prompts: str,
    checkpoint: str = "toy",
    first_seed: int = 1,
    negative: str = "bad",
    cfg_scale: float = 3.0,
    **more: Any,
) -> Txt2ImgPlan:
    """A plan of one 32 by 16 picture a prompt, all in one batch."""
    count = len(prompts)
    own: dict[str, Any] = {
        "model": choice(checkpoint),
        "prompts": prompts,
        "negative_prompts": (negative,) * count,
        "guidance": GuidanceSpec(scale=cfg_scale),
    }
    return Txt2ImgPlan(**{**settings(count, first_seed), **own, **more})


def answer(step: Step, checkpoint: "ToyCheckpoint | Checkpoint") -> Any:
    """What an engine answers to a step; pictures are the latents' first channels as floats."""
    if isinstance(step, Use):
        return checkpoint.traits
    if isinstance(step, Offload):
        return step.work()
    if isinstance(step, Encode):
        return conditioning.encode(cast("Checkpoint", checkpoint), step)
    if isinstance(step, EncodeImage):
        return checkpoint.encode_image(step.pixels)
    if isinstance(step, Predict):
        return tuple(
            checkpoint.predict(
                row.x, torch.full(row.x.shape[:1], row.timestep), row.told.context, row.told.vector
            )
            for row in step.rows
        )
    assert isinstance(step, Decode)
    return checkpoint.decode(step.latents).permute(0, 2, 3, 1).numpy()


def finish(generation: Generator[Step, Any, Any], answers: Callable[[Step], Any]) -> Any:
    """Answer a generation to its end and give what it returns."""
    try:
        step = next(generation)
        while True:
            step = generation.send(answers(step))
    except StopIteration as end:
        return end.value


def order_of(error: Callable[[int], float], steps: Sequence[int]) -> list[float]:
    """The order of convergence between neighbours of `steps`, each the double of the last."""
    errors = [error(count) for count in steps]
    return [math.log2(errors[i] / errors[i + 1]) for i in range(len(errors) - 1)]
