"""Another model takes over on the way: when, led by what, and in which passes."""

from typing import Any

import pytest
import torch
from torch import Tensor

from pipelines.plan import Encoding, GuidanceSpec, HiresRefiner, Refining, Txt2ImgPlan
from pipelines.schedules import schedule_sigmas, timestep_sigmas
from pipelines.steps import Encode, Predict
from pipelines.watch import Watch

from .made import Bench, made, start
from .test_hires import hires_pass
from .toy import ToyCheckpoint, choice, plan, spec


class Foreign(ToyCheckpoint):
    """A toy with an encoder of its own."""

    def encode_tokens(self, ids: Tensor, clip_skip: int, inserted: Any = ()) -> Tensor:
        return -super().encode_tokens(ids, clip_skip, inserted)


def refined(at: float | None, **more: Any) -> Refining:
    return Refining(model=choice("other"), at=at, **more)


def ran(wanted: Txt2ImgPlan) -> Bench:
    bench = Bench(toy=ToyCheckpoint(), other=Foreign(bias=0.5))
    bench.run(wanted)
    return bench


def turns(wanted: Txt2ImgPlan) -> list[str]:
    """Which model answered each call."""
    return [used for used, _ in ran(wanted).asked(Predict)]


@pytest.mark.parametrize("at", [0.0, 0.2, 0.5, 0.8, 0.95, 1.0])
@pytest.mark.parametrize("schedule", ["karras", "automatic"])
def test_the_switch_goes_by_the_share_of_the_noise_levels(at: float, schedule: str) -> None:
    chosen = spec(steps=10, schedule=schedule)
    table = ToyCheckpoint().table
    places = [table.nearest(sigma) for sigma in schedule_sigmas(chosen, table)[:-1]]
    expected = ["other" if (999 - place) / 1000 >= at else "toy" for place in places]
    assert turns(plan("x", sampler=chosen, refiner=refined(at))) == expected


def test_the_shares_of_levels_and_of_steps_are_not_the_same() -> None:
    """Karras' schedule is through nine tenths of the levels after seven of ten steps."""
    chosen = spec(steps=10, schedule="karras")
    found = turns(plan("x", sampler=chosen, refiner=refined(0.9)))
    assert found == ["toy"] * 7 + ["other"] * 3
    by_steps = turns(plan("x", sampler=chosen, refiner=refined(0.9, by_steps=True)))
    assert by_steps == ["toy"] * 9 + ["other"]


@pytest.mark.parametrize(("at", "before"), [(0.0, 0), (0.3, 3), (0.31, 4), (0.9, 9), (1.0, 10)])
def test_the_switch_can_go_by_the_share_of_the_steps(at: float, before: int) -> None:
    found = turns(plan("x", sampler=spec(steps=10), refiner=refined(at, by_steps=True)))
    assert found == ["toy"] * before + ["other"] * (10 - before)


def test_steps_of_second_order_count_their_calls() -> None:
    chosen = spec("Heun", steps=4)
    found = turns(plan("x", sampler=chosen, refiner=refined(0.5, by_steps=True)))
    assert found == ["toy"] * 4 + ["other"] * 3


@pytest.mark.parametrize("by_steps", [False, True])
def test_without_a_share_the_refiner_takes_over_at_once(by_steps: bool) -> None:
    assert turns(plan("x", refiner=refined(None, by_steps=by_steps))) == ["other"] * 4


def test_samplers_on_time_steps_switch_as_well() -> None:
    chosen = spec("DDIM", steps=10)
    table = ToyCheckpoint().table
    places = [table.nearest(sigma) for sigma in timestep_sigmas(10, table)]
    expected = ["other" if (999 - place) / 1000 >= 0.5 else "toy" for place in places]
    found = turns(plan("x", sampler=chosen, refiner=refined(0.5)))
    assert found == expected[: len(found)]
    assert set(found) == {"toy", "other"}


def test_a_share_that_no_call_reaches_leaves_the_model() -> None:
    bench = Bench(toy=ToyCheckpoint())
    done = bench.run(plan("x", refiner=refined(1.0)))
    assert bench.used == ["toy"]
    assert done.effects.refined == set()


def test_the_new_model_s_encoder_reads_the_prompts_anew() -> None:
    bench = ran(plan("a cat", "a hen", sampler=spec(steps=4), refiner=refined(0.5, by_steps=True)))
    assert bench.used == ["toy", "other"]
    assert [used for used, _ in bench.asked(Encode)] == ["toy"] * 3 + ["other"] * 3
    calls = [step.rows for _, step in bench.asked(Predict)]
    for before, after in zip(calls[:2], calls[2:], strict=True):
        for row, again in zip(before, after, strict=True):
            assert torch.equal(again.told.context, -row.told.context)


def test_sdxl_s_refiner_is_told_the_score_and_each_pass_its_own_size() -> None:
    bench = Bench(toy=ToyCheckpoint(sizes="sizes"), other=Foreign(sizes="score"))
    encoding = Encoding(crop=(3, 4), scores=(1.5, 7.5))
    hires = hires_pass("Latent", 64, 32, steps=4)
    refiner = refined(0.5, by_steps=True, hires="second pass")
    bench.run(plan("a", sampler=spec(steps=4), encoding=encoding, hires=hires, refiner=refiner))
    first, second = (16, 32, 3, 4, 16, 32), (32, 64, 3, 4, 32, 64)
    told = [(used, step.numbers) for used, step in bench.asked(Encode)]
    assert told == [
        *[("toy", first)] * 2,
        *[("toy", second)] * 2,
        ("other", (32, 64, 3, 4, 1.5)),
        ("other", (32, 64, 3, 4, 7.5)),
    ]


def test_what_could_not_be_put_on_any_model_is_told_once() -> None:
    bench = Bench(
        toy=ToyCheckpoint(notes=("a does not fit", "b")),
        other=Foreign(notes=("a does not fit", "c")),
    )
    wanted = plan("a", "b", batch_size=1, sampler=spec(steps=4), refiner=refined(0.5))
    assert list(bench.run(wanted).effects.notes) == ["a does not fit", "b", "c"]
    hires = hires_pass("Latent", 64, 32, model=choice("other"))
    assert list(bench.run(plan("a", hires=hires)).effects.notes) == ["a does not fit", "b", "c"]


def test_the_prompt_s_schedule_goes_on_where_it_was() -> None:
    wanted = plan("[cat:dog:0.5]", sampler=spec(steps=4), refiner=refined(0.25, by_steps=True))
    calls = [step.rows[0].told.context for _, step in ran(wanted).asked(Predict)]
    # "cat" lasts for three calls, and the second is the new model's first
    assert torch.equal(calls[1], -calls[0])
    assert torch.equal(calls[2], calls[1])
    assert not torch.equal(calls[3], calls[1])


def test_guidance_s_numbers_hold_for_both_models() -> None:
    chosen = GuidanceSpec(scale=3.0, skip_early=0.5)
    wanted = plan("x", guidance=chosen, sampler=spec(steps=8), refiner=refined(0.25, by_steps=True))
    found = [(used, len(step.rows)) for used, step in ran(wanted).asked(Predict)]
    assert found == [("toy", 1)] * 2 + [("other", 1)] * 3 + [("other", 2)] * 3


def test_a_model_that_reads_its_answers_otherwise_is_read_by_its_own_rule() -> None:
    """The two predict the same data, one as noise and one as v."""
    sampler = spec("Heun", steps=40, schedule="karras")
    wanted = plan("x", cfg_scale=1.0, sampler=sampler)
    bench = Bench(toy=ToyCheckpoint(), other=ToyCheckpoint(prediction="v"))
    switched = plan("x", cfg_scale=1.0, sampler=sampler, refiner=refined(0.5))
    (found,) = bench.run(switched).images
    (alone,) = made(wanted)
    torch.testing.assert_close(
        torch.from_numpy(found.pixels), torch.from_numpy(alone.pixels), atol=1e-4, rtol=1e-4
    )


def test_the_picture_is_decoded_by_the_model_that_finished_it() -> None:
    toy, other = ToyCheckpoint(), ToyCheckpoint(bias=0.5)
    Bench(toy=toy, other=other).run(plan("x", refiner=refined(0.5)))
    assert (len(toy.decoded), len(other.decoded)) == (0, 1)


def test_the_next_batch_begins_with_the_first_model_again() -> None:
    bench = ran(plan("a", "b", batch_size=1, refiner=refined(0.5, by_steps=True)))
    assert bench.used == ["toy", "other"] * 2
    assert [used for used, _ in bench.asked(Predict)] == (["toy"] * 2 + ["other"] * 2) * 2


def test_what_was_refined_is_told() -> None:
    bench = Bench(toy=ToyCheckpoint(), other=ToyCheckpoint())
    assert bench.run(plan("x", refiner=refined(0.5))).effects.refined == {0}
    assert bench.run(plan("x")).effects.refined == set()


@pytest.mark.parametrize(
    ("which", "used", "passes"),
    [
        ("first pass", ["toy", "other", "toy"], {0}),
        ("second pass", ["toy", "toy", "other"], {1}),
        ("both passes", ["toy", "other", "toy", "other"], {0, 1}),
    ],
)
def test_a_hires_fix_is_refined_in_the_passes_asked_for(
    which: HiresRefiner, used: list[str], passes: set[int]
) -> None:
    wanted = plan(
        "x",
        hires=hires_pass("Latent", 64, 32, steps=4),
        refiner=refined(0.5, by_steps=True, hires=which),
    )
    bench = Bench(toy=ToyCheckpoint(), other=ToyCheckpoint(bias=0.2))
    assert bench.run(wanted).effects.refined == passes
    assert bench.used == used
    found = [used for used, _ in bench.asked(Predict)]
    ends = ["other" if each in passes else "toy" for each in (0, 1)]
    assert found == [*["toy", "toy"], *[ends[0]] * 2, *["toy", "toy"], *[ends[1]] * 2]


def test_a_refined_first_pass_is_enlarged_by_the_refiner_s_autoencoder() -> None:
    wanted = plan(
        "x",
        hires=hires_pass("Lanczos", 64, 32, steps=4),
        refiner=refined(0.5, hires="first pass"),
    )
    toy, other = Pictures(), Pictures()
    Bench(toy=toy, other=other).run(wanted)
    assert (len(toy.decoded), len(other.decoded)) == (1, 1)
    # what is enlarged is encoded by the model of the second pass
    assert (len(toy.pictures), len(other.pictures)) == (1, 0)


class Pictures(ToyCheckpoint):
    """Answers in bytes, as the engine does."""

    def decode(self, latents: Tensor) -> Tensor:
        return (super().decode(latents).clamp(-1, 1) * 127.5 + 127.5).to(torch.uint8)


def test_interrupted_before_the_switch_the_refiner_is_never_asked_for() -> None:
    wanted = plan("x", cfg_scale=1.0, first_seed=9, refiner=refined(0.5, by_steps=True))
    watch = Watch(batch_count=1, steps=4)
    toy = ToyCheckpoint(before=lambda call: watch.interrupt() if call == 2 else None)
    bench = Bench(toy=toy)
    bench.run(wanted, watch)
    assert bench.used == ["toy"]


def test_at_once_the_refiner_s_own_noise_is_the_same() -> None:
    wanted = plan("x", first_seed=9, refiner=refined(None))
    (_, step), *_ = ran(wanted).asked(Predict)
    high = ToyCheckpoint().table.high
    expected = start(9) * (high / (1 + high**2) ** 0.5)
    torch.testing.assert_close(step.rows[0].x.double(), expected, atol=1e-5, rtol=1e-5)
