"""One pass: from noise, and from latents that are noised part of the way."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from pipelines.effects import Effects
from pipelines.guidance import Guidance, Part, Timeline
from pipelines.guided import Lead
from pipelines.plan import SamplerSpec
from pipelines.sample import Pass, sample
from pipelines.samplers import SAMPLERS
from pipelines.schedules import schedule_sigmas, timestep_sigmas
from pipelines.steps import Conditioning, Predict, Step, Stepping
from pipelines.tables import TableRule
from pipelines.watch import Watch

from .toy import ToyCheckpoint, answer, finish, seeds, spec

CONTEXT = torch.zeros(1, 77, 8)
LATENTS = torch.full((1, 4, 4, 4), 0.25)


def guidance() -> Guidance:
    timeline = Timeline((1000,), (Conditioning(CONTEXT),))
    return Guidance(conds=((Part(timeline, 1.0),),), unconds=(timeline,), scale=1.0, calls=1000)


def lead() -> Lead:
    """Guided by nothing in particular, without asking for it."""

    def guide(traits: Any) -> Stepping[Guidance]:
        yield from ()
        return guidance()

    return Lead(guide=guide)


def sampled(wanted: Pass, answers: Any, watch: Watch, toy: ToyCheckpoint | None = None) -> Any:
    checkpoint = toy or ToyCheckpoint()
    return finish(sample(wanted, lead(), checkpoint.traits, watch, Effects()), answers)


def asked(wanted: Pass) -> tuple[list[float], torch.Tensor, Watch]:
    """The time steps a pass asks about, the first latents it shows the model, and its watch."""
    toy, watch = ToyCheckpoint(), Watch(batch_count=1, steps=1)
    seen: list[Predict] = []

    def note(step: Step) -> Any:
        assert isinstance(step, Predict)
        seen.append(step)
        return answer(step, toy)

    sampled(wanted, note, watch, toy)
    return [step.rows[0].timestep for step in seen], seen[0].rows[0].x, watch


def from_latents(chosen: SamplerSpec, last: int, **more: Any) -> Pass:
    own = {"spec": chosen, "seeds": seeds(1), "width": 32, "height": 32}
    return Pass(**{**own, "latents": LATENTS, "last_steps": last, **more})


def drawn() -> torch.Tensor:
    """The first noise of the passes here."""
    return torch.randn(4, 4, 4, generator=torch.Generator().manual_seed(1))


def test_a_pass_from_latents_runs_the_end_of_its_schedule() -> None:
    chosen = spec("Euler", steps=10, schedule="karras")
    table = ToyCheckpoint().table
    timesteps, first, watch = asked(from_latents(chosen, 4))
    sigmas = schedule_sigmas(chosen, table)
    assert timesteps == pytest.approx([table.timestep(sigma) for sigma in sigmas[6:-1]])
    noised = first * (1 + sigmas[6] ** 2) ** 0.5
    noise = (noised - LATENTS) / sigmas[6]
    assert torch.allclose(noise[0], drawn(), atol=1e-4)
    assert watch.progress().steps == 4
    assert watch.progress().done == 1


def test_time_steps_start_one_level_above_the_first_that_is_asked() -> None:
    chosen = spec("DDIM", steps=10)
    table = ToyCheckpoint().table
    timesteps, first, _ = asked(from_latents(chosen, 4))
    sigmas = timestep_sigmas(10, table)
    # three time steps are left of four steps, and the last of them is where the pass ends
    assert timesteps == pytest.approx([201.0, 101.0])
    start = sigmas[-4]
    preserved = (LATENTS + drawn() * start) / (1 + start**2) ** 0.5
    assert torch.allclose(first[0], preserved[0], atol=1e-4)


def test_the_noise_can_be_multiplied_and_more_of_it_laid_on_top() -> None:
    chosen = spec("Euler", steps=10, schedule="karras")
    sigma = schedule_sigmas(chosen, ToyCheckpoint().table)[6]
    wanted = from_latents(chosen, 4, noise_multiplier=0.5, extra_noise=0.25)
    _, first, _ = asked(wanted)
    # the noise beside is of the multiplied noise, as in the reference
    expected = LATENTS + 0.5 * drawn() * (sigma + 0.25)
    torch.testing.assert_close(first * (1 + sigma**2) ** 0.5, expected, atol=1e-4, rtol=1e-4)


def test_on_time_steps_the_extra_noise_has_the_scale_of_the_latents() -> None:
    chosen = spec("DDIM", steps=10)
    sigma = timestep_sigmas(10, ToyCheckpoint().table)[-4]
    _, first, _ = asked(from_latents(chosen, 4, noise_multiplier=2.0, extra_noise=0.25))
    expected = (LATENTS + 2 * drawn() * (sigma + 0.25)) / (1 + sigma**2) ** 0.5
    torch.testing.assert_close(first, expected, atol=1e-4, rtol=1e-4)


def test_extra_noise_is_none_of_a_pass_from_noise() -> None:
    chosen = spec("Euler", steps=4)
    plain = Pass(spec=chosen, seeds=seeds(1), width=32, height=32)
    more = Pass(spec=chosen, seeds=seeds(1), width=32, height=32, extra_noise=0.5)
    assert torch.equal(asked(plain)[1], asked(more)[1])


@pytest.mark.parametrize("sampler", SAMPLERS, ids=lambda sampler: sampler.name)
def test_every_sampler_goes_on_from_latents(sampler: Any) -> None:
    chosen = spec(sampler.name, steps=12, schedule=sampler.default_schedule or "automatic")
    timesteps, _, watch = asked(from_latents(chosen, 6))
    assert timesteps[0] < 700
    assert min(timesteps) >= 0
    assert watch.progress().done == 1


def test_a_pass_stopped_before_its_first_step_gives_back_its_latents() -> None:
    """Not these with noise on them: a skip may come between the two passes of the hires fix."""
    watch = Watch(batch_count=1, steps=1)
    watch.skip()
    wanted = from_latents(spec("Euler", steps=10), 4)
    found = sampled(wanted, lambda step: pytest.fail("asked the model"), watch)
    assert torch.equal(found, LATENTS)


@pytest.mark.parametrize("name", ["DDIM", "DDIM CFG++", "PLMS", "UniPC"])
def test_one_last_step_on_time_steps_leaves_the_latents_all_but_alone(name: str) -> None:
    toy = ToyCheckpoint()
    wanted = from_latents(spec(name, steps=2), 1)
    watch = Watch(batch_count=1, steps=1)
    latents = sampled(wanted, lambda step: answer(step, toy), watch, toy)
    assert torch.allclose(latents, LATENTS, atol=0.3)
    assert watch.progress().done == 1


def test_settings_of_the_table_reach_the_schedule_and_the_model() -> None:
    chosen = replace(spec("Euler", steps=4), tables=TableRule(zero_terminal_snr=True))
    wanted = Pass(spec=chosen, seeds=seeds(1), width=32, height=32)
    timesteps, first, _ = asked(wanted)
    assert timesteps == pytest.approx([999.0, 666.0, 333.0, 0.0])
    high = chosen.tables.table(ToyCheckpoint().traits.alphas_cumprod.tolist()).high
    assert high > 4000
    assert torch.allclose(first[0], drawn() * high / (1 + high**2) ** 0.5, atol=1e-4)
    whole = replace(chosen, steps=5, tables=TableRule(quantized=True))
    assert all(each == int(each) for each in asked(replace(wanted, spec=whole))[0])
