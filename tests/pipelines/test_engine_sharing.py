"""What jobs in company share, how many there may be, and who makes way for whom."""

import time
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from models.errors import NansException
from pipelines.admission import Limits
from pipelines.plan import Plan

from .desk import SLOW, Job, Open, alone, at, drawn_by_turns, same
from .toy import ToyCheckpoint, plan, spec

#: so long that whoever may be passed is
LONG = Limits(max_rows=16, switches=1e9)


def rows(toy: ToyCheckpoint) -> list[int]:
    """How many latents each forward had."""
    return [len(call.timesteps) for call in toy.calls]


def series(prompt: str, count: int, **more: Any) -> Plan:
    """A plan of so many batches of one picture."""
    return plan(*[prompt] * count, batch_size=1, **more)


def test_without_batching_jobs_run_one_after_another(desk: Open) -> None:
    toy = ToyCheckpoint()
    here = desk(toy=toy, limits=Limits(batching=False))
    second = plan("b", sampler=SLOW, first_seed=9)
    jobs: list[Job] = []
    toy.before = at(1, lambda: jobs.append(here.order(second)))
    np.testing.assert_array_equal(
        here.order(plan("a", sampler=SLOW)).pixels(), alone(plan("a", sampler=SLOW))
    )
    np.testing.assert_array_equal(jobs[0].pixels(), alone(second))
    assert rows(toy) == [2] * 16


class Hesitant:
    """Finds nothing worth while but a job by itself."""

    def note(self, load: int, seconds: float) -> None:
        pass

    def is_worth(self, load: int, least: int) -> bool:
        return load <= least


@pytest.mark.parametrize(("patience", "most"), [(3600.0, 2), (0.0, 4)])
def test_a_job_that_does_not_pay_waits_but_not_for_ever(
    desk: Open, patience: float, most: int
) -> None:
    toy = ToyCheckpoint()
    here = desk(toy=toy, pace=Hesitant(), limits=Limits(patience=patience, switches=0))
    jobs: list[Job] = []
    toy.before = at(1, lambda: jobs.append(here.order(plan("b", sampler=SLOW, first_seed=9))))
    here.order(plan("a", sampler=SLOW)).images()
    jobs[0].images()
    assert max(rows(toy)) == most


def test_prompts_of_all_jobs_are_encoded_together_and_once(desk: Open) -> None:
    toy = ToyCheckpoint()
    here = desk(toy=toy)
    jobs: list[Job] = []
    plans = [plan(name, sampler=SLOW, first_seed=i) for i, name in enumerate(["b", "c", "a"])]
    toy.before = at(1, lambda: jobs.extend(here.order(each) for each in plans))
    same(here.order(plan("a", sampler=SLOW)).pixels(), alone(plan("a", sampler=SLOW)))
    for job, wanted in zip(jobs, plans, strict=True):
        same(job.pixels(), alone(wanted))
    # the negative prompt and "a" of the first job; then "b" and "c", in one go
    assert [len(ids) // 77 for ids, _ in toy.encoded] == [1, 1, 2]
    assert here.order(plan("c", "b")).images()
    assert len(toy.encoded) == 3


def test_another_model_s_conditioning_is_not_taken(desk: Open) -> None:
    toy, other = ToyCheckpoint(), ToyCheckpoint()
    here = desk(toy=toy, other=other)
    for name in ("toy", "other", "toy"):
        here.order(plan("a", checkpoint=name)).images()
    assert len(toy.encoded) == len(other.encoded) == 2
    here.engine.forget()
    here.order(plan("a")).images()
    assert len(toy.encoded) == 4


def test_jobs_that_end_together_are_decoded_together(desk: Open) -> None:
    toy = ToyCheckpoint()
    here = desk(toy=toy)
    plans = [plan("b", sampler=SLOW, first_seed=9), plan("c", "d", sampler=SLOW, first_seed=20)]
    wide = plan("e", sampler=SLOW, width=64)
    jobs: list[Job] = []
    toy.before = at(1, lambda: jobs.extend(here.order(each) for each in (*plans, wide)))
    here.order(plan("a", sampler=SLOW)).images()
    for job, wanted in zip(jobs, (*plans, wide), strict=True):
        same(job.pixels(), alone(wanted))
    assert [latents.shape[0] for latents in toy.decoded] == [1, 3, 1]


def test_a_picture_of_nans_is_its_own_job_s_error(desk: Open) -> None:
    toy = ToyCheckpoint()
    here = desk(toy=toy)
    fine = plan("b", sampler=SLOW, first_seed=9)
    jobs: list[Job] = []
    toy.before = at(
        1, lambda: jobs.extend([here.order(plan("poison", sampler=SLOW)), here.order(fine)])
    )
    here.order(plan("a", sampler=SLOW)).images()
    with pytest.raises(NansException):
        jobs[0].images()
    same(jobs[1].pixels(), alone(fine))


class Narrow(ToyCheckpoint):
    """A device with memory for five latents."""

    def predict(
        self, x: Tensor, timestep: Tensor, context: Tensor, vector: Tensor | None = None
    ) -> Tensor:
        if len(x) > 5:
            raise torch.OutOfMemoryError(f"CUDA out of memory: {len(x)} latents")
        return super().predict(x, timestep, context, vector)


def test_too_much_for_the_memory_is_split_and_nobody_fails(desk: Open) -> None:
    toy = Narrow()
    here = desk(toy=toy)
    plans = [plan(prompt, sampler=SLOW, first_seed=i) for i, prompt in enumerate("bcd", start=2)]
    jobs: list[Job] = []
    toy.before = at(1, lambda: jobs.extend(here.order(each) for each in plans))
    same(here.order(plan("a", sampler=SLOW)).pixels(), alone(plan("a", sampler=SLOW)))
    for job, wanted in zip(jobs, plans, strict=True):
        same(job.pixels(), alone(wanted))
    assert max(rows(toy)) == 5
    # from now on no more are let in than memory was found to hold
    toy.calls.clear()
    toy.before = at(1, lambda: jobs.extend(here.order(each) for each in plans))
    here.order(plan("a", sampler=SLOW)).images()
    for job in jobs:
        job.images()
    assert max(rows(toy)) == 4


def slow_switches(here: Any) -> None:
    """Getting a model takes a while."""
    here.manager.before = lambda name: time.sleep(0.01)


def test_jobs_for_the_model_in_use_pass_one_for_another(desk: Open) -> None:
    """That saves two changes of the model."""
    toy = ToyCheckpoint()
    here = desk(toy=toy, other=ToyCheckpoint(), limits=LONG)
    slow_switches(here)
    drawn_by_turns(here, toy)
    assert here.ended.index("c") < here.ended.index("b")
    taken = [line for line in here.manager.settled() if line.startswith("take")]
    assert taken == ["take toy", "take other"]


def test_batches_make_way_for_who_is_overdue(desk: Open) -> None:
    toy, other = ToyCheckpoint(), ToyCheckpoint(bias=0.3)
    here = desk(toy=toy, other=other)
    wanted, second = series("long", 4), plan("b", checkpoint="other")
    jobs: list[Job] = []
    toy.before = at(6, lambda: jobs.append(here.order(second)))
    same(here.order(wanted).pixels(), alone(wanted))
    same(jobs[0].pixels(), alone(second, other=ToyCheckpoint(bias=0.3)))
    assert here.ended == ["b", "long"]
    taken = [line for line in here.manager.settled() if line.startswith("take")]
    assert taken == ["take toy", "take other", "take toy"]
    # the second batch, under way when the other came, was drawn to its end
    assert len(toy.calls) == 16


def test_two_long_jobs_on_two_models_take_turns(desk: Open) -> None:
    toy, other = ToyCheckpoint(), ToyCheckpoint(bias=0.3)
    here = desk(toy=toy, other=other)
    first, second = series("a", 3), series("b", 3, checkpoint="other")
    jobs: list[Job] = []
    toy.before = at(1, lambda: jobs.append(here.order(second)))
    same(here.order(first).pixels(), alone(first))
    same(jobs[0].pixels(), alone(second, other=ToyCheckpoint(bias=0.3)))
    taken = [line.removeprefix("take ") for line in here.manager.settled() if "take" in line]
    assert taken == ["toy", "other"] * 3


def test_who_is_not_overdue_waits_for_all_batches(desk: Open) -> None:
    toy = ToyCheckpoint()
    here = desk(toy=toy, other=ToyCheckpoint(), limits=LONG)
    slow_switches(here)
    jobs: list[Job] = []
    toy.before = at(1, lambda: jobs.append(here.order(plan("b", checkpoint="other"))))
    here.order(series("long", 4)).images()
    jobs[0].images()
    assert here.ended == ["long", "b"]


def test_a_fault_of_the_device_ends_who_runs_and_no_more(
    desk: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    toy = ToyCheckpoint()
    here = desk(toy=toy)
    settle, faults = here.engine._admission.settle, [RuntimeError("CUDA error: launch failure")]

    def faulty() -> None:
        if faults:
            raise faults.pop()
        settle()

    monkeypatch.setattr(here.engine._admission, "settle", faulty)
    with pytest.raises(RuntimeError, match="launch failure"):
        here.order(plan("a", sampler=spec(steps=3))).images()
    assert here.order(plan("b")).images()
