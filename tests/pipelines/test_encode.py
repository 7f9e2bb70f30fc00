"""A batch's prompts become what guides it."""

from typing import Any

import torch

from pipelines.encode import Texts, encode_texts, model_calls
from pipelines.guidance import Guidance
from pipelines.plan import GuidanceSpec, Txt2ImgPlan
from pipelines.prompt.editing import Timing
from pipelines.steps import Encode, Step

from .toy import ToyCheckpoint, answer, finish, plan, spec


def encoded(texts: Texts, steps: int = 10, **more: Any) -> tuple[Guidance, list[Encode]]:
    toy, asked = ToyCheckpoint(), []
    wanted: Txt2ImgPlan = plan("unused", **more)

    def note(step: Step) -> Any:
        assert isinstance(step, Encode)
        asked.append(step)
        return answer(step, toy)

    made: Guidance = finish(encode_texts(texts, Timing(steps=steps), wanted, toy.lent()), note)
    return made, asked


def test_second_order_samplers_call_the_model_twice_a_step() -> None:
    assert model_calls(spec("Euler", steps=7)) == 7
    assert model_calls(spec("Heun", steps=7)) == 14


def test_equal_prompts_are_encoded_once() -> None:
    made, asked = encoded(Texts(["a", "a", "b"], ["n", "n", "n"]))
    assert len(asked) == 3
    assert made.conds[0][0].timeline is made.conds[1][0].timeline
    assert made.unconds[0] is made.unconds[2]


def test_stages_of_a_prompt_are_encoded_together() -> None:
    made, asked = encoded(Texts(["[a:b:4] c"], [""]))
    assert [len(step.texts) for step in asked] == [2, 1]
    timeline = made.conds[0][0].timeline
    assert timeline.ends == (4, 10)
    assert not torch.equal(timeline.contexts[0], timeline.contexts[1])
    assert made.calls == 10


def test_parts_keep_their_weights_and_negative_prompts_have_none() -> None:
    made, asked = encoded(Texts(["a AND b:0.5 <lora:x:1>"], ["n AND m"]))
    assert [part.weight for part in made.conds[0]] == [1.0, 0.5]
    assert len(asked) == 3


def test_padding_brings_the_empty_prompt() -> None:
    padded = GuidanceSpec(scale=4.0, pad=True, s_min_uncond=1.5, skip_early=0.2)
    made, asked = encoded(Texts(["a"], ["n"]), guidance=padded)
    assert len(asked) == 3
    assert made.filler is not None
    assert made.filler.shape[:2] == (1, 77)
    assert (made.scale, made.s_min_uncond, made.skip_early) == (4.0, 1.5, 0.2)
    assert encoded(Texts(["a"], ["n"]))[0].filler is None
