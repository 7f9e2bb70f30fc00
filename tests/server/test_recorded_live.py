"""The recordings of several calls around a running job, replayed against a job that runs.

A job is held at each step at which the reference was asked, so that what is told can be equal, but
for times and the bytes of previews. What was asked without a picture is recorded with null in its
place. The pictures are compared elsewhere: here the UNet is not asked, which would take a minute.
"""

import json
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import httpx2
import pytest
import torch
from fastapi.testclient import TestClient

from pipelines.watch import Watch
from server.jobs import Job
from server.services import Services

from . import recordings
from .recordings import LIVE, Recording, differences
from .wire import recorded

PROGRESS, TXT2IMG = "/sdapi/v1/progress", "/sdapi/v1/txt2img"
LONG_S = 60.0
#: what differs from run to run
TIMES = ("eta_relative", "eta")


@dataclass
class Gate:
    """Holds the device thread where the first job has done so many passes and steps, in order."""

    stops: deque[tuple[int, int]]
    reached: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    go: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    watch: Watch | None = None

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("stepped", "begin_pass"):
            monkeypatch.setattr(Watch, name, self._held(getattr(Watch, name)))

    def _held(self, plain: Callable[..., None]) -> Callable[..., None]:
        def held(watch: Watch, *arguments: Any) -> None:
            plain(watch, *arguments)
            self.watch = self.watch or watch
            now = watch.progress()
            if watch is self.watch and self.stops and (now.done, now.step) == self.stops[0]:
                self.stops.popleft()
                self.reached.release()
                assert self.go.acquire(timeout=LONG_S)

        return held

    def wait(self) -> None:
        assert self.reached.acquire(timeout=LONG_S), "the job did not get there"


@pytest.fixture
def beside() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as pool:
        yield pool


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Callable[[Iterable[tuple[int, int]]], Gate]:
    def hold(stops: Iterable[tuple[int, int]]) -> Gate:
        gate = Gate(deque(dict.fromkeys(stops)))
        gate.install(monkeypatch)
        return gate

    return hold


Hold = Callable[[Iterable[tuple[int, int]]], Gate]


@pytest.fixture(autouse=True)
def no_noise_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have each forward done at once."""
    monkeypatch.setattr(
        "pipelines.answers.predict_rows",
        lambda checkpoint, rows, gauge: [torch.zeros_like(row.x) for row in rows],
    )


def place(poll: dict[str, Any]) -> tuple[int, int]:
    """Passes done and steps done when the reference was asked."""
    return poll["state"]["job_no"], poll["state"]["sampling_step"]


def running(client: TestClient) -> Job:
    services: Services = client.app.state.services  # type: ignore[attr-defined]
    job = services.jobs.current
    assert job is not None
    return job


def same(told: dict[str, Any], wanted: dict[str, Any], picture: str = "current_image") -> None:
    """Equal but for times and the bytes of a picture."""
    assert list(told) == list(wanted)
    left, right = dict(told), dict(wanted)
    for name in TIMES:
        assert (left.pop(name, 0) is None) == (right.pop(name, 0) is None)
    for each in (left, right):
        if isinstance(each.get("state"), dict):
            each["state"] = each["state"] | {"job_timestamp": len(each["state"]["job_timestamp"])}
    assert (left.pop(picture) is None) == (right.pop(picture) is None)
    if right["progress"] is not None:
        state = right.get("state") or {"job_count": 1, "sampling_steps": 0}
        # the reference takes its readings one after another: a step may pass between them
        steps = state["job_count"] * state["sampling_steps"]
        step = 1.01 / steps if steps else 1e-9
        assert left.pop("progress") == pytest.approx(right.pop("progress"), abs=step)
    assert left == right


def same_reply(record: dict[str, Any], response: httpx2.Response) -> None:
    """The job's reply is the recorded one, but for subseeds and times; pictures are counted."""
    job = record["job"]
    answer = {
        "images": [""] * job["n_images"],
        "parameters": job["parameters"],
        "info": json.dumps(job["info"]),
    }
    told = Recording(
        name=record["name"],
        method="POST",
        path=TXT2IMG,
        status=job["status"],
        answer=answer,
        kept=record["request"],
    )
    assert differences(told, response, {}) == set()


def polled(
    client: TestClient, gate: Gate, beside: ThreadPoolExecutor, ask: Callable[[], httpx2.Response]
) -> dict[str, Any]:
    """The answer to a poll at a held step; for its first picture the job goes on."""
    job = running(client)
    asking: Future[httpx2.Response] = beside.submit(ask)
    waited = threading.Event()
    while not asking.done() and (job.looking is None or job.looking.done()):
        waited.wait(0.001)
    gate.go.release()
    answer: dict[str, Any] = asking.result(LONG_S).json()
    return answer


@pytest.mark.parametrize("told", ["interrupt", "skip"])
def test_a_job_is_told_to_stop(
    client: TestClient, beside: ThreadPoolExecutor, held: Hold, told: str
) -> None:
    record = recorded(f"{told}_mid_job")
    wanted = record["progress_just_after"]
    gate = held([place(wanted)])
    job = beside.submit(client.post, TXT2IMG, json=record["request"])
    gate.wait()
    answer = client.post(f"/sdapi/v1/{told}")
    assert (answer.status_code, answer.json()) == (record[told]["status"], record[told]["response"])
    same(client.get(f"{PROGRESS}?skip_current_image=true").json(), wanted)
    gate.go.release()
    same_reply(record, job.result(LONG_S))


def test_progress_of_a_job(client: TestClient, beside: ThreadPoolExecutor, held: Hold) -> None:
    record = recorded("progress_mid_job")
    gate = held(map(place, record["polls"]))
    job = beside.submit(client.post, TXT2IMG, json=record["request"])
    for poll in record["polls"]:
        gate.wait()
        skip = "true" if poll["current_image"] is None else "false"
        path = f"{PROGRESS}?skip_current_image={skip}"
        same(polled(client, gate, beside, partial(client.get, path)), poll)
    same_reply(record, job.result(LONG_S))
    same(client.get(PROGRESS).json(), record["after_job"])


def test_progress_of_batches_with_two_passes(
    client: TestClient, beside: ThreadPoolExecutor, held: Hold
) -> None:
    record = recorded("progress_n_iter3_hires")
    # at first the reference counts the steps of both passes, until it has begun with one of them
    first, *polls = record["polls"]
    assert (first["state"]["sampling_steps"], place(first)) == (60, (0, 0))
    gate = held(map(place, polls))
    job = beside.submit(client.post, TXT2IMG, json=record["request"])
    distinct = {place(poll): poll for poll in polls}
    for poll in distinct.values():
        gate.wait()
        same(client.get(f"{PROGRESS}?skip_current_image=true").json(), poll)
        gate.go.release()
    assert len(job.result(LONG_S).json()["images"]) == 6


def test_progress_of_the_first_of_two_jobs(
    client: TestClient, beside: ThreadPoolExecutor, held: Hold
) -> None:
    """Here the second one runs beside it, which progress does not tell of."""
    record = recorded("two_concurrent")
    gate = held(map(place, record["polls"]))
    body = {"prompt": "1 girl", "steps": 60, "width": 64, "height": 64, "seed": 1}
    done: list[int] = []

    def post(number: int) -> None:
        assert client.post(TXT2IMG, json=body | {"seed": number}).status_code == 200
        done.append(number)

    jobs = [beside.submit(post, 1)]
    for poll in record["polls"]:
        gate.wait()
        if len(jobs) == 1:
            jobs.append(beside.submit(post, 2))
        same(client.get(f"{PROGRESS}?skip_current_image=true").json(), poll)
        gate.go.release()
    for job in jobs:
        job.result(LONG_S)
    assert record["first_done"] < record["second_done"]
    assert done == [1, 2]


def test_what_the_page_asks_of_a_job(
    client: TestClient, beside: ThreadPoolExecutor, held: Hold
) -> None:
    record, steps = recorded("ui_internal_progress_mid_job"), 60
    gate = held((0, round(poll["progress"] * steps)) for poll in record["polls"])
    mine = {"prompt": "1 girl", "steps": steps, "width": 64, "height": 64, "seed": 1}
    job = beside.submit(client.post, TXT2IMG, json=mine | {"force_task_id": "task(mine)"})
    seen = -1
    for poll in record["polls"]:
        gate.wait()
        body = {"id_task": "task(mine)", "id_live_preview": seen}
        assert client.get("/internal/pending-tasks").json() == record["pending_tasks"]
        told = polled(client, gate, beside, partial(client.post, "/internal/progress", json=body))
        same(told, poll, "live_preview")
        seen = told["id_live_preview"]
    assert job.result(LONG_S).status_code == 200
    after = client.post("/internal/progress", json={"id_task": "task(mine)"})
    assert after.json() == record["after"]


def test_overrides_do_not_stay(client: TestClient) -> None:
    """There they do: its own note says how. Here each job's text is that of a server alone."""
    plain, *others = recorded("override_leak_without_config_json")["steps"]
    for step in (plain, *others):
        reply = client.post(TXT2IMG, json=step["request"])
        assert reply.status_code == step["status"]
        wanted = plain["infotext"]
        settings = step["request"].get("override_settings", {})
        if "CLIP_stop_at_last_layers" in settings:
            wanted = step["infotext"]
        elif settings:
            wanted = wanted.replace(", Version", f", RNG: {settings['randn_source']}, Version")
        assert json.loads(reply.json()["info"])["infotexts"] == [wanted]


def test_all_of_them_are_replayed() -> None:
    stories = {
        "interrupt_mid_job",
        "override_leak_without_config_json",
        "progress_mid_job",
        "progress_n_iter3_hires",
        "skip_mid_job",
        "two_concurrent",
        "ui_internal_progress_mid_job",
    }
    assert stories == LIVE
    assert set(recordings.names()) >= LIVE
