"""The wire's words for samplers, schedules and their numbers."""

from typing import Any

import pytest

from pipelines.plan import SamplerSpec
from pipelines.samplers import SAMPLERS
from pipelines.schedules import SCHEDULES
from pipelines.tables import TableRule
from server.options import Options
from server.sampling import resolve_sampler, sampler_spec, table_rule
from server.schemas.txt2img import Txt2ImgRequest


@pytest.mark.parametrize(
    ("name", "scheduler", "sampler", "schedule"),
    [
        ("Euler", None, "Euler", "automatic"),
        ("Euler", "Karras", "Euler", "karras"),
        ("Euler", "karras", "Euler", "karras"),
        ("Euler", "KARRAS", "Euler", "automatic"),
        ("Euler", "automatic", "Euler", "automatic"),
        ("DPM++ 2M Karras", None, "DPM++ 2M", "automatic"),
        ("DPM++ SDE Karras", None, "DPM++ SDE", "automatic"),
        ("DPM++ 2M SDE Karras", None, "DPM++ 2M SDE", "karras"),
        ("DPM++ 2M", "Exponential", "DPM++ 2M", "exponential"),
        ("Euler a Exponential", "Karras", "Euler a", "exponential"),
        ("Euler SGMUniform", None, "Euler", "sgm_uniform"),
        ("Euler SGM Uniform", None, "Euler", "sgm_uniform"),
        ("DDIM", None, "DDIM", "automatic"),
        ("UniPC Karras", None, "UniPC", "karras"),
        ("k_euler", None, "DPM++ 2M", "automatic"),
        ("string", None, "DPM++ 2M", "automatic"),
    ],
)
def test_sampler_names(name: str, scheduler: str | None, sampler: str, schedule: str) -> None:
    found, chosen, warnings = resolve_sampler(name, scheduler)
    assert (found.name, chosen.name) == (sampler, schedule)
    assert bool(warnings) == (name in ("k_euler", "string"))


NAMES = pytest.mark.parametrize("name", [sampler.name for sampler in SAMPLERS])
WORDS = [(word, each.name) for each in SCHEDULES for word in (each.label, each.name, *each.aliases)]


@NAMES
def test_every_sampler_is_found_by_its_name_alone_and_before_every_schedule(name: str) -> None:
    row = next(sampler for sampler in SAMPLERS if sampler.name == name)
    assert resolve_sampler(name, None) == (row, SCHEDULES[0], ())
    for word, schedule in WORDS:
        found, chosen, warnings = resolve_sampler(f"{name} {word}", "beta")
        wanted = "automatic" if schedule == row.default_schedule else schedule
        assert (found, chosen.name, warnings) == (row, wanted, ())


ALIASES = [alias for sampler in SAMPLERS for alias in sampler.aliases]


@pytest.mark.parametrize("alias", [*ALIASES, "euler", "DPM++ 2m", "Sampler that is not there", ""])
def test_an_alias_is_listed_but_means_the_first_sampler(alias: str) -> None:
    """As the reference answers; the fallback is said."""
    found, chosen, warnings = resolve_sampler(alias, None)
    assert found is SAMPLERS[0]
    assert chosen is SCHEDULES[0]
    assert warnings == (f"unknown sampler {alias!r}: used DPM++ 2M",)


def test_there_are_21_aliases_and_none_is_a_name() -> None:
    assert len(set(ALIASES)) == len(ALIASES) == 21
    assert not {sampler.name for sampler in SAMPLERS} & set(ALIASES)


OLD_NAMES = (
    *("Euler a", "Euler", "LMS", "Heun", "DPM2", "DPM2 a", "DPM++ 2S a", "DPM++ 2M", "DPM++ SDE"),
    *("DPM++ 2M SDE", "DPM fast", "DPM adaptive", "LMS Karras", "DPM2 Karras", "DPM2 a Karras"),
    *("DPM++ 2S a Karras", "DPM++ 2M Karras", "DPM++ SDE Karras", "DPM++ 2M SDE Karras", "DDIM"),
    *("PLMS", "UniPC"),
)
"""What webui 1.4 listed."""


@pytest.mark.parametrize("name", OLD_NAMES)
def test_old_names_mean_what_they_meant_where_that_is_asked_for(name: str) -> None:
    sampler, schedule, warnings = resolve_sampler(name, None, old_names=True)
    assert (sampler.name, warnings) == (name.removesuffix(" Karras"), ())
    used = sampler.default_schedule if schedule is SCHEDULES[0] else schedule.name
    expected = "karras" if name.endswith(" Karras") else "uniform"
    assert (used or "uniform") == expected


@pytest.mark.parametrize("name", OLD_NAMES)
def test_old_names_are_accepted_with_the_new_meaning_too(name: str) -> None:
    sampler, _, warnings = resolve_sampler(name, None)
    assert (sampler.name, warnings) == (name.removesuffix(" Karras"), ())
    assert resolve_sampler(name, "Beta", old_names=True) == resolve_sampler(name, "Beta")
    assert resolve_sampler(name, "Automatic", old_names=True) == resolve_sampler(name, "Automatic")


def test_the_old_meaning_is_of_old_names_alone() -> None:
    assert len(OLD_NAMES) == 22
    for sampler in SAMPLERS:
        if sampler.name not in OLD_NAMES:
            alone = resolve_sampler(sampler.name, None)
            assert resolve_sampler(sampler.name, None, old_names=True) == alone


def specified(**fields: Any) -> tuple[SamplerSpec, dict[str, object]]:
    """A request's numbers for its sampler, and what its infotext says about them."""
    request = Txt2ImgRequest.model_validate({"sampler_name": "Euler", **fields})
    options, _ = Options.defaults().with_overrides(request.override_settings or {})
    assert request.sampler_name is not None
    sampler, schedule, _ = resolve_sampler(request.sampler_name, request.scheduler)
    extra: dict[str, object] = {}
    return sampler_spec(request, options, sampler, schedule, extra), extra


def test_eta() -> None:
    assert specified(sampler_name="Euler a")[0].eta == 1.0
    assert specified(sampler_name="DDIM")[0].eta == 0.0
    assert specified(sampler_name="Euler", eta=0.5)[0].eta == 0.0
    told, extra = specified(sampler_name="Euler a", eta=0)
    assert told.eta == 0.0
    assert extra == {"Eta": 0.0}
    assert specified(sampler_name="DDIM", eta=1)[1] == {"Eta DDIM": 1.0}


#: samplers with an ancestral eta, and those on time steps with one
ANCESTRAL = {
    *("DPM++ SDE", "DPM++ 2M SDE", "DPM++ 2M SDE Heun", "DPM++ 2S a", "DPM++ 3M SDE"),
    *("Euler a", "DPM2 a", "DPM fast", "DPM adaptive"),
}
ON_TIMESTEPS = {"DDIM", "DDIM CFG++"}


@NAMES
def test_each_sampler_has_the_eta_of_its_kind(name: str) -> None:
    settings = {"eta_ancestral": 0.25, "eta_ddim": 0.75}
    found, extra = specified(sampler_name=name, override_settings=settings)
    extra.pop("Schedule type", None)
    if name in ANCESTRAL:
        assert (found.eta, extra) == (0.25, {"Eta": 0.25})
    elif name in ON_TIMESTEPS:
        assert (found.eta, extra) == (0.75, {"Eta DDIM": 0.75})
    else:
        assert (found.eta, extra) == (0.0, {})
    asked, _ = specified(sampler_name=name, eta=0.5, override_settings=settings)
    assert asked.eta == (0.5 if name in ANCESTRAL | ON_TIMESTEPS else 0.0)


def test_churn_of_the_request_yields_to_a_changed_setting() -> None:
    asked, extra = specified(s_churn=10, s_tmax=0)
    assert (asked.s_churn, asked.s_tmax) == (10, float("inf"))
    assert extra == {}
    overridden, extra = specified(s_churn=10, override_settings={"s_churn": 15})
    assert overridden.s_churn == 15
    assert extra == {"Sigma churn": 15}
    assert specified(sampler_name="DPM++ 2M", s_churn=10)[0].s_churn == 0


CHURNED = {"Euler", "Heun", "DPM2"}
NOISED = CHURNED | {
    *("DPM fast", "DPM2 a", "DPM++ 2S a", "DPM++ SDE", "DPM++ 2M SDE", "DPM++ 2M SDE Heun"),
    "DPM++ 3M SDE",
}


@NAMES
def test_churn_and_noise_reach_the_samplers_that_the_reference_gives_them_to(name: str) -> None:
    numbers = {"s_churn": 1.5, "s_tmin": 0.5, "s_tmax": 9.0, "s_noise": 1.25}
    plain = SamplerSpec(name=name, schedule="automatic", steps=1)
    found, _ = specified(sampler_name=name, **numbers)
    for number, value in numbers.items():
        taken = name in (NOISED if number == "s_noise" else CHURNED)
        assert getattr(found, number) == (value if taken else getattr(plain, number)), number


def test_settings_are_told_as_they_were_sent() -> None:
    _, extra = specified(override_settings={"s_churn": 15, "s_tmin": 0.1, "s_noise": "1.5"})
    assert list(extra.items()) == [
        ("Sigma churn", 15),
        ("Sigma tmin", 0.1),
        ("Sigma noise", 1.5),
    ]
    assert type(extra["Sigma churn"]) is int


def test_the_schedule_is_told_where_it_is_not_the_models() -> None:
    told, extra = specified(sampler_name="DPM++ SDE")
    assert told.schedule == "karras"
    assert extra == {"Schedule type": "Karras"}
    assert specified(sampler_name="Euler")[1] == {}
    _, ranged = specified(
        scheduler="Karras", override_settings={"sigma_min": 0.1, "sigma_max": 10, "rho": 5}
    )
    assert ranged == {
        "Schedule type": "Karras",
        "Schedule min sigma": 0.1,
        "Schedule max sigma": 10,
        "Schedule rho": 5,
    }


@NAMES
def test_automatic_is_the_sampler_s_own_schedule_or_the_model_s(name: str) -> None:
    defaults = {
        **dict.fromkeys(("DPM++ 2M", "DPM++ SDE", "DPM++ 2S a"), "karras"),
        **dict.fromkeys(("DPM2", "DPM2 a", "Restart"), "karras"),
        **dict.fromkeys(("DPM++ 2M SDE", "DPM++ 2M SDE Heun", "DPM++ 3M SDE"), "exponential"),
    }
    assert specified(sampler_name=name)[0].schedule == defaults.get(name, "automatic")
    chosen, extra = specified(sampler_name=name, scheduler="Beta")
    on_timesteps = name in ("DDIM", "DDIM CFG++", "PLMS", "UniPC")
    assert chosen.schedule == ("automatic" if on_timesteps else "beta")
    assert ("Schedule type" in extra) == (not on_timesteps)


@NAMES
def test_penultimate_sigmas_are_discarded_by_three_and_by_a_setting(name: str) -> None:
    on_timesteps = name in ("DDIM", "DDIM CFG++", "PLMS", "UniPC")
    discards = name in ("DPM++ 3M SDE", "DPM2", "DPM2 a")
    assert specified(sampler_name=name)[0].discard_penultimate == discards
    always = {"always_discard_next_to_last_sigma": True}
    found, extra = specified(sampler_name=name, override_settings=always)
    assert found.discard_penultimate == (discards or not on_timesteps)
    assert extra.get("Discard penultimate sigma", False) == (not discards and not on_timesteps)


def test_unipc_is_of_order_3_by_default() -> None:
    found, extra = specified(sampler_name="UniPC", steps=7)
    assert found == SamplerSpec(name="UniPC", schedule="automatic", steps=7)
    assert (found.unipc_order, found.unipc_bh2, found.unipc_spacing) == (3, False, "time_uniform")
    assert found.unipc_lower_order_final
    assert extra == {}


@pytest.mark.parametrize(
    ("setting", "value", "field", "expected"),
    [
        ("uni_pc_order", 1, "unipc_order", 1),
        ("uni_pc_order", 2, "unipc_order", 2),
        ("uni_pc_order", 0, "unipc_order", 1),
        ("uni_pc_variant", "bh2", "unipc_bh2", True),
        ("uni_pc_variant", "bh1", "unipc_bh2", False),
        ("uni_pc_variant", "nonsense", "unipc_bh2", False),
        ("uni_pc_skip_type", "time_quadratic", "unipc_spacing", "time_quadratic"),
        ("uni_pc_skip_type", "logSNR", "unipc_spacing", "logSNR"),
        ("uni_pc_skip_type", "nonsense", "unipc_spacing", "time_uniform"),
        ("uni_pc_lower_order_final", False, "unipc_lower_order_final", False),
    ],
)
def test_unipc_s_settings(setting: str, value: object, field: str, expected: object) -> None:
    found, extra = specified(sampler_name="UniPC", override_settings={setting: value})
    assert getattr(found, field) == expected
    assert extra == {}, "the reference's infotext does not tell them"


@pytest.mark.parametrize(
    ("changes", "rule", "told"),
    [
        ({}, TableRule(), []),
        ({"sd_noise_schedule": "Default"}, TableRule(), []),
        ({"enable_quantization": True}, TableRule(quantized=True), []),
        (
            {"sd_noise_schedule": "Zero Terminal SNR", "use_downcasted_alpha_bar": True},
            TableRule(half=True, zero_terminal_snr=True),
            [("Downcast alphas_cumprod", True), ("Noise Schedule", "Zero Terminal SNR")],
        ),
    ],
)
def test_settings_change_the_models_noise_levels(
    changes: dict[str, object], rule: TableRule, told: list[tuple[str, object]]
) -> None:
    extra: dict[str, object] = {}
    assert table_rule(Options.defaults().with_overrides(changes)[0], extra) == rule
    assert list(extra.items()) == told


def test_what_changes_the_noise_levels_is_told_before_the_sampler() -> None:
    changes = {"use_downcasted_alpha_bar": True, "eta_ancestral": 0.5}
    spec, extra = specified(sampler_name="Euler a", override_settings=changes)
    assert spec.tables == TableRule(half=True)
    assert list(extra) == ["Downcast alphas_cumprod", "Eta"]
