"""A generation from top to bottom, its steps answered by the toy checkpoint."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from pipelines import conditioning
from pipelines.generate import GeneratedImage, txt2img
from pipelines.plan import BadPlan, Encoding, GuidanceSpec, SamplerSpec, Txt2ImgPlan
from pipelines.prompt.chunks import chunk_prompt
from pipelines.samplers import SAMPLERS
from pipelines.schedules import schedule_sigmas, timestep_sigmas, unipc_sigmas
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
    (empty,) = chunk_prompt("", toy.tokenizer, backtrack=20)
    step = Encode((chunks,), empty, Encoding())
    return float(toy.mean(conditioning.encode(toy.lent(), step)))


def as_picture(latents: Tensor) -> np.ndarray[Any, Any]:
    return ToyCheckpoint().decode(latents).permute(0, 2, 3, 1).numpy()


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
    (ids, clip_skip), _, _ = toy.encoded
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


def contexts(wanted: Txt2ImgPlan) -> list[tuple[Tensor, Tensor]]:
    """The conditional and unconditional context of every model call."""
    rows = [step.rows for step in recorded(wanted) if isinstance(step, Predict)]
    return [(cond.context, uncond.context) for cond, uncond in rows]


def context(prompt: str) -> Tensor:
    """The conditioning [1,L,D] of a prompt that does not change."""
    return contexts(plan(prompt))[0][0]


def test_a_scheduled_prompt_changes_one_call_after_its_step() -> None:
    found = contexts(plan("a [cat:dog:2]", sampler=spec(steps=5)))
    expected = ["a cat"] * 3 + ["a dog"] * 2
    for (cond, _), text in zip(found, expected, strict=True):
        assert torch.equal(cond, context(text))


def test_negative_prompts_are_scheduled_too() -> None:
    found = contexts(plan("x", negative="[cat:dog:0.5]", sampler=spec(steps=4)))
    for (_, uncond), text in zip(found, ["cat"] * 3 + ["dog"], strict=True):
        assert torch.equal(uncond, context(text))


def test_alternatives_take_turns_from_the_second_call_on() -> None:
    found = contexts(plan("[cat|dog]", sampler=spec(steps=4)))
    for (cond, _), text in zip(found, ["cat", "cat", "dog", "cat"], strict=True):
        assert torch.equal(cond, context(text))


def test_a_sampler_of_second_order_counts_two_calls_a_step() -> None:
    heun = contexts(plan("[cat:dog:0.5]", sampler=spec("Heun", steps=3)))
    for (cond, _), text in zip(heun, ["cat"] * 4 + ["dog"], strict=True):
        assert torch.equal(cond, context(text))
    # and a number of steps counts calls, as the reference has it
    heun = contexts(plan("[cat:dog:1]", sampler=spec("Heun", steps=3)))
    for (cond, _), text in zip(heun, ["cat"] * 2 + ["dog"] * 3, strict=True):
        assert torch.equal(cond, context(text))


def test_past_the_last_step_the_first_text_counts_again() -> None:
    # DDIM of 30 steps makes 31 updates less one, PLMS one call more: 31 in all
    found = contexts(plan("[cat:dog:2]", sampler=spec("PLMS", steps=30)))
    assert len(found) == 31
    for call, text in ((0, "cat"), (2, "cat"), (3, "dog"), (30, "dog")):
        assert torch.equal(found[call][0], context(text))
    found = contexts(plan("[cat:dog:2]", sampler=spec("DPM adaptive", steps=4)))
    for (cond, _), text in zip(found[:6], ["cat"] * 3 + ["dog"] * 2 + ["cat"], strict=True):
        assert torch.equal(cond, context(text))


def test_the_old_rule_reaches_the_parser() -> None:
    old = Encoding(old_editing=True)
    found = contexts(plan("[cat:dog:1.0]", encoding=old, sampler=spec(steps=4)))
    for (cond, _), text in zip(found, ["cat"] * 2 + ["dog"] * 2, strict=True):
        assert torch.equal(cond, context(text))


def test_the_texts_of_a_prompt_are_encoded_together_and_each_once() -> None:
    wanted = plan("[cat|dog|cat]", negative="hen", sampler=spec(steps=6))
    encodes = [step for step in recorded(wanted) if isinstance(step, Encode)]
    assert [len(step.texts) for step in encodes] == [2, 1]


def test_texts_of_a_schedule_have_the_length_of_the_longest() -> None:
    long = "w " * 80
    found = contexts(plan(f"[cat:{long}:1]", sampler=spec(steps=4)))
    assert [cond.shape[1] for cond, _ in found] == [154] * 4
    assert torch.equal(found[0][0], torch.cat([context("cat"), context("")], dim=1))


def test_and_asks_for_every_part_of_every_image() -> None:
    found = contexts(plan("a cat AND a dog :0.5", "a hen", negative="bad"))
    for cond, uncond in found:
        assert cond.shape == (3, 77, 3)
        assert uncond.shape == (2, 77, 3)
        for row, text in zip(cond, ("a cat", "a dog", "a hen"), strict=True):
            assert torch.equal(row, context(text)[0])


def weighed(prompt: str, **more: Any) -> np.ndarray[Any, Any]:
    sampler = spec("Heun", steps=60, schedule="karras")
    return pixels(plan(prompt, negative="a hen", sampler=sampler, **more))


def test_and_adds_the_parts_weights() -> None:
    cat, dog, hen = (named_mean(text) for text in ("a cat", "a dog", "a hen"))
    plain = weighed("a hen", cfg_scale=1.0).mean()
    found = (weighed("a cat AND a dog:0.5", cfg_scale=1.5).mean() - plain) / CONTRAST
    assert found == pytest.approx(1.5 * (cat - hen) + 0.75 * (dog - hen), rel=0.05)


def test_a_weight_without_and_scales_the_guidance() -> None:
    np.testing.assert_allclose(
        weighed("a cat :1.5", cfg_scale=2.0), weighed("a cat", cfg_scale=3.0), atol=1e-4
    )


def test_and_in_the_negative_prompt_is_a_word() -> None:
    found = contexts(plan("x", negative="a AND b:0.5"))
    assert found[0][1].shape[0] == 1
    toy = ToyCheckpoint()
    made(plan("x", negative="a AND b:0.5"), toy)
    _, (uncond, _) = toy.encoded
    words = [toy.tokenizer.id(word) for word in ("a", "AND", "b:0.5")]
    assert list(uncond[1:4]) == words


def test_tags_of_extra_networks_leave_every_part() -> None:
    toy = ToyCheckpoint()
    made(plan("cat<lora:x:0.5> AND dog <lora:y:1> :0.3", negative="bad"), toy)
    (cat, _), (dog, _), _ = toy.encoded
    end = toy.tokenizer.eos
    assert cat[1:3] == (toy.tokenizer.id("cat"), end)
    assert dog[1:3] == (toy.tokenizer.id("dog"), end)


def with_guidance(prompt: str, *, steps: int = 4, **numbers: Any) -> list[int]:
    """The number of rows of every model call."""
    chosen = GuidanceSpec(scale=3.0, **numbers)
    wanted = plan(prompt, guidance=chosen, sampler=spec(steps=steps))
    return [len(step.rows) for step in recorded(wanted) if isinstance(step, Predict)]


def test_numbers_of_guidance_reach_it() -> None:
    high = ToyCheckpoint().table.high + 1
    assert with_guidance("x") == [2, 2, 2, 2]
    assert with_guidance("x", s_min_uncond=high) == [2, 1, 2, 1]
    assert with_guidance("x", s_min_uncond=high, s_min_uncond_all=True) == [1, 1, 1, 1]
    assert with_guidance("x", skip_early=0.25) == [1, 1, 2, 2]


def test_the_share_of_early_calls_is_of_twice_the_steps_in_second_order() -> None:
    chosen = GuidanceSpec(scale=3.0, skip_early=0.5)
    wanted = plan("x", guidance=chosen, sampler=spec("Heun", steps=4))
    rows = [len(step.rows) for step in recorded(wanted) if isinstance(step, Predict)]
    assert rows == [1] * 5 + [2] * 2


def test_padding_uses_the_empty_prompt_s_conditioning() -> None:
    long = "w " * 80
    wanted = plan(long, guidance=GuidanceSpec(scale=3.0, pad=True))
    for cond, uncond in contexts(wanted):
        assert cond.shape == uncond.shape == (1, 154, 3)
        assert torch.equal(uncond[:, 77:], context(""))
        assert torch.equal(uncond[:, :77], context("bad"))
    apart = contexts(plan(long))
    assert apart[0][1].shape[1] == 77


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
