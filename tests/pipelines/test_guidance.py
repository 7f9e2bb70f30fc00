"""Guidance: from a sampler's wishes to rows of the model, and back to one latent."""

import math
from collections.abc import Generator, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from pipelines.denoiser import Denoiser
from pipelines.effects import Effects
from pipelines.guidance import Guidance, Part, Timeline
from pipelines.guided import Course, Lead, Stopped, guided
from pipelines.steps import Conditioning, Denoise, DenoiseApart, Predict, Sampling, Stepping
from pipelines.watch import PreviewContent, Watch

from .toy import Gaussian, ToyCheckpoint, finish, sd1_table

TABLE = sd1_table()
X = torch.linspace(-3, 3, 16).reshape(1, 4, 2, 2)
COND, UNCOND = torch.full((1, 77, 3), 2.0), torch.full((1, 154, 3), -1.0)
DENOISER = Denoiser(table=TABLE, prediction="epsilon")


def always(context: Tensor) -> Timeline:
    return Timeline((99,), (Conditioning(context),))


def saying(number: float, chunks: int = 1) -> Timeline:
    """Conditioning that makes `by_context`'s model answer with this noise."""
    return always(torch.full((1, 77 * chunks, 3), float(number)))


def part(number: float, weight: float = 1.0, chunks: int = 1) -> Part:
    return Part(saying(number, chunks), weight)


def steps(*sigmas: float, x: Tensor = X) -> Sampling:
    """A sampler that asks about x and returns the sum of all answers."""
    total = torch.zeros_like(x)
    for sigma in sigmas:
        total = total + (yield Denoise(x, sigma))
    return total


def course(guidance: Guidance, order: int = 1) -> Course:
    """Led by one guidance, on whatever model."""

    def guide(traits: Any) -> Stepping[Guidance]:
        yield from ()
        return guidance

    return Course(lead=Lead(guide=guide), denoiser=lambda traits: DENOISER, order=order)


def guide(
    scale: float, *sigmas: float, watch: Watch | None = None, order: int = 1, **more: Any
) -> Generator[Any, Any, Tensor]:
    guidance = Guidance(
        conds=((Part(always(COND), 1.0),),),
        unconds=(always(UNCOND),),
        scale=scale,
        calls=len(sigmas),
        **more,
    )
    watching = watch or Watch(batch_count=1, steps=9)
    traits = ToyCheckpoint().traits
    return guided(steps(*sigmas), course(guidance, order), traits, watching, Effects())


def by_context(step: Any) -> tuple[Tensor, ...]:
    """A model whose noise is all its context's number."""
    return tuple(row.x * 0 + row.told.context[:, 0, 0].view(-1, 1, 1, 1) for row in step.rows)


@pytest.mark.parametrize("scale", [0.0, 3.5, 7.0, 15.0, -1.0])
def test_guidance_goes_from_uncond_past_cond(scale: float) -> None:
    found = finish(guide(scale, 0.5), by_context)
    cond, uncond = X - 0.5 * 2.0, X - 0.5 * -1.0
    torch.testing.assert_close(found, uncond + scale * (cond - uncond))


def test_both_parts_are_asked_for_at_once_and_in_order() -> None:
    asked: list[Any] = []

    def answers(step: Any) -> tuple[Tensor, ...]:
        asked.append(step)
        return by_context(step)

    finish(guide(2.0, 5.0, 1.0), answers)
    for step in asked:
        cond, uncond = (row.told.context for row in step.rows)
        assert torch.equal(cond, COND)
        assert torch.equal(uncond, UNCOND)
    assert len(asked) == 2
    assert [row.timestep for row in asked[0].rows] == pytest.approx([TABLE.timestep(5.0)] * 2)


def test_at_scale_1_the_negative_prompt_is_not_asked_for() -> None:
    asked: list[int] = []

    def answers(step: Any) -> tuple[Tensor, ...]:
        asked.append(len(step.rows))
        return by_context(step)

    torch.testing.assert_close(finish(guide(1.0, 0.5), answers), X - 0.5 * 2.0)
    assert asked == [1]


@pytest.mark.parametrize(
    ("order", "calls", "expected"),
    [(1, 3, [1, 2, 3]), (2, 5, [1, 1, 2, 2, 3])],
)
def test_the_watch_counts_steps_not_calls(order: int, calls: int, expected: Sequence[int]) -> None:
    watch, seen = Watch(batch_count=1, steps=9), []
    sampling = guide(2.0, *[1.0] * calls, watch=watch, order=order)
    step = next(sampling)
    with pytest.raises(StopIteration):
        for _ in range(calls):
            seen.append(watch.progress().step)
            step = sampling.send(by_context(step))
    assert [*seen[1:], watch.progress().step] == expected


@pytest.mark.parametrize(
    ("content", "number"), [("Combined", None), ("Prompt", 2.0), ("Negative prompt", -1.0)]
)
def test_a_preview_shows_the_guided_picture_or_a_half_of_what_guides(
    content: PreviewContent, number: float | None
) -> None:
    watch = Watch(batch_count=1, steps=9)
    watch.begin_plan(batch_count=1, passes=1, steps=9, preview_every=1, preview_content=content)
    sampling = guide(3.0, 0.5, 0.5, watch=watch)
    step = next(sampling)
    sampling.send(by_context(step))
    guided_picture = X - 0.5 * (-1.0 + 3.0 * (2.0 - -1.0))
    torch.testing.assert_close(watch.denoised, guided_picture)
    half = guided_picture if number is None else X - 0.5 * number
    torch.testing.assert_close(watch.looked_at, half)


def test_the_watch_holds_the_newest_guided_denoised() -> None:
    watch = Watch(batch_count=1, steps=9)
    sampling = guide(3.0, 0.5, 0.25, watch=watch)
    sampling.send(by_context(next(sampling)))
    cond, uncond = X - 0.5 * 2.0, X + 0.5
    torch.testing.assert_close(watch.denoised, uncond + 3 * (cond - uncond))


@pytest.mark.parametrize("how", ["interrupt", "skip"])
def test_a_stop_is_heeded_before_the_next_call(how: str) -> None:
    watch = Watch(batch_count=1, steps=9)
    sampling = guide(2.0, 4.0, 2.0, 1.0, watch=watch)
    step = next(sampling)
    step = sampling.send(by_context(step))
    getattr(watch, how)()
    with pytest.raises(Stopped):
        sampling.send(by_context(step))
    assert watch.progress().step == 2


def test_a_stop_before_the_first_call_asks_for_nothing() -> None:
    watch = Watch(batch_count=1, steps=9)
    watch.interrupt()
    with pytest.raises(Stopped):
        next(guide(2.0, 4.0, watch=watch))
    assert watch.denoised is None


def test_a_stop_after_the_last_call_changes_nothing() -> None:
    watch = Watch(batch_count=1, steps=9)
    sampling = guide(1.0, 0.5, watch=watch)
    step = next(sampling)
    watch.interrupt()
    with pytest.raises(StopIteration) as end:
        sampling.send(by_context(step))
    torch.testing.assert_close(end.value.value, X - 1.0)


def test_a_sampler_without_steps_returns_at_once() -> None:
    with pytest.raises(StopIteration) as end:
        next(guide(2.0))
    assert torch.equal(end.value.value, torch.zeros_like(X))


def test_an_exact_model_gives_the_exact_denoised() -> None:
    data = Gaussian()

    def model(step: Any) -> tuple[Tensor, ...]:
        return tuple((row.x * math.hypot(1, 2.0) - X_0) / 2.0 for row in step.rows)

    X_0 = data.denoised(X, 2.0)  # noqa: N806  # the paper's letter
    torch.testing.assert_close(finish(guide(7.0, 2.0), model), X_0, atol=1e-5, rtol=1e-5)


def lengths(**more: Any) -> list[tuple[int, ...]]:
    """The rows of each call: how many latents, or 0 for none."""
    return [tuple(row.x.shape[0] for row in step.rows) for step in calls(**more)]


def calls(
    images: Sequence[Sequence[Part]] = ((part(2.0),),),
    *,
    unconds: Sequence[Timeline] | None = None,
    sigmas: Sequence[float] = (0.5,),
    scale: float = 3.0,
    x: Tensor | None = None,
    **more: Any,
) -> list[Predict]:
    return run(images, unconds=unconds, sigmas=sigmas, scale=scale, x=x, **more)[1]


def run(
    images: Sequence[Sequence[Part]],
    *,
    unconds: Sequence[Timeline] | None = None,
    sigmas: Sequence[float] = (0.5,),
    scale: float = 3.0,
    x: Tensor | None = None,
    sampling: "Sampling | None" = None,
    effects: Effects | None = None,
    **more: Any,
) -> tuple[Any, list[Predict]]:
    """What guided sampling returns, and what it asked the model for."""
    latents = torch.cat([X + i for i in range(len(images))]) if x is None else x
    guidance = Guidance(
        conds=tuple(tuple(image) for image in images),
        unconds=tuple(unconds or [saying(-1.0)] * len(images)),
        scale=scale,
        **{"calls": len(sigmas), **more},
    )
    asked: list[Predict] = []

    def answers(step: Any) -> tuple[Tensor, ...]:
        asked.append(step)
        return by_context(step)

    watch = Watch(batch_count=1, steps=99)
    sampler = sampling or steps(*sigmas, x=latents)
    traits = ToyCheckpoint().traits
    stepping = guided(sampler, course(guidance), traits, watch, effects or Effects())
    return finish(stepping, answers), asked


def test_parts_are_added_by_weight_to_the_uncond() -> None:
    found, _ = run([[part(2.0, 1.5), part(5.0, -0.5)]], scale=4.0)
    uncond = X - 0.5 * -1.0
    expected = uncond + 4 * 1.5 * (X - 0.5 * 2.0 - uncond) - 4 * 0.5 * (X - 0.5 * 5.0 - uncond)
    torch.testing.assert_close(found, expected)


def test_images_of_a_batch_may_have_any_numbers_of_parts() -> None:
    images = [[part(2.0)], [part(3.0), part(4.0, 0.5), part(5.0, 2.0)], [part(6.0), part(7.0)]]
    unconds = [saying(-1.0), saying(-2.0), saying(-3.0)]
    together, asked = run(images, unconds=unconds)
    assert [row.x.shape[0] for row in asked[0].rows] == [6, 3]
    for i, image in enumerate(images):
        alone, _ = run([image], unconds=[unconds[i]], x=X + i)
        torch.testing.assert_close(together[i : i + 1], alone)
    weights = [p.weight for p in images[1]]
    uncond = X + 1 - 0.5 * -2.0
    wanted = uncond + sum(
        3.0 * w * ((X + 1 - 0.5 * n) - uncond) for w, n in zip(weights, (3, 4, 5), strict=True)
    )
    torch.testing.assert_close(together[1:2], wanted)


def test_every_part_is_asked_about_its_own_image() -> None:
    _, (step,) = run([[part(2.0)], [part(3.0), part(4.0)]])
    cond, uncond = step.rows
    scaled = math.hypot(1, 0.5)
    torch.testing.assert_close(cond.x * scaled, torch.cat([X, X + 1, X + 1]))
    torch.testing.assert_close(uncond.x * scaled, torch.cat([X, X + 1]))
    assert cond.told.context[:, 0, 0].tolist() == [2.0, 3.0, 4.0]


@pytest.mark.parametrize(
    ("images", "alone"),
    [
        ([[part(2.0)]], True),
        ([[part(2.0, 0.25), part(4.0, 0.75)]], True),
        ([[part(2.0, 1.2)]], False),
        ([[part(2.0), part(4.0)]], False),
        ([[part(2.0)], [part(2.0, 0.5)]], False),
    ],
)
def test_the_uncond_is_left_out_at_scale_1_only_where_it_has_no_weight(
    images: list[list[Part]], alone: bool
) -> None:
    found, (step,) = run(images, scale=1.0)
    assert len(step.rows) == (1 if alone else 2)
    for i, image in enumerate(images):
        uncond = X + i + 0.5
        expected = uncond + sum(
            p.weight * (X + i - 0.5 * float(p.timeline.told[0].context[0, 0, 0]) - uncond)
            for p in image
        )
        torch.testing.assert_close(found[i : i + 1], expected)


def test_ngms_leaves_the_uncond_out_of_odd_calls_below_its_sigma() -> None:
    sigmas = (3.0, 2.5, 1.9, 1.5, 1.0, 0.9, 0.5)
    asked = lengths(sigmas=sigmas, s_min_uncond=2.0)
    assert [len(rows) for rows in asked] == [2, 2, 2, 1, 2, 1, 2]
    asked = lengths(sigmas=sigmas, s_min_uncond=2.0, s_min_uncond_all=True)
    assert [len(rows) for rows in asked] == [2, 2, 1, 1, 1, 1, 1]


def test_ngms_is_off_at_its_own_sigma_and_at_0() -> None:
    assert lengths(sigmas=(2.0, 2.0), s_min_uncond=2.0) == [(1, 1)] * 2
    assert lengths(sigmas=(2.0, 1e-9), s_min_uncond_all=True) == [(1, 1)] * 2


def test_a_call_without_uncond_gives_the_conditional_answer() -> None:
    found, _ = run([[part(2.0)]], s_min_uncond=9.0, s_min_uncond_all=True)
    torch.testing.assert_close(found, X - 0.5 * 2.0)


def test_without_uncond_the_first_part_stands_in_for_it() -> None:
    parts = [part(2.0, 0.5), part(4.0, 0.75)]
    found, _ = run([parts], scale=3.0, s_min_uncond=9.0, s_min_uncond_all=True)
    first, second = X - 0.5 * 2.0, X - 0.5 * 4.0
    torch.testing.assert_close(found, first + 3.0 * 0.75 * (second - first))


@pytest.mark.parametrize(
    ("share", "calls", "skipped"), [(0.0, 4, 0), (0.3, 10, 4), (0.5, 4, 3), (0.05, 4, 1)]
)
def test_the_first_share_of_calls_can_go_without_uncond(
    share: float, calls: int, skipped: int
) -> None:
    asked = lengths(sigmas=[5.0] * calls, skip_early=share)
    assert [len(rows) for rows in asked] == [1] * skipped + [2] * (calls - skipped)


def test_the_share_is_of_all_calls_not_of_those_made() -> None:
    asked = lengths(sigmas=[5.0] * 4, skip_early=0.2, calls=10)
    assert [len(rows) for rows in asked] == [1, 1, 1, 2]


FILLER = torch.arange(77.0).reshape(1, 77, 1).expand(1, 77, 3) / 100


@pytest.mark.parametrize(("cond", "uncond"), [(1, 1), (1, 3), (3, 1), (2, 3)])
def test_the_shorter_one_is_lengthened_by_empty_chunks(cond: int, uncond: int) -> None:
    parts = [[part(2.0, chunks=cond)], [part(3.0)]]
    unconds = [saying(-1.0, uncond), saying(-2.0)]
    _, (step,) = run(parts, unconds=unconds, filler=FILLER)
    longest = max(cond, uncond)
    assert [row.told.context.shape for row in step.rows] == [(2, 77 * longest, 3)] * 2
    for row, chunks, number in zip(step.rows, (cond, uncond), (2.0, -1.0), strict=True):
        own, filled = (
            row.told.context[0, : 77 * chunks],
            row.told.context[:, 77 * chunks :],
        )
        assert torch.equal(own, torch.full_like(own, number))
        assert torch.equal(filled, FILLER.repeat(2, longest - chunks, 1))


def test_without_a_filler_the_two_keep_their_lengths() -> None:
    _, (step,) = run([[part(2.0, chunks=3)]])
    assert [row.told.context.shape[1] for row in step.rows] == [231, 77]


def test_shorter_parts_are_lengthened_by_their_last_vector() -> None:
    short = torch.arange(77.0).reshape(1, 77, 1).expand(1, 77, 3)
    parts = [[Part(always(short), 1.0)], [part(9.0, chunks=2), part(8.0)]]
    unconds = [always(short), saying(-1.0, 3)]
    _, (step,) = run(parts, unconds=unconds)
    cond, uncond = (row.told.context for row in step.rows)
    assert cond.shape == (3, 154, 3)
    assert uncond.shape == (2, 231, 3)
    for context in (cond[0], uncond[0]):
        assert torch.equal(context[:77], short[0])
        assert torch.equal(context[77:], torch.full_like(context[77:], 76.0))
    assert torch.equal(cond[2], torch.full((154, 3), 8.0))


def stages(*pairs: tuple[int, float]) -> Timeline:
    ends, numbers = zip(*pairs, strict=True)
    return Timeline(ends, tuple(Conditioning(torch.full((1, 77, 3), number)) for number in numbers))


@pytest.mark.parametrize(
    ("call", "number"), [(0, 1.0), (3, 1.0), (4, 2.0), (7, 2.0), (8, 3.0), (10, 3.0), (11, 1.0)]
)
def test_a_timeline_s_text_lasts_one_call_longer_than_its_steps(call: int, number: float) -> None:
    line = stages((3, 1.0), (7, 2.0), (10, 3.0))
    assert line.at(call).context[0, 0, 0].item() == number


def test_texts_change_at_their_calls_on_both_sides() -> None:
    cond, uncond = stages((2, 1.0), (9, 2.0)), stages((1, -1.0), (3, -2.0), (9, -3.0))
    _, asked = run([[Part(cond, 1.0)]], unconds=[uncond], sigmas=[1.0] * 6)
    numbers = [tuple(row.told.context[0, 0, 0].item() for row in step.rows) for step in asked]
    assert numbers == [(1, -1), (1, -1), (1, -2), (2, -2), (2, -3), (2, -3)]


def apart(scale: float) -> Sampling:
    """A sampler that asks for the unconditional latents apart and returns both."""
    denoised, uncond = yield DenoiseApart(X, 0.5, scale)
    return torch.stack([denoised, uncond])


def test_apart_the_uncond_is_given_too_and_guidance_scaled() -> None:
    found, _ = run([[part(2.0)]], scale=5.0, sampling=apart(0.1), calls=1)
    cond, uncond = X - 0.5 * 2.0, X + 0.5
    torch.testing.assert_close(found, torch.stack([uncond + 0.5 * (cond - uncond), uncond]))


@pytest.mark.parametrize("more", [{"scale": 1.0}, {"s_min_uncond": 9.0, "s_min_uncond_all": True}])
def test_apart_the_uncond_is_never_left_out(more: dict[str, Any]) -> None:
    _, asked = run([[part(2.0)]], sampling=apart(0.1), calls=1, **more)
    assert [len(step.rows) for step in asked] == [2]


def seen(**more: Any) -> tuple[bool, bool, bool]:
    """What a pass notes: skipped early, skipped at a small sigma, padded."""
    effects = Effects()
    images = more.pop("images", [[part(2.0)]])
    run(images, **more, effects=effects)
    return effects.skipped_early, effects.skipped_small_sigma, effects.padded


def test_a_pass_that_leaves_nothing_out_notes_nothing() -> None:
    assert seen(sigmas=(2.0, 1.0)) == (False, False, False)
    # nothing is skipped at scale 1: there is nothing to leave out
    assert seen(sigmas=(2.0, 1.0), scale=1.0) == (False, False, False)


def test_skips_are_noted_by_their_reason() -> None:
    assert seen(sigmas=(2.0, 1.0), skip_early=0.1) == (True, False, False)
    assert seen(sigmas=(2.0, 1.0), s_min_uncond=1.5) == (False, True, False)
    assert seen(sigmas=(2.0, 1.0, 1.0), skip_early=0.1, s_min_uncond=1.5) == (True, True, False)


def test_a_skip_that_never_came_about_is_not_noted() -> None:
    # the even call is not skipped, and the odd one has too much noise
    assert seen(sigmas=(1.9, 2.5), s_min_uncond=2.0) == (False, False, False)
    assert seen(sigmas=(2.0, 2.0), s_min_uncond=2.0) == (False, False, False)


@pytest.mark.parametrize(("cond", "uncond", "noted"), [(1, 1, False), (2, 1, True), (1, 3, True)])
def test_padding_is_noted_only_where_it_happened(cond: int, uncond: int, noted: bool) -> None:
    images, unconds = [[part(2.0, chunks=cond)]], [saying(-1.0, uncond)]
    assert seen(images=images, unconds=unconds, filler=FILLER)[2] is noted
    assert seen(images=images, unconds=unconds)[2] is False


@pytest.mark.parametrize(("cond", "uncond"), [(1, 3), (3, 1)])
def test_matching_cuts_or_lengthens_the_unconditional_context_and_goes_before_filling(
    cond: int, uncond: int
) -> None:
    unseen = torch.arange(77.0 * uncond).reshape(1, -1, 1).expand(1, -1, 3)
    effects = Effects()
    images, unconds = [[part(2.0, chunks=cond)]], [always(unseen)]
    _, (step,) = run(images, unconds=unconds, match=True, filler=FILLER, effects=effects)
    assert [row.told.context.shape[1] for row in step.rows] == [77 * cond] * 2
    assert step.rows[1].told.context[0, -1, 0] == min(77 * cond, 77 * uncond) - 1
    assert (effects.matched, effects.padded) == (True, False)


@pytest.mark.parametrize(("cond", "uncond"), [(1, 1), (1, 3), (3, 1), (2, 3)])
def test_the_uncond_can_be_brought_to_the_cond_s_length(cond: int, uncond: int) -> None:
    """Cut off, or its last vector repeated; no filler is used then."""
    effects = Effects()
    numbers = torch.arange(77.0 * uncond).reshape(1, 77 * uncond, 1).expand(1, -1, 3)
    _, (step,) = run(
        [[part(2.0, chunks=cond)]],
        unconds=[always(numbers)],
        filler=FILLER,
        match=True,
        effects=effects,
    )
    kept, brought = (row.told.context for row in step.rows)
    assert kept.shape == brought.shape == (1, 77 * cond, 3)
    assert torch.equal(kept, torch.full_like(kept, 2.0))
    shared = 77 * min(cond, uncond)
    assert torch.equal(brought[:, :shared], numbers[:, :shared])
    assert torch.equal(brought[:, shared:], numbers[:, -1:].expand(1, 77 * cond - shared, 3))
    assert (effects.matched, effects.padded) == (cond != uncond, False)
