"""How jobs end: stopped, cancelled, failed, given up, or closed down; and that no other minds."""

import threading
from collections.abc import Callable
from concurrent.futures import Future

import numpy as np
import pytest
import torch
from torch import Tensor

from models.errors import CorruptCheckpoint, NansException
from pipelines.engine import EngineClosed
from pipelines.generate import Generated
from pipelines.plan import BadPlan, Plan
from pipelines.watch import Cancelled

from .desk import CORRUPT, SECONDS, SLOW, Desk, Job, Open, alone, as_pixels, at, same
from .made import watching
from .toy import ToyCheckpoint, choice, plan, spec


def test_an_interrupt_gives_the_newest_latents_and_no_further_batch(desk: Open) -> None:
    toy = ToyCheckpoint()
    wanted = plan("a", "b", "c", batch_size=1, cfg_scale=1.0, sampler=SLOW)
    watch = watching(wanted)
    newest: list[Tensor] = []
    toy.before = at(4, lambda: newest.append(watch.denoised))
    here = desk(toy=toy)
    full = here.order(wanted, watch=watch).pixels()
    again = watching(wanted)
    toy.calls.clear()
    toy.before = at(3, again.interrupt)
    cut = here.order(wanted, watch=again).pixels()
    assert len(toy.calls) == 3
    assert len(cut) == 1
    np.testing.assert_array_equal(cut, as_pixels(newest[0]))
    assert np.abs(cut[0].astype(int) - full[0]).max() > 5


def test_a_skip_cuts_one_batch_and_goes_on(desk: Open) -> None:
    toy = ToyCheckpoint()
    wanted = plan("a", "b", "c", batch_size=1, cfg_scale=1.0, sampler=SLOW)
    watch = watching(wanted)
    toy.before = at(8 + 3, watch.skip)
    found, full = desk(toy=toy).order(wanted, watch=watch).pixels(), alone(wanted)
    assert len(toy.calls) == 8 + 3 + 8
    np.testing.assert_array_equal(found[[0, 2]], full[[0, 2]])
    assert np.abs(found[1].astype(int) - full[1]).max() > 5


def test_stopping_one_job_stops_no_other(desk: Open) -> None:
    toy = ToyCheckpoint()
    here = desk(toy=toy)
    first, second = plan("a", sampler=SLOW), plan("b", sampler=SLOW, first_seed=9)
    watch = watching(first)
    jobs: list[Job] = []

    def before(call: int) -> None:
        if call == 1:
            jobs.append(here.order(second))
        if call == 3:
            watch.interrupt()

    toy.before = before
    assert len(here.order(first, watch=watch).images()) == 1
    same(jobs[0].pixels(), alone(second))


def test_a_job_interrupted_while_it_waits_makes_no_pictures(desk: Open) -> None:
    toy = ToyCheckpoint()
    wanted = plan("a")
    watch = watching(wanted)
    watch.interrupt()
    assert desk(toy=toy).order(wanted, watch=watch).images() == []
    assert toy.calls == []


def test_a_job_cancelled_before_it_is_taken_up_borrows_nothing(desk: Open) -> None:
    here = desk(toy=ToyCheckpoint())
    watch = watching(plan("a"))
    watch.cancel()
    job = here.order(plan("a"), watch=watch)
    assert isinstance(job.future.exception(SECONDS), Cancelled)
    assert here.manager.settled() == []


def test_a_job_cancelled_on_its_way_ends_at_the_next_step(desk: Open) -> None:
    toy = ToyCheckpoint()
    here = desk(toy=toy)
    watch = watching(plan("a"))
    toy.before = at(2, watch.cancel)
    job = here.order(plan("a", sampler=SLOW), watch=watch)
    assert isinstance(job.future.exception(SECONDS), Cancelled)
    assert len(toy.calls) == 2
    assert here.manager.settled() == ["take toy", "return toy"]
    assert watch.denoised is None


def test_a_job_cancelled_in_the_queue_ends_before_those_it_waits_for(desk: Open) -> None:
    toy = ToyCheckpoint()
    here = desk(toy=toy, other=ToyCheckpoint())
    jobs: list[Job] = []
    waiting = plan("waiting", checkpoint="other")

    def before(call: int) -> None:
        if call == 1:
            jobs.append(here.order(waiting))
        if call == 3:
            jobs[0].watch.cancel()

    toy.before = before
    here.order(plan("running", sampler=SLOW)).images()
    assert isinstance(jobs[0].future.exception(SECONDS), Cancelled)
    assert here.ended == ["waiting", "running"]
    assert here.manager.settled() == ["take toy", "return toy"]


def test_an_error_of_one_job_s_rows_leaves_the_others_their_pictures(desk: Open) -> None:
    toy = ToyCheckpoint()
    here = desk(toy=toy)
    first, third = plan("a", sampler=SLOW), plan("c", sampler=SLOW, first_seed=9)
    jobs: list[Job] = []
    toy.before = at(2, lambda: jobs.extend([here.order(plan("boom")), here.order(third)]))
    same(here.order(first).pixels(), alone(first))
    same(jobs[1].pixels(), alone(third))
    with pytest.raises(RuntimeError, match="boom"):
        jobs[0].images()
    assert here.ended[0] == "boom"
    here.manager.settled()


def test_rows_that_do_not_fit_together_are_tried_apart(desk: Open) -> None:
    toy = ToyCheckpoint()
    here = desk(toy=toy)
    first, second = plan("a", sampler=SLOW), plan("b", sampler=SLOW, first_seed=9)
    jobs: list[Job] = []

    def before(call: int) -> None:
        if call == 1:
            jobs.append(here.order(second))
        if len(toy.calls[-1].timesteps) > 2:
            raise MemoryError("out of memory")

    toy.before = before
    same(here.order(first).pixels(), alone(first))
    same(jobs[0].pixels(), alone(second))
    assert max(len(call.timesteps) for call in toy.calls) == 4


def test_latents_that_are_no_numbers_are_an_error_and_spoil_no_other(desk: Open) -> None:
    toy = ToyCheckpoint()
    here = desk(toy=toy)
    first = plan("a", sampler=SLOW)
    jobs: list[Job] = []
    toy.before = at(1, lambda: jobs.append(here.order(plan("poison"))))
    same(here.order(first).pixels(), alone(first))
    with pytest.raises(NansException, match="UNet"):
        jobs[0].images()


def broken(message: str) -> Callable[..., Tensor]:
    def fail(*arguments: object) -> Tensor:
        raise ValueError(message)

    return fail


class BrokenDecoder(ToyCheckpoint):
    decode = broken("no decoder")


class BrokenEncoder(ToyCheckpoint):
    encode_tokens = broken("no encoder")


@pytest.mark.parametrize(
    ("wanted", "checkpoint", "error", "message"),
    [
        (plan("boom"), ToyCheckpoint(), RuntimeError, "boom"),
        (plan("poison"), ToyCheckpoint(), NansException, "UNet"),
        (plan("a", sampler=spec("Eulr")), ToyCheckpoint(), BadPlan, "unknown sampler 'Eulr'"),
        (plan("a", sampler=spec("Euler a", eta="1")), ToyCheckpoint(), TypeError, "multiply"),
        (plan("a"), BrokenDecoder(), ValueError, "no decoder"),
        (plan("a"), BrokenEncoder(), ValueError, "no encoder"),
        (plan("a"), CORRUPT, CorruptCheckpoint, "truncated"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_the_engine_goes_on_after_a_job_that_failed(
    desk: Open,
    wanted: Plan,
    checkpoint: ToyCheckpoint | Exception,
    error: type[Exception],
    message: str,
) -> None:
    here = desk(toy=checkpoint, good=ToyCheckpoint())
    with pytest.raises(error, match=message):
        here.order(wanted).images()
    here.manager.settled()
    healthy = plan("a cat", checkpoint="good", sampler=SLOW)
    same(here.order(healthy).pixels(), alone(healthy))


def given_up(desk: Open, submit: Callable[[Desk], "Future[Generated]"], healthy: str) -> None:
    """A future is cancelled while another job runs, and the engine is none the worse."""
    toy = ToyCheckpoint()
    here = desk(toy=toy, other=ToyCheckpoint())
    futures: list[Future[Generated]] = []

    def before(call: int) -> None:
        if call == 1:
            futures.append(submit(here))
        if call == 4:
            futures[0].cancel()

    toy.before = before
    first, last = plan("a", sampler=SLOW), plan("b", checkpoint=healthy, sampler=SLOW)
    same(here.order(first).pixels(), alone(first))
    same(here.order(last).pixels(), alone(last))
    # once submitted it is the engine's to end, whoever has lost interest
    assert futures[0].exception(timeout=10) is None
    here.manager.settled()


@pytest.mark.parametrize("name", ["toy", "other"], ids=["running", "waiting"])
def test_the_engine_goes_on_after_a_future_was_given_up(desk: Open, name: str) -> None:
    unwanted = plan("c", checkpoint=name, sampler=SLOW)
    given_up(desk, lambda here: here.order(unwanted).future, name)


def test_the_engine_goes_on_after_a_load_was_given_up(desk: Open) -> None:
    given_up(desk, lambda here: here.engine.load(choice("other")), "toy")


def test_closing_fails_what_runs_and_what_waits(desk: Open) -> None:
    toy = ToyCheckpoint()
    here = desk(toy=toy, other=ToyCheckpoint())
    began = threading.Event()
    toy.before = at(2, began.set)
    running = here.order(plan("a", sampler=spec(steps=1000), batch_size=1))
    waiting = here.order(plan("b", checkpoint="other"))
    assert began.wait(SECONDS)
    here.engine.close()
    assert isinstance(running.future.exception(0), EngineClosed)
    assert isinstance(waiting.future.exception(0), EngineClosed)
    assert here.manager.settled() == ["take toy", "return toy"]


def test_closing_again_does_no_harm(desk: Open) -> None:
    here = desk(toy=ToyCheckpoint())
    here.engine.close()
    here.engine.close()


def test_a_job_for_a_closed_engine_fails_at_once(desk: Open) -> None:
    here = desk(toy=ToyCheckpoint())
    here.engine.close()
    assert isinstance(here.order(plan("a")).future.exception(1), EngineClosed)


def test_jobs_that_overflow_begin_again_in_a_wider_format(desk: Open) -> None:
    """In half precision two of three draw NaNs: the model is widened once, and all get pictures."""
    toy = ToyCheckpoint(dtype=torch.float16)
    here = desk(toy=toy)
    plans = [plan("loud", sampler=SLOW, first_seed=9), plan("b", sampler=SLOW, first_seed=20)]
    jobs: list[Job] = []
    toy.before = at(1, lambda: jobs.extend(here.order(each) for each in plans))
    loud = plan("loud", "loud", batch_size=1, sampler=SLOW)
    same(here.order(loud).pixels(), alone(loud))
    for job, wanted in zip(jobs, plans, strict=True):
        same(job.pixels(), alone(wanted))
    assert here.manager.settled() == [
        *("take toy", "widen toy", "return toy"),
        *("take toy", "return toy"),
    ]


def test_what_overflows_in_every_format_is_an_error(desk: Open) -> None:
    toy = ToyCheckpoint(dtype=torch.float16)
    here = desk(toy=toy)
    with pytest.raises(NansException, match="UNet"):
        here.order(plan("poison")).images()
    assert toy.dtype is torch.float32
    assert len(toy.calls) == 8, "it was tried in both"
    assert here.order(plan("a")).images()
