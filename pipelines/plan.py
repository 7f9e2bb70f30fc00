"""What one generation is asked to do, resolved: no option is looked up after this."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from models.choice import ModelChoice
from models.networks.files import NetworkUse

from .pictures.prepared import Prepared
from .pictures.upscale import Upscaler
from .tables import TableRule

NoiseSource = Literal["CPU", "GPU", "NV"]
UnipcSpacing = Literal["time_uniform", "time_quadratic", "logSNR"]
Emphasis = Literal["None", "Ignore", "Original", "No norm"]
VaeMethod = Literal["Full", "Approx NN", "Approx cheap", "TAESD"]
HiresRefiner = Literal["first pass", "second pass", "both passes"]


class BadPlan(ValueError):
    """A plan that cannot be carried out; the message names the value and what is allowed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplerSpec:
    """A sampler, its sigma schedule and their numbers.

    `schedule` is a name of `SCHEDULES`; "automatic" means the model's own sigmas. `sigma_min`,
    `sigma_max` and `rho` replace the model's and the schedule's values where they are not 0.
    """

    name: str
    schedule: str
    steps: int
    eta: float = 0.0
    s_churn: float = 0.0
    s_tmin: float = 0.0
    s_tmax: float = float("inf")
    s_noise: float = 1.0
    sigma_min: float = 0.0
    sigma_max: float = 0.0
    rho: float = 0.0
    beta_alpha: float = 0.6
    beta_beta: float = 0.6
    discard_penultimate: bool = False
    sgm_noise_multiplier: bool = False
    unipc_order: int = 3
    unipc_bh2: bool = False
    unipc_spacing: UnipcSpacing = "time_uniform"
    unipc_lower_order_final: bool = True
    tables: TableRule = field(default_factory=TableRule)


@dataclass(frozen=True, slots=True, kw_only=True)
class Seeds:
    """One seed and one variation seed an image, and how their noise is drawn.

    `resize_from` is the width and height in pixels at which the noise is drawn before it is pasted
    into the wanted size; `eta_delta` is added to the seeds of all noise after the first. Without
    `brownian_per_image` one Brownian path serves the whole batch.
    """

    seeds: tuple[int, ...]
    subseeds: tuple[int, ...]
    subseed_strength: float = 0.0
    resize_from: tuple[int, int] | None = None
    source: NoiseSource = "GPU"
    eta_delta: int = 0
    brownian_per_image: bool = True

    def slice(self, start: int, stop: int) -> "Seeds":
        """The seeds of the images from `start` up to `stop`."""
        return replace(self, seeds=self.seeds[start:stop], subseeds=self.subseeds[start:stop])


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoding:
    """How prompts become conditioning.

    With `always_skip` the clip skip counts for SDXL's first encoder too. `crop` (top, left) and
    the aesthetic `scores` of negative prompt and prompt are what SDXL is told of the picture.
    """

    clip_skip: int = 1
    always_skip: bool = False
    crop: tuple[int, int] = (0, 0)
    scores: tuple[float, float] = (2.5, 6.0)
    emphasis: Emphasis = "Original"
    comma_backtrack: int = 20
    old_editing: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class GuidanceSpec:
    """How strongly prompts guide, and where the unconditional part is left out.

    See `pipelines.guidance.Guidance`; `pad` lengthens the shorter of the two conditionings, `match`
    brings the unconditional one to the other's length instead.
    `image_scale` is how strongly an instruct-pix2pix model follows the picture it is given (None:
    as the prompts do), `mask_weight` how much of the masked part an inpainting model is not shown.
    """

    scale: float
    s_min_uncond: float = 0.0
    s_min_uncond_all: bool = False
    skip_early: float = 0.0
    pad: bool = False
    match: bool = False
    image_scale: float | None = None
    mask_weight: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Refining:
    """Another checkpoint takes over once the share `at` of the noise levels is passed.

    With `by_steps` the share is one of the steps. `hires` says in which passes of a hires fix.
    """

    model: ModelChoice
    at: float | None
    by_steps: bool = False
    hires: HiresRefiner = "second pass"


@dataclass(frozen=True, slots=True, kw_only=True)
class VaeMethods:
    """How latents become pictures, and pictures latents."""

    decode: VaeMethod = "Full"
    encode: VaeMethod = "Full"


@dataclass(frozen=True, slots=True, kw_only=True)
class HiresPass:
    """A second pass over the first one's latents, enlarged to `width` x `height` pixels.

    `crop` is what is kept of that, centred. `steps` are run at the end of a schedule so long that
    they take `denoising` of it (`denoising` 0: none; the picture is only enlarged). `model` is the
    checkpoint it runs on, `networks` those of its own prompts, one entry an image. With
    `keep_first` the first pass's pictures are kept beside the others. `upscaler` may be the name of
    a latent one too.
    """

    width: int
    height: int
    crop: tuple[int, int]
    upscaler: Upscaler
    denoising: float
    steps: int
    sampler: SamplerSpec
    prompts: tuple[str, ...]
    negative_prompts: tuple[str, ...]
    model: ModelChoice
    networks: tuple[tuple[NetworkUse, ...], ...] = ()
    keep_first: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """The images of a plan that are sampled together, and the model they start on."""

    index: int
    start: int
    model: ModelChoice
    prompts: tuple[str, ...]
    negative_prompts: tuple[str, ...]
    seeds: Seeds


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What every generation needs.

    `prompts`, `negative_prompts`, `seeds` and `networks` have one entry an image (`networks` may be
    empty: none at all); a batch wears the networks of its first image, as in the reference.
    `extra_noise` is added to latents that a pass begins with. `before_batch` is called on another
    thread with the number of the batch that is drawn next, and gives notes for the reply.
    """

    model: ModelChoice
    prompts: tuple[str, ...]
    negative_prompts: tuple[str, ...]
    seeds: Seeds
    sampler: SamplerSpec
    encoding: Encoding
    guidance: GuidanceSpec
    width: int
    height: int
    batch_size: int
    networks: tuple[tuple[NetworkUse, ...], ...] = ()
    refiner: Refining | None = None
    vae_methods: VaeMethods = VaeMethods()
    extra_noise: float = 0.0
    before_batch: Callable[[int], Sequence[str]] | None = None

    @property
    def batch_count(self) -> int:
        """How many batches the images make."""
        return -(-len(self.prompts) // self.batch_size)

    @property
    def passes(self) -> int:
        """How many passes of a sampler a batch takes."""
        return 1

    def batches(self) -> Iterator[Batch]:
        """The images in groups of `batch_size`, in order."""
        for index in range(self.batch_count):
            start, stop = index * self.batch_size, (index + 1) * self.batch_size
            yield Batch(
                index=index,
                start=start,
                model=self.wearing(self.model, self.networks, start),
                prompts=self.prompts[start:stop],
                negative_prompts=self.negative_prompts[start:stop],
                seeds=self.seeds.slice(start, stop),
            )

    @staticmethod
    def wearing(
        model: ModelChoice, networks: tuple[tuple[NetworkUse, ...], ...], image: int
    ) -> ModelChoice:
        """`model` with the networks of one image."""
        return replace(model, networks=networks[image]) if networks else model


@dataclass(frozen=True, slots=True, kw_only=True)
class Txt2ImgPlan(Plan):
    """Pictures from text."""

    hires: HiresPass | None = None

    @property
    def passes(self) -> int:
        """One, or two with a hires pass."""
        return 2 if self.hires else 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Inversion:
    """How to find the noise behind the init pictures, which these prompts would draw from it.

    `randomness` is the share of fresh noise in it; see `pipelines.inversion` for the rest.
    """

    prompt: str
    negative_prompt: str
    steps: int
    scale: float
    randomness: float = 0.0
    sigma_adjustment: bool = False


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Img2ImgPlan(Plan):
    """Pictures from pictures: `init` is noised by `denoising` of the schedule and sampled again.

    Without `fix_steps` the sampler runs that share of its steps, with it all of them, at the end of
    a longer schedule. The noise is multiplied by `noise_multiplier`, or found by `inversion`.
    """

    init: Prepared
    denoising: float
    fix_steps: bool = False
    noise_multiplier: float = 1.0
    inversion: Inversion | None = None

    @property
    def passes(self) -> int:
        """One, or two where the noise has to be found first."""
        return 2 if self.inversion else 1
