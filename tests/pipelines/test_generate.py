"""A generation from top to bottom, its steps answered by the toy checkpoint."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from pipelines.generate import generation, loading
from pipelines.plan import BadPlan, SamplerSpec, Txt2ImgPlan
from pipelines.samplers import SAMPLERS
from pipelines.schedules import schedule_sigmas, timestep_sigmas, unipc_sigmas
from pipelines.steps import Decode, Predict, Step, Use
from pipelines.watch import Watch

from .made import Bench, as_picture, made, named_mean, pixels, recorded, start, watching
from .toy import CONTRAST, ToyCheckpoint, answer, choice, finish, plan, seeds, spec


@pytest.mark.parametrize("prediction", ["epsilon", "v"])
@pytest.mark.parametrize(
    "name", ["Heun", "DPM++ 2M", "DPM++ 2M SDE", "DPM2", "DPM++ 2S a", "DPM++ 3M SDE", "LMS"]
)
def test_latents_follow_the_ode_from_the_seed_s_noise(name: str, prediction: Any) -> None:
    toy = ToyCheckpoint(prediction=prediction)
    sampler = spec(name, steps=60, schedule="karras")
    found = pixels(plan("a cat", first_seed=77, cfg_scale=1.0, sampler=sampler), toy)
    mean, high = named_mean("a cat"), toy.table.high
    expected = mean + (start(77) * high - mean) * (toy.spread / math.hypot(toy.spread, high))
    np.testing.assert_allclose(found, as_picture(expected), atol=0.01)


def test_ddim_follows_the_ode_to_the_first_time_step() -> None:
    toy = ToyCheckpoint()
    sampler = spec("DDIM", steps=500)
    found = pixels(plan("a cat", first_seed=77, cfg_scale=1.0, sampler=sampler), toy)
    sigmas = timestep_sigmas(500, toy.table)
    mean, noised = named_mean("a cat"), start(77) * math.hypot(1, sigmas[0])
    shrunk = math.hypot(toy.spread, sigmas[-1]) / math.hypot(toy.spread, sigmas[0])
    expected = (mean + (noised - mean) * shrunk) / math.hypot(1, sigmas[-1])
    np.testing.assert_allclose(found, as_picture(expected), atol=0.02)


def test_guidance_moves_the_data_s_mean() -> None:
    sampler = spec("Heun", steps=60, schedule="karras")
    found = pixels(plan("a cat", negative="a hen", cfg_scale=2.5, sampler=sampler)).mean()
    plain = pixels(plan("a cat", cfg_scale=1.0, sampler=sampler)).mean()
    cond, uncond = named_mean("a cat"), named_mean("a hen")
    # the noise that is left shrinks as it does without guidance, only the mean moves
    assert abs(cond - uncond) > 0.3
    assert (found - plain) / CONTRAST == pytest.approx(1.5 * (cond - uncond), rel=0.05)


def asked_timesteps(chosen: SamplerSpec, **more: Any) -> list[float]:
    """The time step of every model call."""
    steps = recorded(plan("x", sampler=chosen, **more))
    return [step.rows[0].timestep for step in steps if isinstance(step, Predict)]


ON_SCHEDULE = [s for s in SAMPLERS if not (s.on_timesteps or s.own_steps or s.consistency)]


@pytest.mark.parametrize("sampler", ON_SCHEDULE, ids=lambda sampler: sampler.name)
def test_the_model_is_asked_at_the_schedule_s_sigmas(sampler: Any) -> None:
    table = ToyCheckpoint().table
    chosen = spec(sampler.name, steps=5, schedule="exponential")
    asked = asked_timesteps(chosen)
    expected = [table.timestep(s) for s in schedule_sigmas(chosen, table)[:-1]]
    assert len(asked) == (9 if sampler.second_order else 5)
    assert set(expected) <= set(asked)
    assert asked == sorted(asked, reverse=True)


@pytest.mark.parametrize("name", ["DDIM", "DDIM CFG++", "PLMS"])
def test_samplers_on_time_steps_ask_at_whole_strides(name: str) -> None:
    first = [801.0, 601.0, 601.0] if name == "PLMS" else [801.0, 601.0]
    asked = asked_timesteps(spec(name, steps=5, schedule="exponential"))
    assert asked == pytest.approx([*first, 401.0, 201.0])


@pytest.mark.parametrize("spacing", ["time_uniform", "time_quadratic", "logSNR"])
def test_unipc_asks_at_sigmas_of_its_own(spacing: Any) -> None:
    table = ToyCheckpoint().table
    chosen = spec("UniPC", steps=5, schedule="exponential", unipc_spacing=spacing)
    expected = [table.timestep(sigma) for sigma in unipc_sigmas(chosen, table)[:-1]]
    assert asked_timesteps(chosen) == pytest.approx(expected)
    assert len(expected) == 5


@pytest.mark.parametrize("schedule", ["exponential", "karras"])
@pytest.mark.parametrize("name", ["DPM fast", "DPM adaptive"])
def test_samplers_with_their_own_steps_ask_between_the_model_s_ends(
    name: str, schedule: str
) -> None:
    asked = asked_timesteps(spec(name, steps=6, schedule=schedule, sigma_min=1.0, sigma_max=5.0))
    assert asked[0] == pytest.approx(999.0, abs=0.01)
    assert 0 < asked[-1] < 250
    if name == "DPM fast":
        assert asked == sorted(asked, reverse=True)
        assert len(asked) == 6
    else:
        assert len(asked) % 3 == 0, "whole steps, some of them refused and tried again"


def test_lcm_asks_at_the_time_steps_it_was_distilled_on() -> None:
    distilled = {20.0 * i - 1 for i in range(1, 51)}
    for steps in (1, 4, 8, 50):
        asked = asked_timesteps(spec("LCM", steps=steps))
        assert len(asked) == steps
        assert asked[0] == 999.0
        assert set(asked) <= distilled
    assert set(asked) == distilled


@pytest.mark.parametrize("name", ["Euler", "Heun", "DPM++ SDE"])
def test_progress_counts_the_plan_s_steps_whatever_the_sampler(name: str) -> None:
    wanted = plan("x", cfg_scale=1.0, sampler=spec(name, steps=4))
    watch = watching(wanted)
    seen: list[int] = []
    made(wanted, ToyCheckpoint(before=lambda _: seen.append(watch.progress().step)), watch)
    assert seen == ([0, 1, 2, 3] if name == "Euler" else [0, 1, 1, 2, 2, 3, 3])


def first_input(**numbers: Any) -> Tensor:
    """What the model sees first; unit variance if the noise fits the sigma."""
    steps = recorded(plan("x", first_seed=5, sampler=spec(**numbers)))
    (row, _) = next(step.rows for step in steps if isinstance(step, Predict))
    return row.x.double()


def test_noise_starts_at_the_first_sigma() -> None:
    high = ToyCheckpoint().table.high
    expected = start(5) * (high / math.hypot(1, high))
    torch.testing.assert_close(first_input(), expected, atol=1e-5, rtol=1e-5)


def test_noise_can_start_at_full_variance() -> None:
    found = first_input(sgm_noise_multiplier=True)
    torch.testing.assert_close(found, start(5), atol=1e-5, rtol=1e-5)


def test_a_sampler_on_time_steps_starts_at_unit_variance() -> None:
    torch.testing.assert_close(first_input(name="DDIM"), start(5), atol=1e-5, rtol=1e-5)


def test_the_given_range_is_kept() -> None:
    chosen = spec(steps=3, schedule="karras", sigma_min=0.5, sigma_max=5.0)
    steps = recorded(plan("x", sampler=chosen))
    asked = [step.rows[0].timestep for step in steps if isinstance(step, Predict)]
    table = ToyCheckpoint().table
    assert (asked[0], asked[-1]) == pytest.approx((table.timestep(5.0), table.timestep(0.5)))


def test_the_steps_are_use_encode_predict_decode() -> None:
    steps = recorded(plan("x", "y", "x", batch_size=2))
    kinds = "".join(type(step).__name__[0] for step in steps)
    assert kinds == "U" + "EEE" + "PPPP" + "D" + "U" + "EE" + "PPPP" + "D"
    assert [step.latents.shape[0] for step in steps if isinstance(step, Decode)] == [2, 1]


def test_every_image_has_its_own_prompt() -> None:
    together = pixels(plan("a cat", "a dog", "a cow", first_seed=3))
    for i, prompt in enumerate(("a cat", "a dog", "a cow")):
        alone = pixels(plan(prompt, first_seed=3 + i))
        np.testing.assert_allclose(together[i], alone[0], atol=1e-5)
    assert np.abs(together[0] - together[1]).mean() > 0.05


@pytest.mark.parametrize(
    "name",
    # adaptive steps depend on the batch, as the reference has it
    [sampler.name for sampler in SAMPLERS if sampler.name != "DPM adaptive"],
)
def test_batches_change_nothing_but_rounding(name: str) -> None:
    sampler = spec(name, steps=3, eta=1.0)
    prompts = ["x"] * 3
    one = pixels(plan(*prompts, sampler=sampler, batch_size=1))
    three = pixels(plan(*prompts, sampler=sampler, batch_size=3))
    np.testing.assert_allclose(one, three, atol=1e-5)
    assert np.abs(one[0] - one[1]).mean() > 0.05


def test_images_know_their_place() -> None:
    images = made(plan("a", "b", "c", "d", "e", batch_size=2))
    assert [image.index for image in images] == [0, 1, 2, 3, 4]


def test_the_eta_delta_reaches_the_later_noise() -> None:
    def shifted(delta: int) -> np.ndarray[Any, Any]:
        chosen = seeds(1, eta_delta=delta)
        return pixels(plan("x", seeds=chosen, sampler=spec("Euler a", eta=1.0)))

    assert np.array_equal(shifted(0), shifted(0))
    assert np.abs(shifted(0) - shifted(31337)).mean() > 0.05


@pytest.mark.parametrize(
    ("sampler", "problem"),
    [(spec("Eulr"), "unknown sampler 'Eulr'"), (spec(schedule="kar"), "unknown schedule 'kar'")],
)
def test_a_plan_that_cannot_be_done_says_why(sampler: Any, problem: str) -> None:
    with pytest.raises(BadPlan, match=problem):
        made(plan("x", sampler=sampler))


def stopping(wanted: Txt2ImgPlan, how: str, call: int) -> tuple[list[Any], Watch, ToyCheckpoint]:
    """The pictures of a plan that is stopped while the model answers for the `call`-th time."""
    watch = watching(wanted)
    toy = ToyCheckpoint(before=lambda now: getattr(watch, how)() if now == call else None)
    return [image.pixels for image in made(wanted, toy, watch)], watch, toy


def denoised_after(wanted: Txt2ImgPlan, step: int) -> np.ndarray[Any, Any]:
    """The picture that the newest denoised latents make after so many steps."""
    watch, toy = watching(wanted), ToyCheckpoint()
    stepping = generation(wanted, watch)
    wish = next(stepping)
    while watch.progress().step < step:
        wish = stepping.send(answer(wish, toy))
    return as_picture(watch.denoised)


#: without guidance, so that every forward is one step
LONG = spec("Euler a", steps=6, eta=1.0)


def test_an_interrupt_gives_the_newest_latents_and_no_further_batch() -> None:
    wanted = plan("a", "b", "c", batch_size=1, cfg_scale=1.0, sampler=LONG)
    images, _, toy = stopping(wanted, "interrupt", 3)
    assert len(images) == 1
    assert len(toy.calls) == 3
    np.testing.assert_array_equal(images[0], denoised_after(wanted, 3)[0])


def test_an_interrupt_in_a_later_batch_keeps_the_pictures_before() -> None:
    wanted = plan("a", "b", "c", batch_size=1, cfg_scale=1.0, sampler=LONG)
    images, watch, toy = stopping(wanted, "interrupt", 8)
    assert len(images) == 2
    assert len(toy.calls) == 8
    np.testing.assert_array_equal(images[0], pixels(wanted)[0])
    assert watch.progress().batch == 2


def test_a_skip_ends_one_batch_early_and_goes_on() -> None:
    wanted = plan("a", "b", "c", batch_size=1, cfg_scale=1.0, sampler=LONG)
    images, watch, toy = stopping(wanted, "skip", 2)
    assert len(toy.calls) == 2 + 6 + 6
    np.testing.assert_array_equal(images[0], denoised_after(wanted, 2)[0])
    np.testing.assert_array_equal(images[1:], pixels(wanted)[1:])
    assert (watch.progress().batch, watch.progress().step) == (3, 0)


def test_interrupted_before_it_began_it_makes_nothing() -> None:
    wanted = plan("a")
    watch, toy = watching(wanted), ToyCheckpoint()
    watch.interrupt()
    assert made(wanted, toy, watch) == []
    assert toy.calls == []


def test_interrupted_before_the_first_step_it_gives_the_noise() -> None:
    wanted = plan("a", first_seed=9)
    watch, toy = watching(wanted), ToyCheckpoint()

    def answers(step: Step) -> Any:
        watch.interrupt()
        return answer(step, toy)

    (image,) = finish(generation(wanted, watch), answers).images
    expected = as_picture(start(9) * toy.table.high)
    np.testing.assert_allclose(image.pixels, expected[0], rtol=1e-5)
    assert toy.calls == []


@pytest.mark.parametrize("sampler", SAMPLERS, ids=lambda sampler: sampler.name)
@pytest.mark.parametrize("steps", [1, 2, 25])
def test_every_sampler_makes_a_picture(sampler: Any, steps: int) -> None:
    chosen = spec(sampler.name, steps=steps, schedule="karras", eta=1.0)
    wanted = plan("a [cat|dog] AND a hen:0.4", "(hen:1.2)", sampler=chosen)
    watch = watching(wanted)
    images = made(wanted, watch=watch)
    assert [image.pixels.shape for image in images] == [(16, 32, 3)] * 2
    assert all(np.isfinite(image.pixels).all() for image in images)
    assert watch.progress().batch == 1


def test_a_batch_wears_the_networks_of_its_first_image() -> None:
    styles = [choice("toy", name).networks for name in ("a", "b", "c", "d")]
    bench = Bench(toy=ToyCheckpoint())
    bench.run(plan("a", "b", "c", "d", batch_size=2, networks=tuple(styles)))
    assert bench.used == ["toy+a", "toy+c"]


def test_loading_asks_for_the_model_and_makes_nothing() -> None:
    steps: list[Step] = []
    done = finish(loading(choice("toy", "style")), lambda step: steps.append(step))
    assert done.images == []
    (step,) = steps
    assert isinstance(step, Use)
    assert step.choice == choice("toy", "style")


def test_pictures_from_text_keep_no_latents() -> None:
    assert [image.latents for image in made(plan("a", "b"))] == [None, None]
