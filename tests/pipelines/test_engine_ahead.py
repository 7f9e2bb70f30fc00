"""What is wanted next may be read while others draw."""

from .desk import Job, Open, at
from .toy import ToyCheckpoint, plan


def test_the_model_of_the_next_job_is_foreseen_while_another_draws(desk: Open) -> None:
    toy = ToyCheckpoint()
    here = desk(toy=toy, other=ToyCheckpoint(), third=ToyCheckpoint())
    jobs: list[Job] = []
    meanwhile: list[str] = []

    def before(call: int) -> None:
        if call == 2:
            jobs.extend(here.order(plan(each, checkpoint=each)) for each in ("other", "third"))
        if call == 4:
            meanwhile.extend(here.manager.foreseen)

    toy.before = before
    here.order(plan("a")).images()
    # the first in the line is the next; the one behind it has to wait for that
    assert set(meanwhile) == {"other"}
    for job in jobs:
        job.images()
    assert set(here.manager.foreseen) == {"other", "third"}
    assert list(dict.fromkeys(here.manager.foreseen)) == ["other", "third"]


def test_nothing_is_foreseen_for_jobs_of_the_model_in_use(desk: Open) -> None:
    toy = ToyCheckpoint()
    here = desk(toy=toy)
    jobs: list[Job] = []
    toy.before = at(2, lambda: jobs.append(here.order(plan("b"))))
    here.order(plan("a")).images()
    jobs[0].images()
    assert here.manager.foreseen == []
