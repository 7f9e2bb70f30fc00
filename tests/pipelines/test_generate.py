"""A generation from top to bottom, its steps answered by the toy checkpoint."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from pipelines import conditioning
from pipelines.generate import GeneratedImage, txt2img
from pipelines.plan import BadPlan, Encoding, Txt2ImgPlan
from pipelines.prompt.chunks import chunk_prompt
from pipelines.samplers import SAMPLERS
from pipelines.schedules import schedule_sigmas, timestep_sigmas
from pipelines.steps import Decode, Encode, Predict, Step
from pipelines.watch import Watch

from .toy import CONTRAST, ToyCheckpoint, answer, finish, plan, seeds, spec


def watching(wanted: Txt2ImgPlan) -> Watch:
    return Watch(batch_count=wanted.batch_count, steps=wanted.sampler.steps)


def made(
    wanted: Txt2ImgPlan, toy: ToyCheckpoint | None = None, watch: Watch | None = None
) -> list[GeneratedImage]:
    checkpoint = toy or ToyCheckpoint()
    generation = txt2img(wanted, checkpoint.lent(), watch or watching(wanted))
    images: list[GeneratedImage] = finish(generation, lambda step: answer(step, checkpoint))
    return images


def pixels(wanted: Txt2ImgPlan, toy: ToyCheckpoint | None = None) -> np.ndarray[Any, Any]:
    return np.stack([image.pixels for image in made(wanted, toy)])


def recorded(wanted: Txt2ImgPlan, toy: ToyCheckpoint | None = None) -> list[Step]:
    """The steps that a generation asks for."""
    checkpoint, steps = toy or ToyCheckpoint(), []

    def answers(step: Step) -> Any:
        steps.append(step)
        return answer(step, checkpoint)

    finish(txt2img(wanted, checkpoint.lent(), watching(wanted)), answers)
    return steps


def start(seed: int) -> Tensor:
    """The first noise of a 32 by 16 picture."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn((1, 4, 2, 4), generator=generator).double()


def named_mean(prompt: str) -> float:
    """The mean of the toy's data under a prompt."""
    toy = ToyCheckpoint()
    chunks = chunk_prompt(prompt, toy.tokenizer, backtrack=20)
    step = Encode(chunks, Encoding())
    return float(toy.mean(conditioning.encode(toy.lent(), step)))


def as_picture(latents: Tensor) -> np.ndarray[Any, Any]:
    return ToyCheckpoint().decode(latents).permute(0, 2, 3, 1).numpy()


@pytest.mark.parametrize("prediction", ["epsilon", "v"])
@pytest.mark.parametrize("name", ["Heun", "DPM++ 2M", "DPM++ 2M SDE"])
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


@pytest.mark.parametrize("sampler", SAMPLERS, ids=lambda sampler: sampler.name)
def test_the_model_is_asked_at_the_schedule_s_sigmas(sampler: Any) -> None:
    toy = ToyCheckpoint()
    chosen = spec(sampler.name, steps=5, schedule="exponential")
    rows = [s.rows[0] for s in recorded(plan("x", sampler=chosen)) if isinstance(s, Predict)]
    asked = [row.timestep for row in rows]
    if sampler.on_timesteps:
        assert asked == pytest.approx([801.0, 601.0, 401.0, 201.0])
    else:
        expected = [toy.table.timestep(s) for s in schedule_sigmas(chosen, toy.table)[:-1]]
        assert len(asked) == (9 if sampler.second_order else 5)
        assert set(expected) <= set(asked)
    assert asked == sorted(asked, reverse=True)


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


def test_the_steps_are_encode_predict_decode() -> None:
    steps = recorded(plan("x", "y", "x", batch_size=2))
    kinds = "".join(type(step).__name__[0] for step in steps)
    assert kinds == "EEE" + "PPPP" + "D" + "EE" + "PPPP" + "D"
    assert [step.latents.shape[0] for step in steps if isinstance(step, Decode)] == [2, 1]


def test_each_prompt_of_a_batch_is_encoded_once() -> None:
    toy = ToyCheckpoint()
    made(plan("x", "x", "x", negative="x"), toy)
    assert len(toy.encoded) == 1


def test_every_image_has_its_own_prompt() -> None:
    together = pixels(plan("a cat", "a dog", "a cow", first_seed=3))
    for i, prompt in enumerate(("a cat", "a dog", "a cow")):
        alone = pixels(plan(prompt, first_seed=3 + i))
        np.testing.assert_allclose(together[i], alone[0], atol=1e-5)
    assert np.abs(together[0] - together[1]).mean() > 0.05


@pytest.mark.parametrize("name", ["Euler a", "DPM++ SDE", "DPM++ 2M SDE", "DDIM"])
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


def test_prompts_of_other_lengths_are_filled_with_their_last_vector() -> None:
    long, short = "w " * 80, "cat"
    steps = recorded(plan(long, short, negative="bad"))
    cond, uncond = next(step.rows for step in steps if isinstance(step, Predict))
    assert cond.context.shape == (2, 154, 3)
    assert uncond.context.shape == (2, 77, 3)
    assert torch.equal(cond.context[1, 77:], cond.context[1, 76:77].expand(77, 3))
    alone = next(
        step.rows[0] for step in recorded(plan(short)) if isinstance(step, Predict)
    ).context[0]
    assert torch.equal(cond.context[1, :77], alone)


def test_the_encoding_reaches_prompt_and_encoder() -> None:
    toy = ToyCheckpoint()
    encoding = Encoding(clip_skip=2, emphasis="None", comma_backtrack=0)
    prompt = "(a:1.5) " + "w " * 70 + ", " + "v " * 10
    made(plan(prompt, encoding=encoding), toy)
    (ids, clip_skip), _ = toy.encoded
    assert clip_skip == 2
    assert ids[1] == toy.tokenizer.id("(a:1.5)")
    assert toy.tokenizer.eos not in ids[1:76], "without backtrack the first chunk is full"


def test_tags_of_extra_networks_are_drawn_in_the_negative_prompt_only() -> None:
    tag = "<lora:style:0.8>"
    toy = ToyCheckpoint()
    made(plan("a cat" + tag, negative="bad " + tag), toy)
    (cond, _), (uncond, _) = toy.encoded
    assert cond[1:4] == (toy.tokenizer.id("a"), toy.tokenizer.id("cat"), toy.tokenizer.eos)
    assert uncond[1:3] == (toy.tokenizer.id("bad"), toy.tokenizer.id(tag))


def test_a_checkpoint_for_inpainting_is_refused() -> None:
    with pytest.raises(BadPlan, match=r"'toy' takes 9 channels.*allowed: those that take 4"):
        made(plan("x"), ToyCheckpoint(in_channels=9))


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
    generation = txt2img(wanted, toy.lent(), watch)
    wish = next(generation)
    while watch.progress().step < step:
        wish = generation.send(answer(wish, toy))
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

    images = finish(txt2img(wanted, toy.lent(), watch), answers)
    expected = as_picture(start(9) * toy.table.high)
    np.testing.assert_allclose(images[0].pixels, expected[0], rtol=1e-5)
    assert toy.calls == []
