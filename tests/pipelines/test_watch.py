"""A watch: what it shows, and what it is told."""

import time

import numpy as np
import pytest

from pipelines.watch import ONLY_FINISHED, Watch

PIXELS = np.zeros((1, 2, 2, 3), np.uint8)


def watch(*, every: int = 0, steps: int = 10) -> Watch:
    return Watch(batch_count=3, steps=steps, preview_every=every)


def test_progress_follows_steps_and_batches() -> None:
    watched = watch()
    start = watched.progress()
    assert (start.batch, start.batch_count, start.step, start.steps) == (0, 3, 0, 10)
    assert start.started is None
    watched.begin()
    watched.begin_batch(1)
    watched.stepped(4, "latents")
    now = watched.progress()
    assert (now.batch, now.step) == (1, 4)
    assert now.started is not None
    assert now.started <= time.monotonic()
    watched.end_pass()
    assert (watched.progress().batch, watched.progress().step) == (2, 0)


def test_a_reading_does_not_change_afterwards() -> None:
    watched = watch()
    before = watched.progress()
    watched.stepped(5, "latents")
    assert (before.step, watched.progress().step) == (0, 5)


def test_steps_beyond_the_last_are_shown_as_the_last() -> None:
    watched = watch(steps=4)
    watched.stepped(9, "latents")
    assert watched.progress().step == 4


def test_nothing_stops_by_itself() -> None:
    watched = watch()
    assert not (watched.stopping or watched.interrupted or watched.cancelled)


def test_an_interrupt_lasts() -> None:
    watched = watch()
    watched.interrupt()
    watched.begin_batch(1)
    assert watched.stopping
    assert watched.interrupted
    assert (watched.progress().interrupted, watched.progress().skipped) == (True, False)


def test_a_skip_ends_with_its_batch() -> None:
    watched = watch()
    watched.begin_batch(0)
    watched.skip()
    assert watched.stopping
    assert not watched.interrupted
    assert (watched.progress().interrupted, watched.progress().skipped) == (False, True)
    watched.begin_batch(1)
    assert not watched.stopping
    assert not watched.progress().skipped


def test_a_cancel_is_no_interrupt() -> None:
    watched = watch()
    watched.cancel()
    assert watched.cancelled
    assert not watched.stopping


def test_the_newest_denoised_are_kept_for_one_batch() -> None:
    watched = watch()
    watched.begin_batch(0)
    watched.stepped(1, "old")
    watched.stepped(2, "new")
    assert watched.denoised == "new"
    watched.begin_batch(1)
    assert watched.denoised is None


def test_a_preview_is_due_when_asked_for_and_steps_have_passed() -> None:
    watched = watch(every=3)
    watched.stepped(3, "latents")
    assert not watched.preview_due()
    assert watched.want_preview() is None
    assert watched.preview_due()


def test_a_preview_waits_for_its_number_of_steps() -> None:
    watched = watch(every=3)
    watched.want_preview()
    due = []
    for step in range(1, 5):
        watched.stepped(step, "latents")
        due.append(watched.preview_due())
    assert due == [False, False, True, True]


def test_the_next_preview_counts_from_the_last_and_needs_asking_again() -> None:
    watched = watch(every=3)
    watched.want_preview()
    watched.stepped(4, "latents")
    watched.show(PIXELS)
    watched.stepped(7, "latents")
    assert not watched.preview_due()
    shown = watched.want_preview()
    assert shown is not None
    assert shown.number == 1
    assert shown.pixels is PIXELS
    assert watched.preview_due()
    watched.show(PIXELS)
    newer = watched.want_preview()
    assert newer is not None
    assert newer.number == 2
    assert not watched.preview_due()


def test_a_new_batch_counts_its_steps_anew() -> None:
    watched = watch(every=2)
    watched.want_preview()
    watched.stepped(9, "latents")
    watched.show(PIXELS)
    watched.want_preview()
    watched.begin_batch(1)
    assert not watched.preview_due()
    watched.stepped(2, "latents")
    assert watched.preview_due()


def test_without_an_interval_there_are_no_previews() -> None:
    watched = watch(every=0)
    watched.want_preview()
    watched.stepped(5, "latents")
    assert not watched.preview_due()


def test_without_latents_there_is_no_preview() -> None:
    watched = watch(every=1)
    watched.want_preview()
    watched.stepped(5, None)
    assert not watched.preview_due()


def passed(watched: Watch, *batches: int, passes: int = 1) -> None:
    """Some batches of a plan, to their end."""
    for index in batches:
        watched.begin_batch(index)
        for _ in range(passes):
            watched.begin_pass(7)
            watched.stepped(7, "latents")
            watched.end_pass()


def counted(watched: Watch) -> tuple[int, int]:
    """The batch under way and how many there will be."""
    now = watched.progress()
    return now.batch, now.batch_count


def test_a_plan_brings_its_numbers() -> None:
    watched = Watch()
    watched.begin_plan(batch_count=2, passes=2, steps=9, preview_every=4)
    now = watched.progress()
    assert (now.batch, now.batch_count, now.passes, now.done) == (0, 2, 2, 0)
    assert (now.step, now.steps) == (0, 9)
    watched.want_preview()
    watched.stepped(3, "latents")
    assert not watched.preview_due()
    watched.stepped(4, "latents")
    assert watched.preview_due()


@pytest.mark.parametrize("passes", [1, 2])
def test_plans_that_are_expected_count_from_the_start(passes: int) -> None:
    watched = Watch()
    watched.expect_plans(3)
    seen = []
    for _ in range(3):
        watched.begin_plan(batch_count=2, passes=passes, steps=7, preview_every=0)
        seen.append(counted(watched))
        passed(watched, 0, 1, passes=passes)
        seen.append(counted(watched))
    assert seen == [(0, 6), (2, 6), (2, 6), (4, 6), (4, 6), (6, 6)]
    assert watched.progress().done == 6 * passes


def test_a_plan_that_nobody_expected_makes_the_job_longer() -> None:
    watched = Watch()
    for begun in range(3):
        watched.begin_plan(batch_count=2, passes=1, steps=7, preview_every=0)
        assert counted(watched) == (2 * begun, 2 * begun + 2)
        passed(watched, 0, 1)


def test_plans_of_other_lengths_are_counted_as_they_come() -> None:
    watched = Watch()
    watched.expect_plans(2)
    watched.begin_plan(batch_count=1, passes=1, steps=7, preview_every=0)
    passed(watched, 0)
    watched.begin_plan(batch_count=4, passes=1, steps=7, preview_every=0)
    assert counted(watched) == (1, 5)
    passed(watched, 0, 1, 2, 3)
    assert counted(watched) == (5, 5)


def test_a_plan_cut_short_counts_as_done() -> None:
    watched = Watch()
    watched.expect_plans(2)
    watched.begin_plan(batch_count=2, passes=2, steps=7, preview_every=0)
    watched.begin_batch(0)
    watched.end_pass()  # a skip, and no second pass
    watched.begin_plan(batch_count=2, passes=2, steps=7, preview_every=0)
    assert counted(watched)[1] == 4
    watched.begin_batch(0)
    assert counted(watched) == (2, 4)


@pytest.mark.parametrize(
    "plans",
    [
        [(1, 1), (1, 2), (1, 1)],
        [(2, 2), (1, 1), (1, 1)],
        [(1, 2), (3, 1), (2, 2), (1, 1)],
        [(1, 1)] * 6,
    ],
    ids=str,
)
def test_plans_of_mixed_kinds_are_done_share_by_share(plans: list[tuple[int, int]]) -> None:
    watched = Watch()
    watched.expect_plans(len(plans))
    shares, batches = [], []
    for batch_count, passes in plans:
        watched.begin_plan(batch_count=batch_count, passes=passes, steps=4, preview_every=0)
        for index in range(batch_count):
            watched.begin_batch(index)
            batches.append(counted(watched)[0])
            for _ in range(passes):
                watched.begin_pass(4)
                for step in range(1, 5):
                    watched.stepped(step, "latents")
                    shares.append(watched.progress().share)
                watched.end_pass()
                shares.append(watched.progress().share)
    assert shares == sorted(shares)
    assert len({*shares}) == 4 * sum(count * passes for count, passes in plans)
    assert shares[-1] == 1
    assert batches == list(range(sum(count for count, _ in plans)))
    assert counted(watched) == (len(batches), len(batches))


def test_no_plans_are_as_good_as_one() -> None:
    watched = Watch()
    watched.expect_plans(0)
    watched.begin_plan(batch_count=3, passes=1, steps=7, preview_every=0)
    assert counted(watched) == (0, 3)


def test_the_job_began_with_its_first_plan() -> None:
    watched = Watch()
    watched.begin()
    first = watched.progress().started
    watched.begin_plan(batch_count=1, passes=1, steps=7, preview_every=0)
    watched.begin()
    assert first is not None
    assert watched.progress().started == first


def test_an_interrupt_ends_the_plans_to_come() -> None:
    watched = Watch()
    watched.expect_plans(2)
    watched.begin_plan(batch_count=1, passes=1, steps=7, preview_every=0)
    watched.interrupt()
    watched.begin_plan(batch_count=1, passes=1, steps=7, preview_every=0)
    assert watched.interrupted


def test_who_waits_for_the_start_is_told_once() -> None:
    watched, told = Watch(), []
    watched.when_begun(lambda: told.append(watched.progress().started is not None))
    watched.begin()
    watched.begin()
    assert told == [True]


def test_what_is_over_shows_nothing_and_keeps_its_numbers() -> None:
    watched = watch(every=1)
    watched.begin()
    watched.begin_batch(2)
    watched.stepped(4, "latents")
    watched.show(PIXELS)
    watched.interrupt()
    watched.end()
    assert watched.denoised is None
    assert watched.want_preview() is None
    now = watched.progress()
    assert (now.batch, now.steps, now.interrupted) == (2, 10, True)


@pytest.mark.parametrize(("every", "shown"), [(ONLY_FINISHED, True), (0, False), (2, False)])
def test_finished_pictures_are_shown_where_nothing_else_is(every: int, shown: bool) -> None:
    watched = watch(every=every)
    watched.want_preview()
    watched.stepped(1, "latents")
    assert not watched.preview_due()
    watched.finished(PIXELS)
    assert (watched.want_preview() is not None) == shown


def test_a_plan_says_how_it_is_looked_at() -> None:
    watched = Watch()
    watched.expect_plans(4)
    watched.begin_plan(batch_count=1, passes=1, steps=2, preview_every=1, preview_method="TAESD")
    assert watched.preview_method == "TAESD"
    assert watched.progress().plans == 4
