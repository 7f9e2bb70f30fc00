"""A generation's prompts: what the encoder is given, and what guides each model call."""

from typing import Any

import numpy as np
import pytest
import torch

from pipelines.plan import Encoding, GuidanceSpec
from pipelines.steps import Encode, Predict

from .made import context, contexts, made, named_mean, pixels, recorded
from .toy import CONTRAST, ToyCheckpoint, plan, spec


def test_each_prompt_of_a_batch_is_encoded_once_for_what_it_is() -> None:
    toy = ToyCheckpoint()
    made(plan("x", "x", "x", negative="x"), toy)
    # as a prompt and as a negative one: each is noted with the embeddings it used
    assert len(toy.encoded) == 2


def test_prompts_of_other_lengths_are_filled_with_their_last_vector() -> None:
    long, short = "w " * 80, "cat"
    steps = recorded(plan(long, short, negative="bad"))
    cond, uncond = next(step.rows for step in steps if isinstance(step, Predict))
    assert cond.told.context.shape == (2, 154, 3)
    assert uncond.told.context.shape == (2, 77, 3)
    assert torch.equal(cond.told.context[1, 77:], cond.told.context[1, 76:77].expand(77, 3))
    alone = next(
        step.rows[0] for step in recorded(plan(short)) if isinstance(step, Predict)
    ).told.context[0]
    assert torch.equal(cond.told.context[1, :77], alone)


def test_the_encoding_reaches_prompt_and_encoder() -> None:
    toy = ToyCheckpoint()
    encoding = Encoding(clip_skip=2, emphasis="None", comma_backtrack=0)
    prompt = "(a:1.5) " + "w " * 70 + ", " + "v " * 10
    made(plan(prompt, encoding=encoding), toy)
    _, (ids, clip_skip) = toy.encoded
    assert clip_skip == 2
    assert ids[1] == toy.tokenizer.id("(a:1.5)")
    assert toy.tokenizer.eos not in ids[1:76], "without backtrack the first chunk is full"


def test_tags_of_extra_networks_are_drawn_in_the_negative_prompt_only() -> None:
    tag = "<lora:style:0.8>"
    toy = ToyCheckpoint()
    made(plan("a cat" + tag, negative="bad " + tag), toy)
    (uncond, _), (cond, _) = toy.encoded
    assert cond[1:4] == (toy.tokenizer.id("a"), toy.tokenizer.id("cat"), toy.tokenizer.eos)
    assert uncond[1:3] == (toy.tokenizer.id("bad"), toy.tokenizer.id(tag))


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
    assert [len(step.texts) for step in encodes] == [1, 2]


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
    (uncond, _), _ = toy.encoded
    words = [toy.tokenizer.id(word) for word in ("a", "AND", "b:0.5")]
    assert list(uncond[1:4]) == words


def test_tags_of_extra_networks_leave_every_part() -> None:
    toy = ToyCheckpoint()
    made(plan("cat<lora:x:0.5> AND dog <lora:y:1> :0.3", negative="bad"), toy)
    _, (cat, _), (dog, _) = toy.encoded
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
