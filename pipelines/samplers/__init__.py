"""Samplers: each a generator that yields `Denoise` and returns the final latents.

They are written in k-diffusion's terms (Karras et al., https://arxiv.org/abs/2206.00364): `x` is
the noised latents, `sigma` the standard deviation of their noise, `denoised` the model's answer.
Sigmas are plain floats, so no step waits for the device; tensors only meet `+ - * /`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from ..plan import BadPlan
from .base import Noise, SamplerFunction
from .dpm_solver import dpm_adaptive, dpm_fast
from .dpmpp import (
    dpmpp_2m,
    dpmpp_2m_sde,
    dpmpp_2m_sde_heun,
    dpmpp_2s_ancestral,
    dpmpp_3m_sde,
    dpmpp_sde,
)
from .euler import dpm2, dpm2_ancestral, euler, euler_ancestral, heun, lcm, lms, restart
from .timesteps import ddim, ddim_cfgpp, plms, unipc

__all__ = ["SAMPLERS", "Noise", "Sampler", "SamplerFunction", "find_sampler"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampler:
    """A row of the table: the name and traits by which clients know a sampler.

    `on_timesteps`: runs on evenly spaced integer time steps of the model instead of a schedule.
    `own_grid`: spaces continuous time itself. `own_steps`: chooses its steps between the model's
    ends itself. `consistency`: reads the model as a latent consistency model. `takes`: which
    numbers of a `SamplerSpec` it uses.
    """

    name: str
    aliases: tuple[str, ...]
    function: SamplerFunction
    default_schedule: str | None = None
    solver: str | None = None
    second_order: bool = False
    brownian: bool = False
    uses_ensd: bool = False
    discards_penultimate: bool = False
    on_timesteps: bool = False
    own_steps: bool = False
    own_grid: bool = False
    consistency: bool = False
    takes: frozenset[str] = frozenset()

    @property
    def calls_a_step(self) -> int:
        """The model calls that a step takes."""
        return 2 if self.second_order else 1

    @property
    def options(self) -> Mapping[str, str | bool]:
        """The traits in the wire's words, in its order."""
        traits: dict[str, str | bool] = {}
        if self.default_schedule:
            traits["scheduler"] = self.default_schedule
        if self.discards_penultimate:
            traits["discard_next_to_last_sigma"] = True
        if self.uses_ensd:
            traits["uses_ensd"] = True
        if self.second_order:
            traits["second_order"] = True
        if self.brownian:
            traits["brownian_noise"] = True
        if self.solver:
            traits["solver_type"] = self.solver
        return MappingProxyType(traits)


_CHURN = frozenset({"s_churn", "s_tmin", "s_tmax", "s_noise"})
_ETA = frozenset({"eta"})
_ETA_NOISE = frozenset({"eta", "s_noise"})

#: in the order of the wire
SAMPLERS: tuple[Sampler, ...] = (
    Sampler(
        name="DPM++ 2M",
        aliases=("k_dpmpp_2m",),
        function=dpmpp_2m,
        default_schedule="karras",
    ),
    Sampler(
        name="DPM++ SDE",
        aliases=("k_dpmpp_sde",),
        function=dpmpp_sde,
        default_schedule="karras",
        second_order=True,
        brownian=True,
        takes=_ETA_NOISE,
    ),
    Sampler(
        name="DPM++ 2M SDE",
        aliases=("k_dpmpp_2m_sde",),
        function=dpmpp_2m_sde,
        default_schedule="exponential",
        brownian=True,
        takes=_ETA_NOISE,
    ),
    Sampler(
        name="DPM++ 2M SDE Heun",
        aliases=("k_dpmpp_2m_sde_heun",),
        function=dpmpp_2m_sde_heun,
        default_schedule="exponential",
        solver="heun",
        brownian=True,
        takes=_ETA_NOISE,
    ),
    Sampler(
        name="DPM++ 2S a",
        aliases=("k_dpmpp_2s_a",),
        function=dpmpp_2s_ancestral,
        default_schedule="karras",
        second_order=True,
        uses_ensd=True,
        takes=_ETA_NOISE,
    ),
    Sampler(
        name="DPM++ 3M SDE",
        aliases=("k_dpmpp_3m_sde",),
        function=dpmpp_3m_sde,
        default_schedule="exponential",
        brownian=True,
        discards_penultimate=True,
        takes=_ETA_NOISE,
    ),
    Sampler(
        name="Euler a",
        aliases=("k_euler_a", "k_euler_ancestral"),
        function=euler_ancestral,
        uses_ensd=True,
        takes=_ETA,
    ),
    Sampler(name="Euler", aliases=("k_euler",), function=euler, takes=_CHURN),
    Sampler(name="LMS", aliases=("k_lms",), function=lms),
    Sampler(name="Heun", aliases=("k_heun",), function=heun, second_order=True, takes=_CHURN),
    Sampler(
        name="DPM2",
        aliases=("k_dpm_2",),
        function=dpm2,
        default_schedule="karras",
        second_order=True,
        discards_penultimate=True,
        takes=_CHURN,
    ),
    Sampler(
        name="DPM2 a",
        aliases=("k_dpm_2_a",),
        function=dpm2_ancestral,
        default_schedule="karras",
        second_order=True,
        discards_penultimate=True,
        uses_ensd=True,
        takes=_ETA_NOISE,
    ),
    Sampler(
        name="DPM fast",
        aliases=("k_dpm_fast",),
        function=dpm_fast,
        own_steps=True,
        uses_ensd=True,
        takes=_ETA_NOISE,
    ),
    Sampler(
        name="DPM adaptive",
        aliases=("k_dpm_ad",),
        function=dpm_adaptive,
        own_steps=True,
        uses_ensd=True,
        takes=_ETA,
    ),
    Sampler(
        name="Restart",
        aliases=("restart",),
        function=restart,
        default_schedule="karras",
        second_order=True,
    ),
    Sampler(name="DDIM", aliases=("ddim",), function=ddim, on_timesteps=True, takes=_ETA),
    Sampler(
        name="DDIM CFG++",
        aliases=("ddim_cfgpp",),
        function=ddim_cfgpp,
        on_timesteps=True,
        takes=_ETA,
    ),
    Sampler(name="PLMS", aliases=("plms",), function=plms, on_timesteps=True),
    Sampler(name="UniPC", aliases=("unipc",), function=unipc, on_timesteps=True, own_grid=True),
    Sampler(name="LCM", aliases=("k_lcm",), function=lcm, consistency=True),
)


def find_sampler(name: str) -> Sampler:
    """The row called exactly `name`. Raises `BadPlan` naming the samplers there are."""
    for sampler in SAMPLERS:
        if sampler.name == name:
            return sampler
    raise BadPlan(f"unknown sampler {name!r}; allowed: {', '.join(s.name for s in SAMPLERS)}")
