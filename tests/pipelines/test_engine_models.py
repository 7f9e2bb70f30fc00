"""Whose turn it is to have which model on the device."""

import gc
import re
import threading
import weakref
from concurrent.futures import Future
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from models.errors import CorruptCheckpoint
from pipelines.admission import Limits
from pipelines.generate import Generated
from pipelines.plan import Plan, Refining
from pipelines.watch import Cancelled

from .desk import CORRUPT, SECONDS, SLOW, Job, Open, alone, at, drawn_by_turns, same
from .drawn import redrawing
from .made import watching
from .test_hires import hires_pass
from .toy import ToyCheckpoint, choice, info, plan, spec


def test_jobs_for_another_checkpoint_wait_their_turn_and_no_longer(desk: Open) -> None:
    toy, other = ToyCheckpoint(), ToyCheckpoint(spread=0.3)
    here = desk(toy=toy, other=other)
    drawn_by_turns(here, toy)
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


def refining(prompt: str, name: str = "other", at: float = 0.5, **more: Any) -> Plan:
    """A plan of eight steps that asks for another model after `at` of them."""
    refiner = Refining(model=choice(name), at=at, by_steps=True)
    return plan(prompt, **{"sampler": SLOW, "refiner": refiner, **more})


def turns(*labels: str) -> list[str]:
    return [f"{word} {each}" for each in labels for word in ("take", "return")]


def others() -> dict[str, ToyCheckpoint]:
    """Checkpoints that draw differently from the first."""
    return {"other": ToyCheckpoint(bias=0.3), "third": ToyCheckpoint(bias=-0.3)}


def test_two_run_together_while_a_third_waits_for_its_model(desk: Open) -> None:
    toy = ToyCheckpoint()
    here = desk(toy=toy, **others())
    jobs: list[Job] = []
    second, third = plan("b", sampler=SLOW, first_seed=9), plan("c", checkpoint="other")
    toy.before = at(2, lambda: jobs.extend([here.order(second), here.order(third)]))
    same(here.order(plan("a", sampler=SLOW)).pixels(), alone(plan("a", sampler=SLOW)))
    same(jobs[0].pixels(), alone(second))
    same(jobs[1].pixels(), alone(third, **others()))
    assert here.ended == ["a", "b", "c"]
    assert here.manager.settled() == turns("toy", "other")
    # the second joins at once: its two prompts are encoded in the turn of the third step
    assert [len(call.timesteps) for call in toy.calls] == [2] * 2 + [4] * 6 + [2] * 2


def test_a_job_that_asks_for_another_model_midway_is_put_aside(desk: Open) -> None:
    """Until those that go on with the present one are done."""
    toy, rest = ToyCheckpoint(), others()
    here = desk(toy=toy, **rest)
    companion = plan("companion", sampler=spec(steps=14), first_seed=9)
    jobs: list[Job] = []
    toy.before = at(1, lambda: jobs.append(here.order(companion)))
    rest["other"].before = at(1, lambda: jobs[0].future.result(0))
    wanted = refining("refined")
    same(here.order(wanted).pixels(), alone(wanted, toy=ToyCheckpoint(), **others()))
    same(jobs[0].pixels(), alone(companion))
    assert here.ended == ["companion", "refined"]
    assert here.manager.settled() == turns("toy", "other")
    # one forward alone and three together, before the refined one waits
    assert [len(call.timesteps) for call in toy.calls] == [2] + [4] * 3 + [2] * 11
    assert len(rest["other"].calls) == 4


def test_nobody_else_is_let_in_while_one_waits_for_another_model(desk: Open) -> None:
    toy, rest = ToyCheckpoint(), others()
    here = desk(toy=toy, **rest)
    companion = plan("companion", sampler=spec(steps=12), first_seed=9)
    late = plan("late", sampler=spec(steps=5), first_seed=20)
    jobs: list[Job] = []

    def before(call: int) -> None:
        if call == 1:
            jobs.append(here.order(companion))
        if call == 7:  # the first has had its four calls and waits
            jobs.append(here.order(late))

    toy.before = before
    here.order(refining("refined")).images()
    same(jobs[1].pixels(), alone(late))
    assert here.ended == ["companion", "refined", "late"]
    assert here.manager.settled() == turns("toy", "other", "toy")


def test_those_put_aside_get_their_models_in_turn_and_before_those_that_wait(desk: Open) -> None:
    toy = ToyCheckpoint()
    here = desk(toy=toy, **others())
    first, second = refining("first", "other"), refining("second", "third", first_seed=9)
    waiting = plan("waiting", first_seed=20)
    jobs: list[Job] = []

    def before(call: int) -> None:
        if call == 1:
            jobs.append(here.order(second))
        if call == 5:  # the first has had its four calls, the second has one to go
            jobs.append(here.order(waiting))

    toy.before = before
    same(here.order(first).pixels(), alone(first, toy=ToyCheckpoint(), **others()))
    same(jobs[0].pixels(), alone(second, toy=ToyCheckpoint(), **others()))
    jobs[1].images()
    assert here.ended == ["first", "second", "waiting"]
    assert here.manager.settled() == turns("toy", "other", "third", "toy")


def test_those_put_aside_for_one_model_share_it(desk: Open) -> None:
    toy, rest = ToyCheckpoint(), others()
    here = desk(toy=toy, **rest)
    first, second = refining("first"), refining("second", at=0.25, first_seed=9)
    jobs: list[Job] = []
    toy.before = at(1, lambda: jobs.append(here.order(second)))
    same(here.order(first).pixels(), alone(first, toy=ToyCheckpoint(), **others()))
    same(jobs[0].pixels(), alone(second, toy=ToyCheckpoint(), **others()))
    assert here.manager.settled() == turns("toy", "other")
    # four calls of both, then two of the second
    assert [len(call.timesteps) for call in rest["other"].calls] == [4] * 4 + [2] * 2


def test_jobs_that_change_models_at_every_turn_starve_nobody(desk: Open) -> None:
    """Three of three batches each, back and forth between two models, and one that waits."""
    toy = ToyCheckpoint()
    here = desk(toy=toy, **others())

    def restless(name: str, seed: int) -> Plan:
        return refining(name, prompts=(name,) * 3, negative_prompts=("bad",) * 3, first_seed=seed)

    def whole(name: str, seed: int) -> Plan:
        made = restless(name, seed)
        seeds = replace(made.seeds, seeds=(seed, seed + 1, seed + 2), subseeds=(0, 0, 0))
        return replace(made, seeds=seeds, batch_size=1)

    wanted = [whole(name, seed) for name, seed in (("a", 1), ("b", 11), ("c", 21))]
    last = plan("last", checkpoint="third")
    jobs: list[Job] = []
    toy.before = at(1, lambda: jobs.extend(here.order(each) for each in (*wanted[1:], last)))
    jobs.insert(0, here.order(wanted[0]))
    for job, each in zip(list(jobs), wanted, strict=False):
        same(job.pixels(), alone(each, toy=ToyCheckpoint(), **others()))
    jobs[-1].images()
    # the others make way for it as soon as they are between two batches
    assert here.ended[0] == "last"
    here.manager.settled()


def test_a_model_that_fails_to_load_midway_ends_only_its_job(desk: Open) -> None:
    toy = ToyCheckpoint()
    here = desk(toy=toy, bad=CORRUPT, **others())
    bad, good = refining("bad", "bad"), refining("good", at=0.75, first_seed=9)
    after = plan("after", first_seed=20)
    jobs: list[Job] = []

    def before(call: int) -> None:
        if call == 1:
            jobs.append(here.order(good))
        if call == 6:  # the first waits
            jobs.append(here.order(after))

    toy.before = before
    with pytest.raises(CorruptCheckpoint, match="truncated"):
        here.order(bad).images()
    same(jobs[0].pixels(), alone(good, toy=ToyCheckpoint(), **others()))
    same(jobs[1].pixels(), alone(after))
    assert here.ended == ["bad", "good", "after"]
    assert here.manager.settled() == turns("toy", "other", "toy")


def test_several_models_that_fail_to_load_leave_the_next_job_its_own(desk: Open) -> None:
    toy = ToyCheckpoint()
    here = desk(toy=toy, bad=CORRUPT, worse=CORRUPT)
    jobs: list[Job] = []

    def more() -> None:
        for name in ("bad", "worse", "bad", "toy"):
            jobs.append(here.order(plan(name, checkpoint=name)))

    toy.before = at(1, more)
    here.order(plan("first")).images()
    for job in jobs[:3]:
        assert isinstance(job.future.exception(SECONDS), CorruptCheckpoint)
    same(jobs[3].pixels(), alone(plan("toy")))
    assert here.manager.settled() == turns("toy", "toy")


def test_an_interrupt_reaches_a_job_that_is_put_aside(desk: Open) -> None:
    toy, rest = ToyCheckpoint(), others()
    here = desk(toy=toy, **rest)
    wanted = refining("refined", cfg_scale=1.0)
    watch = watching(wanted)
    companion = plan("companion", sampler=spec(steps=12), first_seed=9)
    jobs: list[Job] = []

    def before(call: int) -> None:
        if call == 1:
            jobs.append(here.order(companion))
        if call == 8:
            watch.interrupt()

    toy.before = before
    assert len(here.order(wanted, watch=watch).images()) == 1
    assert len(rest["other"].calls) <= 1


def test_a_job_cancelled_while_it_is_put_aside_loads_nothing(desk: Open) -> None:
    toy = ToyCheckpoint()
    here = desk(toy=toy, **others())
    wanted = refining("refined")
    watch = watching(wanted)
    companion = plan("companion", sampler=spec(steps=12), first_seed=9)
    jobs: list[Job] = []

    def before(call: int) -> None:
        if call == 1:
            jobs.append(here.order(companion))
        if call == 8:
            watch.cancel()

    toy.before = before
    assert isinstance(here.order(wanted, watch=watch).future.exception(SECONDS), Cancelled)
    same(jobs[0].pixels(), alone(companion))
    assert here.ended == ["refined", "companion"]
    assert here.manager.settled() == turns("toy")


def test_a_client_may_go_while_its_model_fails_to_load(desk: Open) -> None:
    """The job has ended by the time that its end is asked for once more."""
    toy = ToyCheckpoint()
    here = desk(toy=toy, bad=CORRUPT)
    watch = watching(plan("gone"))
    here.manager.before = lambda name: watch.cancel() if name == "bad" else None
    job = here.order(plan("gone", checkpoint="bad"), watch=watch)
    assert isinstance(job.future.exception(SECONDS), CorruptCheckpoint)
    same(here.order(plan("a")).pixels(), alone(plan("a")))


def test_a_client_may_go_while_its_job_ends_at_once(desk: Open) -> None:
    toy = ToyCheckpoint()
    here = desk(toy=toy, **others())
    watch = watching(plan("gone"))
    watch.interrupt()
    jobs: list[Job] = []

    def before(call: int) -> None:
        if call == 2:
            job = here.order(plan("gone", first_seed=9), watch=watch)
            job.future.add_done_callback(lambda _: watch.cancel())
            jobs.append(job)

    toy.before = before
    same(here.order(plan("a")).pixels(), alone(plan("a")))
    assert jobs[0].images() == []
    same(here.order(plan("b")).pixels(), alone(plan("b")))


def test_one_checkpoint_in_other_clothes_is_another_model(desk: Open) -> None:
    """Weights are changed in place, so jobs with other networks on them never share a forward."""
    toy = ToyCheckpoint()
    here = desk(toy=toy)
    first, second = (
        plan(name, model=choice("toy", *networks), sampler=SLOW, first_seed=seed)
        for name, networks, seed in (("a", ("style",), 1), ("b", (), 9))
    )
    third = plan("c", model=choice("toy", "style"), sampler=SLOW, first_seed=20)
    jobs: list[Job] = []
    toy.before = at(1, lambda: jobs.extend([here.order(third), here.order(second)]))
    same(here.order(first).pixels(), alone(plan("a", sampler=SLOW)))
    for job, each in zip(jobs, (third, second), strict=True):
        same(job.pixels(), alone(each))
    assert here.manager.settled() == turns("toy+style", "toy")
    assert max(len(call.timesteps) for call in toy.calls) == 4


@pytest.mark.parametrize(
    ("other", "shared"),
    [
        (choice(), True),
        (replace(choice(), checkpoint=replace(info(), sha256="0" * 64)), True),
        (choice(tiling=True), False),
        (choice("toy", "style"), False),
    ],
    ids=["the same", "hashed since", "tiling", "networks"],
)
def test_what_a_model_wears_decides_who_shares_it(desk: Open, other: Any, shared: bool) -> None:
    toy = ToyCheckpoint()
    here = desk(toy=toy)
    second = plan("b", model=other, sampler=SLOW, first_seed=9)
    jobs: list[Job] = []
    toy.before = at(1, lambda: jobs.append(here.order(second)))
    here.order(plan("a", sampler=SLOW)).images()
    same(jobs[0].pixels(), alone(plan("b", sampler=SLOW, first_seed=9)))
    assert (max(len(call.timesteps) for call in toy.calls) == 4) == shared
    assert len(here.manager.settled()) == (2 if shared else 4)


def test_batches_that_wear_other_networks_change_the_model_between_them(desk: Open) -> None:
    networks = tuple(choice("toy", name).networks for name in ("x", "x", "y"))
    here = desk(toy=ToyCheckpoint())
    wanted = plan("a", "b", "c", batch_size=1, networks=networks, sampler=SLOW)
    same(here.order(wanted).pixels(), alone(replace(wanted, networks=())))
    assert here.manager.settled() == turns("toy+x", "toy+y")


def test_a_hires_fix_on_another_checkpoint(desk: Open) -> None:
    hires = hires_pass("Latent", 64, 32, model=choice("other"), prompts=("a",))
    wanted = plan("a", sampler=SLOW, hires=hires)
    here = desk(toy=ToyCheckpoint(), **others())
    job = here.order(wanted)
    assert job.pixels().shape == (1, 32, 64, 3)
    assert here.manager.settled() == turns("toy", "other")
    same(job.pixels(), alone(wanted, toy=ToyCheckpoint(), **others()))
    plain = alone(replace(wanted, hires=replace(hires, model=choice())))
    assert np.abs(job.pixels().astype(int) - plain).mean() > 5


def test_pictures_from_pictures_share_forwards_with_those_from_text(desk: Open) -> None:
    toy = ToyCheckpoint()
    here = desk(toy=toy)
    first, second = plan("a", sampler=SLOW), redrawing("b", sampler=SLOW, cfg_scale=3.0)
    jobs: list[Job] = []
    toy.before = at(1, lambda: jobs.append(here.order(second)))
    same(here.order(first).pixels(), alone(first))
    same(jobs[0].pixels(), alone(second))
    assert max(len(call.timesteps) for call in toy.calls) == 4


def test_a_load_of_the_model_in_use_does_not_wait(desk: Open) -> None:
    toy = ToyCheckpoint()
    here = desk(toy=toy)
    loads: list[Future[Generated]] = []
    done: list[bool] = []

    def before(call: int) -> None:
        if call == 1:
            loads.append(here.engine.load(choice("toy")))
        if call == 3:
            done.append(loads[0].done())

    toy.before = before
    here.order(plan("a", sampler=SLOW)).images()
    assert done == [True]
    assert here.manager.settled() == turns("toy")


def test_a_load_keeps_its_place_among_jobs(desk: Open) -> None:
    toy = ToyCheckpoint()
    here = desk(toy=toy, **others())
    jobs: list[Any] = []

    def more() -> None:
        jobs.append(here.engine.load(choice("other")))
        jobs.append(here.order(plan("b")).future)

    toy.before = at(1, more)
    here.order(plan("a")).images()
    for future in jobs:
        future.result(SECONDS)
    assert here.manager.settled() == turns("toy", "other", "toy")


def test_the_model_is_given_back_once_nobody_runs(desk: Open) -> None:
    here = desk(toy=ToyCheckpoint())
    for prompt in ("a", "boom", "c"):
        here.order(plan(prompt)).future.exception(SECONDS)
        assert here.manager.settled()[-1] == "return toy"
    assert here.manager.settled() == turns("toy", "toy", "toy")


def test_between_two_jobs_that_follow_at_once_the_model_is_kept(desk: Open) -> None:
    toy = ToyCheckpoint()
    here = desk(toy=toy)
    ready = threading.Event()
    jobs: list[Job] = []

    def before(call: int) -> None:
        if call == 4:
            jobs.append(here.order(plan("b")))
            ready.set()

    toy.before = before
    here.order(plan("a")).images()
    assert ready.wait(SECONDS)
    jobs[0].images()
    assert here.manager.settled() == turns("toy")


def test_an_empty_plan_s_model_is_not_asked_for(desk: Open) -> None:
    here = desk(toy=ToyCheckpoint(), bad=CORRUPT)
    wanted = plan("a", checkpoint="bad")
    watch = watching(wanted)
    watch.interrupt()
    assert here.order(wanted, watch=watch).images() == []
    assert here.manager.settled() == []


def test_no_more_jobs_run_than_fill_a_forward(desk: Open) -> None:
    """Of two rows each, three at six: the fourth begins when one of them has ended."""
    toy = ToyCheckpoint()
    here = desk(limits=Limits(max_rows=6), toy=toy)
    jobs: list[Job] = []
    plans = [plan(prompt, sampler=SLOW, first_seed=i) for i, prompt in enumerate("bcd", start=2)]
    toy.before = at(1, lambda: jobs.extend(here.order(each) for each in plans))
    first = here.order(plan("a", sampler=SLOW))
    same(first.pixels(), alone(plan("a", sampler=SLOW)))
    for job, wanted in zip(jobs, plans, strict=True):
        same(job.pixels(), alone(wanted))
    rows = "".join(str(len(call.timesteps)) for call in toy.calls)
    assert re.fullmatch("2+6+[24]+", rows), rows
    assert here.ended == ["a", "b", "c", "d"]
