"""A batch's prompts become what guides it."""

from pathlib import Path
from typing import Any

import pytest
import torch

from models.embeddings.table import Embedding, EmbeddingTable
from pipelines.effects import Effects
from pipelines.encode import Texts, encode_texts, model_calls
from pipelines.guidance import Guidance
from pipelines.plan import Encoding, GuidanceSpec, Txt2ImgPlan
from pipelines.prompt.editing import Timing
from pipelines.steps import Encode, Step

from .toy import WIDTH, ToyCheckpoint, Words, answer, finish, plan, spec


def encoded(
    texts: Texts,
    steps: int = 10,
    *,
    toy: ToyCheckpoint | None = None,
    effects: Effects | None = None,
    calls: int = 10,
    **more: Any,
) -> tuple[Guidance, list[Encode]]:
    checkpoint, asked = toy or ToyCheckpoint(), []
    wanted: Txt2ImgPlan = plan("unused", **more)

    def note(step: Step) -> Any:
        assert isinstance(step, Encode)
        asked.append(step)
        return answer(step, checkpoint)

    timing = Timing(steps=steps)
    stepping = encode_texts(texts, timing, calls, wanted, checkpoint.traits, effects)
    made: Guidance = finish(stepping, note)
    return made, asked


def test_second_order_samplers_call_the_model_twice_a_step() -> None:
    assert model_calls(spec("Euler", steps=7)) == 7
    assert model_calls(spec("Heun", steps=7)) == 14


def test_equal_prompts_are_encoded_once() -> None:
    made, asked = encoded(Texts(["a", "a", "b"], ["n", "n", "n"], 32, 16))
    assert len(asked) == 3
    assert made.conds[0][0].timeline is made.conds[1][0].timeline
    assert made.unconds[0] is made.unconds[2]


def test_stages_of_a_prompt_are_encoded_together() -> None:
    made, asked = encoded(Texts(["[a:b:4] c"], [""], 32, 16))
    assert [len(step.texts) for step in asked] == [1, 2]
    timeline = made.conds[0][0].timeline
    assert timeline.ends == (4, 10)
    assert not torch.equal(*(told.context for told in timeline.told))
    assert made.calls == 10


def test_parts_keep_their_weights_and_negative_prompts_have_none() -> None:
    made, asked = encoded(Texts(["a AND b:0.5 <lora:x:1>"], ["n AND m"], 32, 16))
    assert [part.weight for part in made.conds[0]] == [1.0, 0.5]
    assert len(asked) == 3


def test_padding_brings_the_empty_prompt() -> None:
    padded = GuidanceSpec(scale=4.0, pad=True, s_min_uncond=1.5, skip_early=0.2)
    made, asked = encoded(Texts(["a"], ["n"], 32, 16), guidance=padded)
    assert len(asked) == 3
    assert made.filler is not None
    assert made.filler.shape[:2] == (1, 77)
    assert (made.scale, made.s_min_uncond, made.skip_early) == (4.0, 1.5, 0.2)
    assert encoded(Texts(["a"], ["n"], 32, 16))[0].filler is None


def test_negative_prompts_are_encoded_first() -> None:
    _, asked = encoded(
        Texts(["a", "b"], ["n", "m"], 32, 16), guidance=GuidanceSpec(scale=2.0, pad=True)
    )
    words = [step.texts[0][0].ids[1] for step in asked]
    assert words == [*(Words().id(word) for word in ("n", "m", "a", "b")), Words.eos]


@pytest.mark.parametrize(
    ("sizes", "negative", "positive"),
    [
        (None, (), ()),
        ("sizes", (16, 32, 3, 4, 16, 32), (16, 32, 3, 4, 16, 32)),
        ("score", (16, 32, 3, 4, 1.5), (16, 32, 3, 4, 7.5)),
    ],
)
def test_sdxl_is_told_size_crop_and_looks(
    sizes: Any, negative: tuple[float, ...], positive: tuple[float, ...]
) -> None:
    encoding = Encoding(crop=(3, 4), scores=(1.5, 7.5))
    texts = Texts(["a"], ["n"], width=32, height=16)
    _, asked = encoded(texts, toy=ToyCheckpoint(sizes=sizes), encoding=encoding)
    assert [step.numbers for step in asked] == [negative, positive]


@pytest.mark.parametrize(
    ("sizes", "negative", "nothing"),
    [("sizes", "", True), ("score", "", True), (None, "", False), ("sizes", "n", False)],
)
def test_sdxl_is_guided_away_from_zeros_where_the_negative_prompt_is_empty(
    sizes: Any, negative: str, nothing: bool
) -> None:
    """So the reference; a prompt that is empty is encoded as any other."""
    texts = Texts([""], [negative], width=32, height=16)
    _, asked = encoded(texts, toy=ToyCheckpoint(sizes=sizes))
    assert [step.nothing for step in asked] == [nothing, False]


def test_a_negative_prompt_with_any_text_in_its_course_is_encoded() -> None:
    texts = Texts(["a"], ["[:n:4]"], width=32, height=16)
    _, asked = encoded(texts, toy=ToyCheckpoint(sizes="sizes"))
    assert [len(step.texts) for step in asked] == [2, 1]
    assert not any(step.nothing for step in asked)


def test_calls_are_those_of_the_pass_and_not_those_that_prompts_are_timed_by() -> None:
    made, _ = encoded(Texts(["[a:b:0.5]"], [""], 32, 16), steps=10, calls=4)
    assert made.calls == 4
    assert made.conds[0][0].timeline.ends == (5, 10)


def embedding(name: str, code: str | None = "0" * 12, count: int = 2) -> Embedding:
    tensors = (torch.full((count, WIDTH), float(len(name))),)
    return Embedding(name=name, path=Path(f"/{name}.pt"), tensors=tensors, short_hash=code)


def with_embeddings(*embeddings: Embedding) -> ToyCheckpoint:
    return ToyCheckpoint(embeddings=EmbeddingTable(embeddings, (WIDTH,), Words().encode))


STYLES = tuple(embedding(name, code * 12) for name, code in (("style", "a"), ("neg", "b")))


def test_an_embedding_s_vectors_reach_the_encoder() -> None:
    toy = with_embeddings(*STYLES)
    encoded(Texts(["a style cat"], ["neg"], 32, 16), toy=toy)
    ((row,), (other,)) = toy.inserted
    ((position, vectors),) = other
    assert position == 2
    assert torch.equal(vectors, STYLES[0].tensors[0])
    assert [place for place, _ in row] == [1]
    assert toy.encoded[1][0][:6] == (
        Words.bos,
        *(Words().id("a"), 0, 0, Words().id("cat")),
        Words.eos,
    )


def test_embeddings_are_noted_newest_first_each_prompt_once() -> None:
    effects = Effects()
    toy = with_embeddings(*STYLES)
    texts = Texts(["style one", "style two AND neg", "style one"], ["neg", "neg"], 32, 16)
    encoded(texts, toy=toy, effects=effects)
    style, neg = ("style", "a" * 12), ("neg", "b" * 12)
    # encoded in this order: the negative prompt, "style one", "style two", "neg" as a prompt
    assert list(effects.embeddings) == [neg, style, style, neg]
    # a second batch, or another model in the same pass, encodes the same again
    encoded(texts, toy=toy, effects=effects)
    assert len(effects.embeddings) == 4
    encoded(Texts(["neg style"], ["new neg"], 32, 16), toy=toy, effects=effects)
    assert list(effects.embeddings) == [neg, style, neg, neg, style, style, neg]


def test_the_embeddings_of_one_prompt_keep_its_order_and_need_a_hash() -> None:
    effects = Effects()
    unhashed = embedding("plain", None)
    texts = Texts(["plain neg and style and neg"], ["cat"], 32, 16)
    encoded(texts, toy=with_embeddings(*STYLES, unhashed), effects=effects)
    assert effects.embeddings == (("neg", "b" * 12), ("style", "a" * 12))


def test_a_pass_that_notes_nothing_leaves_no_trace() -> None:
    made, _ = encoded(Texts(["style"], ["neg"], 32, 16), toy=with_embeddings(*STYLES), effects=None)
    assert len(made.conds) == 1


@pytest.mark.parametrize(
    ("prompt", "noted"),
    [("(a:1.2)", True), ("[a]", True), ("a", False), ("[a:b:3]", False), ("[a:(b):3]", True)],
)
def test_brackets_of_emphasis_are_noted_in_what_is_left_of_editing(
    prompt: str, noted: bool
) -> None:
    for texts in (Texts([prompt], ["n"], 32, 16), Texts(["p"], [prompt], 32, 16)):
        effects = Effects()
        encoded(texts, effects=effects)
        assert effects.emphasised is noted
