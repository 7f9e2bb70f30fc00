"""A job that is told to stop while it waits ends at once, with the pictures that it has."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from pipelines.generate import Generated, generation
from pipelines.plan import Plan
from pipelines.steps import Decode, Step
from pipelines.watch import Watch

from .desk import SLOW, Desk, Job, Open, alone, at, same
from .made import Bench, watching
from .test_engine_models import others, refining, turns
from .test_hires import hires_pass
from .toy import ToyCheckpoint, choice, finish, plan, spec

#: long enough that who waits for it to end would be seen to wait
LONG = spec(steps=40)


class Scene:
    """A job that waits for another model, beside one that is far from done.

    It is told to stop within the forward of the first model whose number is `stop_at`.
    """

    def __init__(self, desk: Open, waits: Plan, *, stop_at: int) -> None:
        self.toy, watch = ToyCheckpoint(), watching(waits)
        self.here: Desk = desk(toy=self.toy, **others())
        self.companion = plan("companion", sampler=LONG, first_seed=9)
        self.jobs: list[Job] = []

        def before(now: int) -> None:
            if now == 1:
                self.jobs.append(self.here.order(self.companion))
            if now == stop_at:
                watch.interrupt()

        # before the job is there: the device thread takes it up at once
        self.toy.before = before
        self.waits = self.here.order(waits, watch=watch)


@pytest.mark.parametrize(
    ("wanted", "batch"),
    [
        (refining("a"), replace(refining("a"), refiner=None)),
        (
            plan(
                "a",
                sampler=SLOW,
                hires=hires_pass("Latent", 64, 32, model=choice("other"), prompts=("a",)),
            ),
            plan("a", sampler=SLOW),
        ),
    ],
    ids=["a refiner", "a hires checkpoint"],
)
def test_the_batch_is_decoded_by_the_model_it_is_on(desk: Open, wanted: Plan, batch: Plan) -> None:
    scene = Scene(desk, wanted, stop_at=20)
    (image,) = scene.waits.images()
    assert not image.complete
    # it ended before the one that holds the model, which may be done by the time that we look
    assert scene.here.ended[0] == "a"
    if wanted.refiner is None:
        same(scene.waits.pixels(), alone(batch))
    same(scene.jobs[0].pixels(), alone(scene.companion))
    assert scene.here.manager.settled() == turns("toy")


def test_batches_that_were_done_are_given(desk: Open) -> None:
    networks = ((), choice("toy", "y").networks)
    wanted = plan("a", "b", batch_size=1, networks=networks, sampler=SLOW)
    scene = Scene(desk, wanted, stop_at=20)
    (image,) = scene.waits.images()
    assert image.complete
    same(scene.waits.pixels(), alone(plan("a", sampler=SLOW)))
    assert scene.here.ended[0] == "a"


def test_what_another_model_drew_is_not_decoded_by_the_one_in_use(desk: Open) -> None:
    """Both wait for other models; the one that asked first got its own, the other is stopped."""
    toy, rest = ToyCheckpoint(), others()
    here = desk(toy=toy, **rest)
    older = refining("older", "other", sampler=spec("Euler a", steps=30, eta=1.0))
    later = spec("Euler a", steps=34, eta=1.0)
    younger = refining("younger", "third", first_seed=9, sampler=later)
    jobs: list[Job] = []
    toy.before = at(1, lambda: jobs.append(here.order(younger)))
    rest["other"].before = at(2, lambda: jobs[0].watch.interrupt())
    same(here.order(older).pixels(), alone(older, toy=ToyCheckpoint(), **others()))
    assert jobs[0].images() == []
    assert here.ended == ["younger", "older"]
    assert here.manager.settled() == turns("toy", "other")


def test_a_job_that_waits_for_admission_ends_without_pictures(desk: Open) -> None:
    toy = ToyCheckpoint()
    here = desk(toy=toy, **others())
    jobs: list[Job] = []

    def more(call: int) -> None:
        if call == 1:
            jobs.append(here.order(plan("late", checkpoint="other")))
        if call == 4:
            jobs[0].watch.interrupt()

    toy.before = more
    here.order(plan("a", sampler=SLOW)).images()
    assert jobs[0].images() == []
    assert here.ended == ["late", "a"]
    assert here.manager.settled() == turns("toy")


def test_a_skip_waits_for_the_model(desk: Open) -> None:
    """Only its batch is to end, and the next one needs a model as well."""
    toy, rest = ToyCheckpoint(), others()
    here = desk(toy=toy, **rest)
    job = here.order(refining("a"))
    rest["other"].before = at(1, job.watch.skip)
    (image,) = job.images()
    assert not image.complete
    assert here.manager.settled() == turns("toy", "other")


@pytest.mark.parametrize(
    ("stop", "complete"),
    [(Watch.interrupt, [True, True, False, False]), (Watch.skip, [True, True, False, False, True])],
    ids=["interrupt", "skip"],
)
def test_pictures_say_whether_they_are_complete(
    desk: Open, stop: Callable[[Watch], None], complete: list[bool]
) -> None:
    toy = ToyCheckpoint()
    wanted = plan("a", "b", "c", "d", "e", batch_size=2, sampler=SLOW)
    watch = watching(wanted)
    toy.before = at(8 + 3, lambda: stop(watch))
    job = desk(toy=toy).order(wanted, watch=watch)
    assert [image.complete for image in job.images()] == complete


def test_an_interrupt_while_pictures_are_decoded_leaves_them_complete() -> None:
    wanted, watch = plan("a", "b", batch_size=1), watching(plan("a", "b", batch_size=1))
    bench = Bench(toy=ToyCheckpoint())

    def answered(step: Step) -> Any:
        if isinstance(step, Decode):
            watch.interrupt()
        return bench(step)

    done: Generated = finish(generation(wanted, watch), answered)
    assert [image.complete for image in done.images] == [True]


@pytest.mark.parametrize("upscaler", ["Latent", "Lanczos"])
def test_the_first_of_two_passes_is_kept_where_asked(desk: Open, upscaler: str) -> None:
    hires = hires_pass(
        upscaler, 64, 32, prompts=("a", "b"), negative_prompts=("", ""), keep_first=True
    )
    wanted = plan("a", "b", batch_size=2, hires=hires)
    here = desk(toy=ToyCheckpoint())
    images = here.order(wanted).images()
    plain = here.order(replace(wanted, hires=None)).images()
    for image, first in zip(images, plain, strict=True):
        assert image.first is not None
        np.testing.assert_array_equal(image.first, first.pixels)
        assert image.pixels.shape == (32, 64, 3)
    (again, _) = here.order(replace(wanted, hires=replace(hires, keep_first=False))).images()
    assert again.first is None
    np.testing.assert_array_equal(again.pixels, images[0].pixels)


def test_a_first_pass_that_was_skipped_is_not_kept(desk: Open) -> None:
    toy = ToyCheckpoint()
    wanted = plan("a", sampler=SLOW, hires=hires_pass("Latent", 64, 32, keep_first=True))
    watch = watching(wanted)
    toy.before = at(3, watch.skip)
    (image,) = desk(toy=toy).order(wanted, watch=watch).images()
    assert (image.complete, image.first) == (False, None)
