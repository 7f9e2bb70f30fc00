"""The engine: jobs in one another's company.

Most orders are given from within a forward, on the device thread: nothing is left to chance.
"""

import numpy as np
import pytest

from pipelines.admission import Limits
from pipelines.plan import Plan
from pipelines.watch import Preview, Watch

from .desk import SLOW, Job, Open, alone, as_pixels, at, same
from .toy import ToyCheckpoint, plan, spec


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
    here = desk(toy=toy, limits=Limits(max_rows=4))
    first, second = plan("a", "b", sampler=SLOW), plan("c", "d", sampler=SLOW, first_seed=9)
    jobs: list[Job] = []
    toy.before = at(1, lambda: jobs.append(here.order(second)))
    same(here.order(first).pixels(), alone(first))
    same(jobs[0].pixels(), alone(second))
    assert {len(call.timesteps) for call in toy.calls} == {4}
    assert len(toy.calls) == 16


def test_a_batch_of_more_than_the_most_rows_goes_in_parts(desk: Open) -> None:
    toy = ToyCheckpoint()
    wanted = plan("a", "b", "c", sampler=SLOW)
    here = desk(toy=toy, limits=Limits(max_rows=2))
    same(here.order(wanted).pixels(), alone(wanted))
    assert {len(call.timesteps) for call in toy.calls} == {2}


@pytest.mark.parametrize(
    "other",
    [
        plan("b", width=64, first_seed=9, sampler=SLOW),
        plan("w " * 80, negative="v " * 80, first_seed=9, sampler=SLOW),
    ],
    ids=["size", "length"],
)
def test_other_sizes_and_lengths_run_beside_in_their_own_forwards(desk: Open, other: Plan) -> None:
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
    watch = Watch()
    watch.begin_plan(batch_count=1, passes=1, steps=8, preview_every=every, preview_method="Full")
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
