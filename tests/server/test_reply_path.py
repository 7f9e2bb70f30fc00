"""The way of a reply: written once, on threads of its own, and sent as it was written."""

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest

from server.body import json_with
from server.imagecodec import encode
from server.schemas.generation import GenerationReply

from .calling import Called, calling

T2I = "/sdapi/v1/txt2img"
MINE = {"prompt": "a", "force_task_id": "task(mine)", "width": 64, "height": 64}
CHATTY = MINE | {"batch_size": 2, "alwayson_scripts": {}, "styles": [], "comments": {"a": "é"}}


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, bytes]]:
    """The pictures and replies that were written, and the thread of each."""
    made: list[tuple[str, bytes]] = []

    def noting(write: Any) -> Any:
        def noted(*asked: Any) -> bytes:
            data: bytes = write(*asked)
            made.append((threading.current_thread().name, data))
            return data

        return noted

    monkeypatch.setattr("server.body.encode", noting(encode))
    monkeypatch.setattr("server.answer.json_with", noting(json_with))
    return made


async def drawn(here: Called, **fields: Any) -> Any:
    asked = asyncio.create_task(here.client.post(T2I, json=CHATTY | fields))
    await here.submitted(1)
    here.finish(1)
    return await asked


async def test_the_bytes_that_were_written_are_kept_and_sent(
    tmp_path: Path, written: list[tuple[str, bytes]]
) -> None:
    async with calling(tmp_path) as here:
        reply = await drawn(here)
        kept = here.services.jobs.kept.find("task(mine)")
        assert kept is not None
        assert kept.body is written[-1][1]
        assert reply.content == kept.body
        later = await here.client.get("/internal/result/task(mine)")
        assert later.content == kept.body


async def test_nothing_of_it_is_written_on_the_event_loop(
    tmp_path: Path, written: list[tuple[str, bytes]]
) -> None:
    async with calling(tmp_path) as here:
        await drawn(here)
    assert len(written) == 3
    assert all(thread.startswith("writing") for thread, _ in written)


async def test_a_reply_is_what_its_schema_writes(tmp_path: Path) -> None:
    async with calling(tmp_path) as here:
        reply = await drawn(here)
    told = reply.json()
    assert [*told] == ["images", "parameters", "info"]
    assert len(told["images"]) == 2
    whole = GenerationReply.model_validate(told)
    assert reply.content == whole.model_dump_json().encode()


async def test_pictures_that_are_not_wanted_are_not_written(
    tmp_path: Path, written: list[tuple[str, bytes]]
) -> None:
    async with calling(tmp_path) as here:
        reply = await drawn(here, send_images=False)
    assert reply.content.startswith(b'{"images":[],"parameters":{')
    assert len(written) == 1


async def test_a_job_is_begun_though_many_pictures_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = threading.Event()

    def slow(*asked: Any) -> bytes:
        free.wait(20)
        return b""

    monkeypatch.setattr("server.body.encode", slow)
    async with calling(tmp_path) as here:
        many = asyncio.create_task(here.client.post(T2I, json=MINE | {"n_iter": 64}))
        await here.submitted(1)
        here.finish(1)
        other = asyncio.create_task(here.client.post(T2I, json=MINE | {"force_task_id": None}))
        await here.submitted(2)
        assert not many.done()
        free.set()
        here.finish(2)
        assert (await many).status_code == (await other).status_code == 200
