"""Whose turn it is to have which model on the device."""

import gc
import weakref
from concurrent.futures import Future

import numpy as np
import pytest

from models.errors import CorruptCheckpoint
from pipelines.generate import Generated

from .desk import SECONDS, SLOW, Desk, Job, Open, alone, at, same
from .made import watching
from .toy import ToyCheckpoint, choice, plan, spec


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
    assert here.manager.settled() == [
        f"{word} {name}" for name in turns for word in ("take", "return")
    ]


def test_each_job_is_drawn_by_its_own_checkpoint(desk: Open) -> None:
    here = desk(toy=ToyCheckpoint(), other=ToyCheckpoint(spread=0.05))
    jobs = [here.order(plan("a", checkpoint=name)) for name in ("toy", "other", "toy")]
    first, second, third = (job.pixels() for job in jobs)
    np.testing.assert_array_equal(first, third)
    assert first.std() > 2 * second.std()


def test_a_checkpoint_can_be_loaded_without_a_job(desk: Open) -> None:
    here = desk(toy=ToyCheckpoint(), bad=CORRUPT)
    assert here.engine.load(choice("toy")).result(SECONDS).images == []
    assert here.manager.settled() == ["take toy", "return toy"]
    with pytest.raises(CorruptCheckpoint, match="truncated"):
        here.engine.load(choice("bad")).result(SECONDS)
    assert here.order(plan("a")).images()


def test_loading_another_checkpoint_waits_for_the_running_job(desk: Open) -> None:
    toy = ToyCheckpoint()
    here = desk(toy=toy, other=ToyCheckpoint())
    loads: list[Future[Generated]] = []
    toy.before = at(2, lambda: loads.append(here.engine.load(choice("other"))))
    here.order(plan("a")).images()
    assert loads[0].result(SECONDS).images == []
    assert here.manager.settled() == ["take toy", "return toy", "take other", "return other"]


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
