"""A request as a job: waited for or not, asked for again, left, refused, failed."""

import asyncio
import base64
import io
import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from models.errors import NansException
from pipelines.watch import Cancelled
from server.kept import Outcome
from server.schemas.img2img import Img2ImgRequest
from server.submission import MAX_ID, delivery, wish

from .calling import SOON_S, Called, calling, post_until

T2I, I2I = "/sdapi/v1/txt2img", "/sdapi/v1/img2img"
MINE = {"prompt": "a", "force_task_id": "task(mine)", "width": 64, "height": 64}


def asked(here: Called, body: Any = MINE, path: str = T2I) -> "asyncio.Task[httpx.Response]":
    return asyncio.create_task(here.client.post(path, json=body))


async def until_waiting(here: Called, clients: int) -> None:
    async with asyncio.timeout(SOON_S):
        while (job := here.services.jobs.find("task(mine)")) is None or job.clients != clients:
            await asyncio.sleep(0.001)


async def test_the_same_request_at_the_same_time_is_carried_out_once(tmp_path: Path) -> None:
    async with calling(tmp_path) as here:
        first = asked(here)
        await here.submitted(1)
        second = asked(here)
        await until_waiting(here, 2)
        here.finish(1)
        answers = [await first, await second]
        assert [each.status_code for each in answers] == [200, 200]
        assert answers[0].content == answers[1].content
        assert {each.headers["x-task-id"] for each in answers} == {"task(mine)"}
        assert len(here.device.submitted) == 1


async def test_the_same_request_later_is_answered_from_what_is_kept(tmp_path: Path) -> None:
    async with calling(tmp_path) as here:
        first = asked(here)
        await here.submitted(1)
        here.finish(1)
        before = await first
        again = await here.client.post(T2I, json=MINE)
        assert again.content == before.content
        assert again.headers["x-task-id"] == "task(mine)"
        assert "asked for before" in again.headers["x-darkroom-warning"]
        assert "x-darkroom-warning" not in before.headers
        assert len(here.device.submitted) == 1


@pytest.mark.parametrize(
    "changes", [{"prompt": "b"}, {"force_task_id": "task(other)"}, {"force_task_id": None}]
)
async def test_another_request_is_another_job(tmp_path: Path, changes: dict[str, Any]) -> None:
    async with calling(tmp_path) as here:
        first, second = asked(here), None
        await here.submitted(1)
        second = asked(here, MINE | changes)
        await here.submitted(2)
        here.finish(2)
        here.finish(1)
        assert (await first).status_code == (await second).status_code == 200
        assert here.services.jobs.jobs == ()


@pytest.mark.parametrize(
    "changes", [{"init_images": ["BBBB"]}, {"mask": "BBBB"}, {"init_images": ["AAAA", "AAAA"]}]
)
def test_other_pictures_are_another_request(changes: dict[str, Any]) -> None:
    body = MINE | {"init_images": ["AAAA"]}
    sent = (Img2ImgRequest.model_validate(each) for each in (body, body, body | changes))
    first, same, other = (wish("img2img", each).digest for each in sent)
    assert first == same != other


async def test_requests_without_an_id_are_never_the_same(tmp_path: Path) -> None:
    async with calling(tmp_path) as here:
        body = MINE | {"force_task_id": None}
        both = asked(here, body), asked(here, body)
        await here.submitted(2)
        here.finish(1)
        here.finish(2)
        ids = {(await each).headers["x-task-id"] for each in both}
        assert len(ids) == 2
        for each in ids:
            assert (await here.client.get(f"/internal/result/{each}")).status_code == 404


async def test_a_failure_is_not_repeated_from_memory(tmp_path: Path) -> None:
    async with calling(tmp_path) as here:
        first = asked(here)
        await here.submitted(1)
        here.finish(1, NansException("UNet"))
        assert (await first).status_code == 500
        second = asked(here)
        await here.submitted(2)
        here.finish(2)
        assert (await second).status_code == 200


@pytest.mark.parametrize(
    ("error", "status", "told"),
    [
        (NansException("UNet"), 500, {"error": "NansException", "detail": ""}),
        (
            ZeroDivisionError("by nought"),
            500,
            {"error": "ZeroDivisionError", "errors": "by nought"},
        ),
        (Cancelled("gone"), 499, {"error": "Cancelled", "errors": "gone"}),
    ],
)
async def test_an_error_names_its_job(
    tmp_path: Path, error: Exception, status: int, told: dict[str, str]
) -> None:
    async with calling(tmp_path) as here:
        answer = asked(here)
        await here.submitted(1)
        here.finish(1, error)
        reply = await answer
        assert (reply.status_code, reply.headers["x-task-id"]) == (status, "task(mine)")
        assert reply.json() == reply.json() | told
        assert here.services.jobs.jobs == ()
        idle = await here.get("/sdapi/v1/progress")
        assert (idle["progress"], idle["state"]["job_count"], idle["state"]["job"]) == (0, 0, "")


async def test_a_mistake_that_the_job_finds_names_it_too(tmp_path: Path) -> None:
    async with calling(tmp_path) as here:
        reply = await here.client.post(I2I, json={"init_images": ["no picture"]})
        assert reply.status_code == 500
        assert reply.json()["detail"] == "Invalid encoded image"
        assert reply.headers["x-task-id"].startswith("task(img2img-")
        extra = await here.client.post("/sdapi/v1/extra-single-image", json={"image": "no"})
        assert extra.status_code == 500
        assert extra.headers["x-task-id"].startswith("task(extras-")
        assert here.services.jobs.jobs == ()


@pytest.mark.parametrize(("path", "more"), [(T2I, {}), (I2I, {"init_images": ["@"]})])
async def test_a_client_need_not_wait(
    tmp_path: Path, path: str, more: dict[str, Any], picture: str
) -> None:
    if more:
        more = {"init_images": [picture]}
    async with calling(tmp_path) as here:
        answer = await here.client.post(f"{path}?wait=false", json=MINE | more)
        place = "/internal/result/task%28mine%29"
        assert answer.status_code == 202
        assert answer.json() == {"id_task": "task(mine)", "result": place}
        assert answer.headers["location"] == place
        assert answer.headers["x-task-id"] == "task(mine)"
        early = await here.client.get(place)
        assert (early.status_code, early.json()) == (202, answer.json())
        await here.submitted(1)
        here.finish(1)
        reply = await finished(here, place)
        assert reply.status_code == 200
        assert len(reply.json()["images"]) == 1
        assert reply.headers["x-task-id"] == "task(mine)"
        assert (await here.client.get(place)).content == reply.content
        again = await here.client.post(f"{path}?wait=false", json=MINE | more)
        assert (again.status_code, again.json()) == (202, answer.json())
        assert len(here.device.submitted) == 1


@pytest.fixture
def picture() -> str:
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


async def finished(here: Called, place: str) -> httpx.Response:
    async with asyncio.timeout(SOON_S):
        while (reply := await here.client.get(place)).status_code == 202:
            await asyncio.sleep(0.001)
    return reply


async def test_an_error_is_fetched_as_it_would_have_been_answered(tmp_path: Path) -> None:
    async with calling(tmp_path) as here:
        place = (await here.client.post(f"{T2I}?wait=false", json={})).json()["result"]
        await here.submitted(1)
        here.finish(1, NansException("UNet"))
        reply = await finished(here, place)
        assert reply.status_code == 500
        assert reply.json()["error"] == "NansException"


async def test_an_unknown_result_is_not_found(tmp_path: Path) -> None:
    async with calling(tmp_path) as here:
        reply = await here.client.get("/internal/result/task(no/such)")
        assert reply.status_code == 404
        assert "task(no/such)" in reply.json()["detail"]


async def test_a_client_that_hangs_up_takes_its_job_with_it(tmp_path: Path) -> None:
    async with calling(tmp_path) as here:
        gone = asyncio.Event()
        answer = asyncio.create_task(post_until(here.app, T2I, MINE, gone))
        _, watch = await here.submitted(1)
        assert not watch.cancelled
        gone.set()
        async with asyncio.timeout(SOON_S):
            while not watch.cancelled:
                await asyncio.sleep(0.001)
        again = asked(here)  # not the job that is being dropped
        await here.submitted(2)
        here.finish(1, Cancelled("gone"))
        here.finish(2)
        assert await answer == 499
        assert (await again).status_code == 200


async def test_a_job_goes_on_while_one_client_waits(tmp_path: Path) -> None:
    async with calling(tmp_path) as here:
        gone = asyncio.Event()
        leaving = asyncio.create_task(post_until(here.app, T2I, MINE, gone))
        _, watch = await here.submitted(1)
        staying = asked(here)
        await until_waiting(here, 2)
        gone.set()
        await until_waiting(here, 1)
        assert not watch.cancelled
        here.finish(1)
        assert (await staying).status_code == 200
        assert await leaving == 200


async def test_a_job_that_nobody_waits_for_outlives_its_connection(tmp_path: Path) -> None:
    async with calling(tmp_path) as here:
        gone = asyncio.Event()
        gone.set()
        assert await post_until(here.app, f"{T2I}?wait=false", MINE, gone) == 202
        _, watch = await here.submitted(1)
        waiting = asyncio.Event()
        later = asyncio.create_task(post_until(here.app, T2I, MINE, waiting))
        await until_waiting(here, 1)
        waiting.set()
        await until_waiting(here, 0)
        assert not watch.cancelled
        here.finish(1)
        assert await later == 200


async def test_a_full_queue_refuses_before_it_begins(tmp_path: Path) -> None:
    async with calling(tmp_path, "--max-queue", "1") as here:
        first = asked(here)
        await here.submitted(1)
        refused = await here.client.post(T2I, json=MINE | {"force_task_id": "task(late)"})
        assert refused.status_code == 503
        assert int(refused.headers["retry-after"]) == 5
        assert "1 jobs" in refused.json()["detail"]
        assert "x-task-id" not in refused.headers
        retried = asked(here)  # the first one's retry has a place: it needs none
        await until_waiting(here, 2)
        here.finish(1)
        assert (await first).content == (await retried).content
        assert len(here.device.submitted) == 1


async def test_ids_are_of_a_bearable_length(tmp_path: Path) -> None:
    async with calling(tmp_path) as here:
        reply = await here.client.post(T2I, json={"force_task_id": "x" * (MAX_ID + 1)})
        assert reply.status_code == 422
        assert (
            reply.json()["detail"]
            == f"force_task_id has {MAX_ID + 1} characters; allowed are at most {MAX_ID}"
        )


async def test_a_job_is_cancelled_by_its_id(tmp_path: Path) -> None:
    async with calling(tmp_path) as here:
        answer = asked(here)
        _, watch = await here.submitted(1)
        assert await here.post("/internal/cancel", {"id_task": "task(mine)"}) == {
            "id_task": "task(mine)"
        }
        assert watch.cancelled
        here.finish(1)  # too late to be dropped by the device: cancelled all the same
        reply = await answer
        assert (reply.status_code, reply.json()["error"]) == (499, "Cancelled")
        told = await here.post("/internal/progress", {"id_task": "task(mine)"})
        assert told["completed"]
        assert told["textinfo"] == "error: the job was cancelled"
        late = await here.client.post("/internal/cancel", json={"id_task": "task(mine)"})
        assert late.status_code == 404
        assert (await here.client.post("/internal/cancel", json={})).status_code == 422


async def test_a_webhook_is_guarded_and_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    delivered: list[tuple[str, str, Outcome]] = []

    async def deliver(url: str, job_id: str, outcome: Outcome, options: object) -> None:
        delivered.append((url, job_id, outcome))

    monkeypatch.setattr("server.webhook.deliver", deliver)
    async with calling(tmp_path) as here:
        for inside in ("http://127.0.0.1/hook", "http://[::1]:7860/", "ftp://example.org/"):
            refused = await here.client.post(T2I, params={"webhook": inside}, json=MINE)
            assert refused.status_code == 422
            assert refused.json()["detail"].startswith(f"webhook {inside!r}: ")
        assert not here.device.submitted
        assert delivery(webhook="").webhook is None
        url = "http://93.184.215.14/hook"
        answer = await here.client.post(T2I, params={"webhook": url, "wait": "false"}, json=MINE)
        assert answer.status_code == 202
        await here.submitted(1)
        assert not delivered
        here.finish(1)
        reply = await finished(here, answer.json()["result"])
        async with asyncio.timeout(SOON_S):
            while not delivered:
                await asyncio.sleep(0.001)
        ((told, job_id, outcome),) = delivered
        assert (told, job_id) == (url, "task(mine)")
        assert json.loads(outcome.body) == reply.json()
