"""An interrupt sent as soon as /progress tells of a job reaches it."""

import httpx

from .calls import SMALL, TXT2IMG, beside, is_idle, posted, until


def test_a_job_that_is_told_of_can_be_stopped(http: httpx.Client) -> None:
    job = beside(lambda: posted(http, TXT2IMG, {**SMALL, "steps": 1000, "n_iter": 9}))
    until(lambda: not is_idle(http))

    assert http.post("/sdapi/v1/interrupt").json() == {}

    assert len(job.result()["images"]) <= 1
    until(lambda: is_idle(http))
