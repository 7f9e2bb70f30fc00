"""The engine: jobs in one another's company, their ends, and what they leave behind.

Most orders are given from within a forward, on the device thread: nothing is left to chance.
"""

import gc
import threading
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import Tensor

from models.errors import CorruptCheckpoint, NansException
from pipelines.engine import Cancelled, Engine, EngineClosed
from pipelines.generate import GeneratedImage
from pipelines.plan import BadPlan, Txt2ImgPlan
from pipelines.watch import Preview, Watch

from .toy import ToyCheckpoint, ToyManager, info, plan, spec

SECONDS = 10
Images = list[GeneratedImage]
Pixels = np.ndarray[Any, np.dtype[np.uint8]]
#: one forward a step, and many of them
SLOW = spec("Euler a", steps=8, eta=1.0)


@dataclass(eq=False)
class Job:
    """A plan that was submitted."""

    watch: Watch
    future: "Future[Images]"

    def images(self) -> Images:
        return self.future.result(SECONDS)

    def pixels(self) -> Pixels:
        return np.stack([image.pixels for image in self.images()])


@dataclass(eq=False)
class Desk:
    """An engine, and the order in which its jobs ended."""

    engine: Engine
    manager: ToyManager
    ended: list[str] = field(default_factory=list)

    def order(self, wanted: Txt2ImgPlan, *, watch: Watch | None = None, every: int = 0) -> Job:
        """Submit a plan; it ends under its first prompt."""
        steps, count = wanted.sampler.steps, wanted.batch_count
        watching = watch or Watch(batch_count=count, steps=steps, preview_every=every)
        job = Job(watching, self.engine.submit(wanted, watching))
        job.future.add_done_callback(lambda _: self.ended.append(wanted.prompts[0]))
        return job


Open = Callable[..., Desk]


@pytest.fixture
def desk() -> Iterator[Open]:
    """Opens desks for some checkpoints, and closes their engines at the end."""
    with ExitStack() as engines:

        def make(*, max_rows: int = 16, **checkpoints: ToyCheckpoint | Exception) -> Desk:
            manager = ToyManager(**checkpoints)
            engine = Engine(manager.manager(), max_rows=max_rows)
            return Desk(engines.enter_context(closing(engine)), manager)

        yield make


def alone(wanted: Txt2ImgPlan) -> Pixels:
    """The pictures of a plan that has an engine to itself."""
    manager = ToyManager(**{wanted.checkpoint.name: ToyCheckpoint()})
    with closing(Engine(manager.manager())) as engine:
        return Job(desk_watch(wanted), engine.submit(wanted, desk_watch(wanted))).pixels()


def desk_watch(wanted: Txt2ImgPlan) -> Watch:
    return Watch(batch_count=wanted.batch_count, steps=wanted.sampler.steps)


def same(found: Pixels, expected: Pixels) -> None:
    assert found.shape == expected.shape
    assert np.abs(found.astype(int) - expected.astype(int)).max() <= 1
    assert expected.std() > 5, "a flat picture proves nothing"


def as_pixels(latents: Tensor) -> Pixels:
    """The toy's pictures of latents."""
    values = ToyCheckpoint().decode(latents).permute(0, 2, 3, 1).numpy()
    return np.trunc(np.clip((values + 1) * 127.5, 0, 255)).astype(np.uint8)


def at(call: int, action: Callable[[], object]) -> Callable[[int], None]:
    """Do `action` on the device thread, within the `call`-th forward."""

    def before(now: int) -> None:
        if now == call:
            action()

    return before


def test_a_plan_becomes_its_pictures(desk: Open) -> None:
    toy = ToyCheckpoint()
    job = desk(toy=toy).order(plan("a cat", "a dog", "a cow", batch_size=2))
    images = job.images()
    assert [image.index for image in images] == [0, 1, 2]
    np.testing.assert_array_equal(images[2].pixels, as_pixels(toy.decoded[1])[0])
    assert images[0].pixels.shape == (16, 32, 3)
    assert images[0].pixels.dtype == np.uint8
    progress = job.watch.progress()
    assert (progress.batch, progress.batch_count, progress.step) == (2, 2, 0)
    assert progress.started is not None
    assert job.watch.denoised is None, "latents outlive their job"


def test_jobs_of_any_kind_share_forwards_and_change_nothing(desk: Open) -> None:
    toy = ToyCheckpoint()
    here = desk(toy=toy)
    first = plan("a cat", sampler=spec("Euler a", steps=16, eta=1.0), cfg_scale=4.0)
    second = plan(
        *["a dog", "a cow"],
        sampler=spec("DPM++ 2M SDE", steps=5, schedule="karras", eta=1.0),
        cfg_scale=2.0,
        first_seed=20,
    )
    third = plan("a hen", sampler=spec("Heun", steps=3), cfg_scale=1.0, first_seed=30)
    jobs: list[Job] = []
    toy.before = at(2, lambda: jobs.extend([here.order(second), here.order(third)]))
    same(here.order(first).pixels(), alone(first))
    same(jobs[0].pixels(), alone(second))
    same(jobs[1].pixels(), alone(third))
    # two rows of the first, two of each of the second's images, one of the third
    assert max(len(call.timesteps) for call in toy.calls) == 2 + 4 + 1
    assert max(len(set(call.timesteps)) for call in toy.calls) == 3
    # the first's sixteen steps and no more: the others went along
    assert len(toy.calls) == 16


def test_a_short_job_does_not_wait_for_a_long_one(desk: Open) -> None:
    toy = ToyCheckpoint()
    here = desk(toy=toy)
    jobs: list[Job] = []
    quick = plan("quick", sampler=spec(steps=2))
    toy.before = at(3, lambda: jobs.append(here.order(quick)))
    here.order(plan("long", sampler=spec(steps=12))).images()
    jobs[0].images()
    assert here.ended == ["quick", "long"]


def test_forwards_are_split_at_the_most_rows(desk: Open) -> None:
    toy = ToyCheckpoint()
    here = desk(toy=toy, max_rows=4)
    first, second = plan("a", "b", sampler=SLOW), plan("c", "d", sampler=SLOW, first_seed=9)
    jobs: list[Job] = []
    toy.before = at(1, lambda: jobs.append(here.order(second)))
    same(here.order(first).pixels(), alone(first))
    same(jobs[0].pixels(), alone(second))
    assert {len(call.timesteps) for call in toy.calls} == {4}
    assert len(toy.calls) == 16


def test_a_batch_of_more_than_the_most_rows_goes_in_parts_no_smaller_than_a_row(
    desk: Open,
) -> None:
    toy = ToyCheckpoint()
    wanted = plan("a", "b", "c", sampler=SLOW)
    same(desk(toy=toy, max_rows=2).order(wanted).pixels(), alone(wanted))
    assert {len(call.timesteps) for call in toy.calls} == {3}


@pytest.mark.parametrize(
    "other",
    [
        plan("b", width=64, first_seed=9, sampler=SLOW),
        plan("w " * 80, negative="v " * 80, first_seed=9, sampler=SLOW),
    ],
    ids=["size", "length"],
)
def test_other_sizes_and_lengths_run_beside_in_their_own_forwards(
    desk: Open, other: Txt2ImgPlan
) -> None:
    toy = ToyCheckpoint()
    here = desk(toy=toy)
    first = plan("a", sampler=SLOW)
    jobs: list[Job] = []
    toy.before = at(1, lambda: jobs.append(here.order(other)))
    same(here.order(first).pixels(), alone(first))
    same(jobs[0].pixels(), alone(other))
    assert {len(call.timesteps) for call in toy.calls} == {2}
    assert len({(call.size, call.length) for call in toy.calls}) == 2
    kinds = [(call.size, call.length) for call in toy.calls]
    assert kinds != sorted(kinds), "one job ran after the other"


def test_an_interrupt_gives_the_newest_latents_and_no_further_batch(desk: Open) -> None:
    toy = ToyCheckpoint()
    wanted = plan("a", "b", "c", batch_size=1, cfg_scale=1.0, sampler=SLOW)
    watch = desk_watch(wanted)
    newest: list[Tensor] = []
    toy.before = at(4, lambda: newest.append(watch.denoised))
    here = desk(toy=toy)
    full = here.order(wanted, watch=watch).pixels()
    again = desk_watch(wanted)
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
    watch = desk_watch(wanted)
    toy.before = at(8 + 3, watch.skip)
    found, full = desk(toy=toy).order(wanted, watch=watch).pixels(), alone(wanted)
    assert len(toy.calls) == 8 + 3 + 8
    np.testing.assert_array_equal(found[[0, 2]], full[[0, 2]])
    assert np.abs(found[1].astype(int) - full[1]).max() > 5


def test_stopping_one_job_stops_no_other(desk: Open) -> None:
    toy = ToyCheckpoint()
    here = desk(toy=toy)
    first, second = plan("a", sampler=SLOW), plan("b", sampler=SLOW, first_seed=9)
    watch = desk_watch(first)
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
    watch = desk_watch(wanted)
    watch.interrupt()
    assert desk(toy=toy).order(wanted, watch=watch).images() == []
    assert toy.calls == []


def test_a_job_cancelled_before_it_is_taken_up_borrows_nothing(desk: Open) -> None:
    here = desk(toy=ToyCheckpoint())
    watch = desk_watch(plan("a"))
    watch.cancel()
    job = here.order(plan("a"), watch=watch)
    assert isinstance(job.future.exception(SECONDS), Cancelled)
    assert here.manager.log == []


def test_a_job_cancelled_on_its_way_ends_at_the_next_step(desk: Open) -> None:
    toy = ToyCheckpoint()
    here = desk(toy=toy)
    watch = desk_watch(plan("a"))
    toy.before = at(2, watch.cancel)
    job = here.order(plan("a", sampler=SLOW), watch=watch)
    assert isinstance(job.future.exception(SECONDS), Cancelled)
    assert len(toy.calls) == 2
    assert here.manager.log == ["take toy", "return toy"]
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
    assert here.manager.log == ["take toy", "return toy"]


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
    assert here.manager.lent == []


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


CORRUPT = CorruptCheckpoint(Path("/bad"), "truncated")


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
    wanted: Txt2ImgPlan,
    checkpoint: ToyCheckpoint | Exception,
    error: type[Exception],
    message: str,
) -> None:
    here = desk(toy=checkpoint, good=ToyCheckpoint())
    with pytest.raises(error, match=message):
        here.order(wanted).images()
    assert here.manager.lent == []
    healthy = plan("a cat", checkpoint="good", sampler=SLOW)
    same(here.order(healthy).pixels(), alone(healthy))


def given_up(desk: Open, submit: Callable[[Desk], "Future[Images]"], healthy: str) -> None:
    """A future is cancelled while another job runs, and the engine is none the worse."""
    toy = ToyCheckpoint()
    here = desk(toy=toy, other=ToyCheckpoint())
    futures: list[Future[Images]] = []

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
    assert here.manager.lent == []


@pytest.mark.parametrize("name", ["toy", "other"], ids=["running", "waiting"])
def test_the_engine_goes_on_after_a_future_was_given_up(desk: Open, name: str) -> None:
    unwanted = plan("c", checkpoint=name, sampler=SLOW)
    given_up(desk, lambda here: here.order(unwanted).future, name)


def test_the_engine_goes_on_after_a_load_was_given_up(desk: Open) -> None:
    given_up(desk, lambda here: here.engine.load(info("other")), "toy")


def test_jobs_for_another_checkpoint_wait_their_turn_and_no_longer(desk: Open) -> None:
    toy, other = ToyCheckpoint(), ToyCheckpoint(spread=0.3)
    here = desk(toy=toy, other=other)
    jobs: list[Job] = []

    def more() -> None:
        for prompt, name in (("b", "other"), ("c", "toy"), ("d", "other")):
            jobs.append(here.order(plan(prompt, checkpoint=name)))

    toy.before = at(2, more)
    here.order(plan("a")).images()
    for job in jobs:
        job.images()
    assert here.ended == ["a", "b", "c", "d"]
    turns = ["toy", "other", "toy", "other"]
    assert here.manager.log == [f"{word} {name}" for name in turns for word in ("take", "return")]


def test_each_job_is_drawn_by_its_own_checkpoint(desk: Open) -> None:
    here = desk(toy=ToyCheckpoint(), other=ToyCheckpoint(spread=0.05))
    jobs = [here.order(plan("a", checkpoint=name)) for name in ("toy", "other", "toy")]
    first, second, third = (job.pixels() for job in jobs)
    np.testing.assert_array_equal(first, third)
    assert first.std() > 2 * second.std()


def test_a_checkpoint_can_be_loaded_without_a_job(desk: Open) -> None:
    here = desk(toy=ToyCheckpoint(), bad=CORRUPT)
    assert here.engine.load(info("toy")).result(SECONDS) == []
    assert here.manager.log == ["take toy", "return toy"]
    with pytest.raises(CorruptCheckpoint, match="truncated"):
        here.engine.load(info("bad")).result(SECONDS)
    assert here.order(plan("a")).images()


def test_loading_another_checkpoint_waits_for_the_running_job(desk: Open) -> None:
    toy = ToyCheckpoint()
    here = desk(toy=toy, other=ToyCheckpoint())
    loads: list[Future[Images]] = []
    toy.before = at(2, lambda: loads.append(here.engine.load(info("other"))))
    here.order(plan("a")).images()
    assert loads[0].result(SECONDS) == []
    assert here.manager.log == ["take toy", "return toy", "take other", "return other"]


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
    assert here.manager.log == ["take toy", "return toy"]


def test_closing_again_does_no_harm(desk: Open) -> None:
    here = desk(toy=ToyCheckpoint())
    here.engine.close()
    here.engine.close()


def test_a_job_for_a_closed_engine_fails_at_once(desk: Open) -> None:
    here = desk(toy=ToyCheckpoint())
    here.engine.close()
    assert isinstance(here.order(plan("a")).future.exception(1), EngineClosed)


def test_nobody_looks_so_no_preview_is_drawn(desk: Open) -> None:
    toy = ToyCheckpoint()
    job = desk(toy=toy).order(plan("a", sampler=SLOW), every=1)
    job.images()
    assert len(toy.decoded) == 1
    assert job.watch.want_preview() is None


def looked_at(desk: Open, *calls: int, every: int) -> tuple[list[Preview | None], ToyCheckpoint]:
    """What is seen when somebody looks within these forwards of a job of eight."""
    toy = ToyCheckpoint()
    wanted = plan("a", sampler=SLOW)
    watch = Watch(batch_count=1, steps=8, preview_every=every)
    seen: list[Preview | None] = []

    def before(call: int) -> None:
        if call in calls:
            seen.append(watch.want_preview())

    toy.before = before
    desk(toy=toy).order(wanted, watch=watch).images()
    return seen, toy


def test_a_preview_is_drawn_when_asked_for_and_due(desk: Open) -> None:
    seen, toy = looked_at(desk, 2, 4, 5, 6, every=3)
    # asked at the second forward, it is due after the third; asked at the fourth, after the sixth
    assert [preview and preview.number for preview in seen] == [None, 1, 1, 1]
    assert len(toy.decoded) == 2 + 1
    preview = seen[1]
    assert preview is not None
    np.testing.assert_array_equal(preview.pixels, as_pixels(toy.decoded[0]))
    assert np.abs(preview.pixels.astype(int) - as_pixels(toy.decoded[2])).max() > 5


def test_previews_are_not_drawn_without_an_interval(desk: Open) -> None:
    seen, toy = looked_at(desk, 1, 2, 3, 4, 5, 6, 7, 8, every=0)
    assert seen == [None] * 8
    assert len(toy.decoded) == 1


@pytest.mark.parametrize("prompt", ["a", "boom"])
def test_a_checkpoint_is_not_held_after_its_job(desk: Open, prompt: str) -> None:
    here = desk(toy=ToyCheckpoint(), other=ToyCheckpoint())
    weak = weakref.ref(here.manager.checkpoint("toy"))
    job = here.order(plan(prompt))
    job.future.exception(SECONDS)
    del job
    here.order(plan("b", checkpoint="other")).images()
    here.manager.forget("toy")
    gc.collect()
    assert weak() is None
