"""The noise that would have become a picture, found by sampling it backwards (Euler, DDIM-like)."""

from itertools import pairwise
from typing import TYPE_CHECKING

from torch import Tensor

from .denoiser import Denoiser
from .effects import Effects
from .guidance import Guidance, Mixer
from .plan import Inversion, SamplerSpec
from .schedules import schedule_sigmas
from .steps import Denoise, Stepping
from .tables import TableRule
from .watch import Watch

if TYPE_CHECKING:
    from models.families.base import ModelTraits


def found_noise(
    latents: Tensor,
    fresh: Tensor,
    wanted: Inversion,
    rule: TableRule,
    guidance: Guidance,
    traits: "ModelTraits",
    watch: Watch,
) -> Stepping[Tensor]:
    """Noise [N,C,h,w] of unit size from which `latents` come out again, mixed with `fresh` noise.

    From the lowest sigma up, each step goes away from what the model sees: at the sigma it goes to
    (the result is scaled by its own deviation), or with `sigma_adjustment` at the one it comes from
    (scaled by the highest sigma).
    """
    table = rule.table(traits.alphas_cumprod.tolist())
    denoiser = Denoiser(table=table, prediction=traits.prediction)
    uniform = SamplerSpec(name="Euler", schedule="automatic", steps=wanted.steps)
    sigmas = schedule_sigmas(uniform, table)[::-1]
    mixer, x = Mixer(guidance, denoiser, latents.device), latents
    watch.begin_pass(wanted.steps)
    for step, (low, high) in enumerate(pairwise(sigmas)):
        seen = low if wanted.sigma_adjustment else high
        if not seen:  # without noise the model sees nothing to go away from
            continue
        if watch.stopping:
            break
        mixed = yield from mixer.mix(Denoise(x, seen), step, Effects())
        x = x + (x - mixed.denoised) / seen * (high - low)
        watch.stepped(step + 1, x)
    watch.end_pass()
    found = x / sigmas[-1] if wanted.sigma_adjustment else x / x.std()
    share = wanted.randomness
    blended = (1 - share) * found + share * fresh
    unit: Tensor = blended / (share**2 + (1 - share) ** 2) ** 0.5
    return unit - latents / sigmas[-1]
