"""The few device operations a generation can ask for, and the types of the generators that ask."""

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

if TYPE_CHECKING:
    from torch import Tensor

    from models.choice import ModelChoice

    from .plan import Encoding, VaeMethod
    from .prompt.chunks import Chunk


@dataclass(frozen=True, slots=True, eq=False)
class Denoise:
    """A sampler's wish: the noise-free latents of `x` [N,C,h,w] at `sigma`. Answer: [N,C,h,w]."""

    x: "Tensor"
    sigma: float


@dataclass(frozen=True, slots=True, eq=False)
class DenoiseApart:
    """The same with guidance times `scale`. Answer: the guided and the unconditional latents."""

    x: "Tensor"
    sigma: float
    scale: float


@dataclass(frozen=True, slots=True, eq=False)
class Conditioning:
    """What a UNet is told of texts: `context` [n,L,D], and beside it a `vector` [n,V] (SDXL)."""

    context: "Tensor"
    vector: "Tensor | None" = None


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """Latents that share a time step: the model's input `x` [n,C,h,w] and its conditioning."""

    x: "Tensor"
    timestep: float
    told: Conditioning


@dataclass(frozen=True, slots=True, eq=False)
class Predict:
    """Ask the UNet for its raw output on each row. Answer: one [n,4,h,w] a row, in order."""

    rows: "tuple[Row, ...]"


@dataclass(frozen=True, slots=True, eq=False)
class Encode:
    """Ask the text encoders for the conditioning of one prompt's texts, each a tuple of chunks.

    `numbers` end the vector of a model that has one; of a text that is `nothing` the encoders' part
    is zeros. Answer: `Conditioning`, a row a text, with as many chunks as the longest text has.
    """

    texts: "tuple[tuple[Chunk, ...], ...]"
    empty: "Chunk"
    encoding: "Encoding"
    numbers: tuple[float, ...] = ()
    nothing: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Decode:
    """Ask for the pictures of `latents` [N,4,h,w]. Answer: uint8 array, [N,8h,8w,3] by the VAE."""

    latents: "Tensor"
    method: "VaeMethod" = "Full"


@dataclass(frozen=True, slots=True, eq=False)
class EncodeImage:
    """Ask for the latents of pictures [N,3,H,W] in [-1,1]. Answer: [N,4,H/8,W/8]."""

    pixels: "Tensor"
    method: "VaeMethod" = "Full"


@dataclass(frozen=True, slots=True, eq=False)
class Use:
    """Ask for the model that all later steps run on. Answer: its `ModelTraits`.

    A generation may be put aside at this step until others are done with theirs; it must keep
    nothing of an earlier model but its traits. `between` batches, where nothing is under way, it
    makes way for those that have waited long for another model.
    """

    choice: "ModelChoice"
    between: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Offload:
    """Ask for work that is not the device thread's: others go on meanwhile. Answer: its result.

    What it raises is raised in the generation.
    """

    work: "Callable[[], Any]"


Step = Predict | Encode | Decode | EncodeImage | Use | Offload

Result = TypeVar("Result")
#: A sampler under way: yields `Denoise` or its kin, receives latents, returns latents.
Sampling: TypeAlias = "Generator[Denoise | DenoiseApart, Any, Tensor]"
#: A generation under way: yields steps, receives their answers, returns `Result`.
Stepping = Generator[Step, Any, Result]
