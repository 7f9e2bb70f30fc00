"""The wire's words for samplers, schedules and their numbers become a `SamplerSpec`."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import cast, get_args

from pipelines.plan import SamplerSpec, UnipcSpacing
from pipelines.samplers import SAMPLERS, Sampler, find_sampler
from pipelines.schedules import SCHEDULES, Schedule, find_schedule
from pipelines.tables import TableRule

from .errors import ApiError
from .options import Options
from .schemas.generation import GenerationRequest

AUTOMATIC = SCHEDULES[0]
_UNIFORM = find_schedule("uniform")
#: names that since webui 1.9 mean a schedule of the sampler's own, and once the model's sigmas
_OLD_PLAIN = frozenset({"DPM2", "DPM2 a", "DPM++ 2S a", "DPM++ 2M", "DPM++ SDE", "DPM++ 2M SDE"})
_ZERO_TERMINAL_SNR = "Zero Terminal SNR"
#: what the reference's old Karras schedule ranged over
_OLD_KARRAS = (0.1, 10.0)
#: what may follow a sampler's name; longest first, so that "SGM Uniform" is not read as "Uniform"
_SCHEDULE_WORDS: tuple[tuple[str, Schedule], ...] = tuple(
    sorted(
        ((word, each) for each in SCHEDULES for word in (each.label, each.name, *each.aliases)),
        key=lambda pair: -len(pair[0]),
    )
)


def resolve_sampler(
    name: str, scheduler: str | None, *, old_names: bool = False
) -> tuple[Sampler, Schedule, tuple[str, ...]]:
    """The sampler and schedule that a client's two names mean, and warnings about guesses.

    As the reference has it: a schedule's name at the end of the sampler's wins over `scheduler`, an
    unknown schedule is Automatic, an unknown sampler the first one, and the sampler's own default
    schedule counts as Automatic. With `old_names` a sampler's name alone means the model's sigmas.
    """
    if old_names and not scheduler and name in _OLD_PLAIN:
        return find_sampler(name), _UNIFORM, ()
    schedule = next((s for s in SCHEDULES if scheduler in (s.name, s.label)), AUTOMATIC)
    for word, each in _SCHEDULE_WORDS:
        if name.endswith(f" {word}"):
            name, schedule = name.removesuffix(f" {word}"), each
            break
    sampler = next((s for s in SAMPLERS if s.name == name), None)
    warnings: tuple[str, ...] = ()
    if sampler is None:
        sampler = SAMPLERS[0]
        warnings = (f"unknown sampler {name!r}: used {sampler.name}",)
    if schedule.name == sampler.default_schedule:
        schedule = AUTOMATIC
    return sampler, schedule, warnings


def schedule_label(spec: SamplerSpec) -> str:
    """The label of the schedule that a sampler really uses."""
    return find_schedule(spec.schedule).label


def sampler_spec(
    request: GenerationRequest,
    options: Options,
    sampler: Sampler,
    schedule: Schedule,
    extra: dict[str, object],
) -> SamplerSpec:
    """The sampler's numbers; those that a reader needs to draw the picture again go to `extra`."""
    tables = table_rule(options, extra)
    automatic = schedule is AUTOMATIC
    used = (sampler.default_schedule or AUTOMATIC.name) if automatic else schedule.name
    noised = _churn(request, options, sampler)
    if sampler.on_timesteps:
        used = AUTOMATIC.name
    discard = sampler.discards_penultimate
    ranged: dict[str, float] = {}
    if not sampler.on_timesteps:
        if options.always_discard_next_to_last_sigma and not discard:
            extra["Discard penultimate sigma"] = discard = True
        ranged = _range(options, used, extra)
        if options.sgm_noise_multiplier:
            extra["SGM noise multiplier"] = True
    eta = _eta(request, options, sampler, extra)
    for name in noised:
        if getattr(options, name) != getattr(Options.defaults(), name):
            extra[_CHURN_LABELS[name]] = getattr(options, name)
    return SamplerSpec(
        name=sampler.name,
        schedule=used,
        steps=request.steps,
        eta=eta,
        **noised,
        **ranged,
        discard_penultimate=discard,
        sgm_noise_multiplier=options.sgm_noise_multiplier and not sampler.on_timesteps,
        unipc_order=max(options.uni_pc_order, 1),
        unipc_bh2=options.uni_pc_variant == "bh2",
        unipc_spacing=_unipc_spacing(options),
        unipc_lower_order_final=options.uni_pc_lower_order_final,
        tables=tables,
    )


def table_rule(options: Options, extra: dict[str, object]) -> TableRule:
    """How settings change the model's noise levels; what they change goes to `extra`.

    In the wire's order this comes after all that is told of prompts, and before the sampler.
    """
    spread = options.sd_noise_schedule == _ZERO_TERMINAL_SNR
    if options.use_downcasted_alpha_bar:
        extra["Downcast alphas_cumprod"] = True
    if spread:
        extra["Noise Schedule"] = _ZERO_TERMINAL_SNR
    return TableRule(
        half=options.use_downcasted_alpha_bar,
        zero_terminal_snr=spread,
        quantized=options.enable_quantization,
    )


def _unipc_spacing(options: Options) -> UnipcSpacing:
    known = options.uni_pc_skip_type in get_args(UnipcSpacing)
    return cast(UnipcSpacing, options.uni_pc_skip_type if known else "time_uniform")


def _range(options: Options, used: str, extra: dict[str, object]) -> dict[str, float]:
    """The ends and the shape of the schedule where a setting changes them."""
    if used == AUTOMATIC.name:
        return {}
    schedule = find_schedule(used)
    extra["Schedule type"] = schedule.label
    low, high, rho = options.sigma_min, options.sigma_max, options.rho
    if used == "karras" and options.use_old_karras_scheduler_sigmas:
        return {"sigma_min": _OLD_KARRAS[0], "sigma_max": _OLD_KARRAS[1], "rho": rho}
    if low:
        extra["Schedule min sigma"] = low
    if high:
        extra["Schedule max sigma"] = high
    if rho and schedule.default_rho > 0:
        extra["Schedule rho"] = rho
    ranged = {"sigma_min": low, "sigma_max": high, "rho": rho}
    if used == "beta":
        ranged["beta_alpha"] = extra["Beta schedule alpha"] = options.beta_dist_alpha
        ranged["beta_beta"] = extra["Beta schedule beta"] = options.beta_dist_beta
    return ranged


def _eta(
    request: GenerationRequest, options: Options, sampler: Sampler, extra: dict[str, object]
) -> float:
    if "eta" not in sampler.takes:
        return 0.0
    label, setting, default = (
        ("Eta DDIM", options.eta_ddim, 0.0)
        if sampler.on_timesteps
        else ("Eta", options.eta_ancestral, 1.0)
    )
    eta = setting if request.eta is None else request.eta
    if eta < 0:
        raise ApiError(422, f"eta {eta}: allowed are 0 and more")
    if eta != default:
        extra[label] = eta
    return eta


_CHURN_LABELS: Mapping[str, str] = MappingProxyType(
    {
        "s_churn": "Sigma churn",
        "s_tmin": "Sigma tmin",
        "s_tmax": "Sigma tmax",
        "s_noise": "Sigma noise",
    }
)


def _churn(request: GenerationRequest, options: Options, sampler: Sampler) -> dict[str, float]:
    """Churn and noise numbers: the request's, unless the setting differs from its default."""
    chosen: dict[str, float] = {}
    for name in (each for each in _CHURN_LABELS if each in sampler.takes):
        setting, default = getattr(options, name), getattr(Options.defaults(), name)
        asked = getattr(request, name)
        chosen[name] = setting if setting != default or asked is None else asked
    if "s_tmax" in chosen:
        chosen["s_tmax"] = chosen["s_tmax"] or float("inf")
    return chosen
