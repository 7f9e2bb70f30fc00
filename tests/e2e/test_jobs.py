"""Jobs of a launched server: handed in, looked at, fetched, cancelled, left and asked for again."""

import json
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from typing import Any
from urllib.parse import quote

import pytest

from .launched import Launched, until

SMALL = {"prompt": "1 girl", "steps": 3, "width": 64, "height": 64, "seed": 1}
LONG = SMALL | {"steps": 1000}
T2I = "/sdapi/v1/txt2img"


def asked(server: Launched, name: str, **more: Any) -> dict[str, Any]:
    told: dict[str, Any] = server.post("/internal/progress", {"id_task": name, **more})
    return told


def submit(server: Launched, name: str, body: dict[str, Any]) -> str:
    handed_in = server.post(f"{T2I}?wait=false", body | {"force_task_id": name})
    assert handed_in["id_task"] == name
    return str(handed_in["result"])


def test_a_job_is_handed_in_watched_and_fetched(server: Launched) -> None:
    place = submit(server, "task(polled)", SMALL)
    until(lambda: asked(server, "task(polled)")["completed"])
    fetched = server.get(place)
    assert fetched == server.get(f"/internal/result/{quote('task(polled)')}")
    assert json.loads(fetched["info"])["all_seeds"] == [1]
    assert fetched == server.post(T2I, SMALL | {"force_task_id": "task(polled)"})
    assert server.get("/sdapi/v1/progress?id_task=task(polled)")["progress"] == 1.0


def test_the_same_request_sent_twice_is_one_job(server: Launched) -> None:
    body = SMALL | {"seed": -1, "steps": 60, "force_task_id": "task(twice)"}
    with ThreadPoolExecutor(2) as threads:
        first, second = threads.map(lambda _: server.post(T2I, body), range(2))
    assert first["info"] == second["info"]
    assert first["images"] == second["images"]


def test_a_running_and_a_waiting_job_are_cancelled(server: Launched) -> None:
    running = submit(server, "task(running)", LONG)
    until(lambda: asked(server, "task(running)")["active"])
    other = {"override_settings": {"sd_model_checkpoint": "tiny-vpred.safetensors"}}
    waiting = submit(server, "task(waiting)", LONG | other)
    until(lambda: asked(server, "task(waiting)")["textinfo"] == "In queue: 1/1")
    assert server.get("/internal/pending-tasks") == {"size": 1, "tasks": ["task(waiting)"]}
    for name in ("task(waiting)", "task(running)"):
        server.post("/internal/cancel", {"id_task": name})
        until(lambda name=name: asked(server, name)["completed"])  # type: ignore[misc]
        assert asked(server, name)["textinfo"] == "error: the job was cancelled"
    for place in (running, waiting):
        with pytest.raises(urllib.error.HTTPError) as refused:
            server.get(place)
        assert refused.value.code == 499
        refused.value.close()


def test_previews_are_sent_once(server: Launched) -> None:
    submit(server, "task(seen)", LONG)
    shown: list[str] = []

    def seen() -> bool:
        shown.extend(filter(None, [asked(server, "task(seen)")["live_preview"]]))
        return bool(shown)

    until(seen)
    assert shown[0].startswith("data:image/png;base64,")
    server.post("/sdapi/v1/interrupt?id_task=task(seen)", {})
    until(lambda: asked(server, "task(seen)")["completed"])
    assert asked(server, "task(seen)")["textinfo"] == "Waiting..."
    assert len(server.get("/internal/result/task(seen)")["images"]) == 1


@pytest.mark.parametrize(("query", "dropped"), [("", True), ("?wait=false", False)])
def test_who_hangs_up_drops_what_it_waited_for(server: Launched, query: str, dropped: bool) -> None:
    name = f"task(left-{dropped})"
    body = json.dumps(LONG | {"steps": 200, "force_task_id": name})
    connection = HTTPConnection("127.0.0.1", server.port)
    connection.request("POST", T2I + query, body, {"Content-Type": "application/json"})
    until(lambda: asked(server, name)["active"])
    connection.close()
    until(lambda: asked(server, name)["completed"])
    assert asked(server, name)["textinfo"] == (
        "error: the job was cancelled" if dropped else "Waiting..."
    )


def test_an_error_names_its_job_and_the_next_one_is_served(server: Launched) -> None:
    body = SMALL | {"override_settings": {"CLIP_stop_at_last_layers": 99}}
    request = urllib.request.Request(
        f"http://127.0.0.1:{server.port}{T2I}",
        json.dumps(body | {"force_task_id": "task(bad)"}).encode(),
        {"Content-Type": "application/json"},
    )
    with pytest.raises(urllib.error.HTTPError) as failed:
        urllib.request.urlopen(request, timeout=60)
    assert (failed.value.code, failed.value.headers["X-Task-Id"]) == (422, "task(bad)")
    failed.value.close()
    told = asked(server, "task(bad)")
    assert told["completed"]
    assert "clip skip 99" in told["textinfo"]
    assert server.get("/sdapi/v1/progress")["state"]["job_count"] == 0
    assert len(server.post(T2I, SMALL)["images"]) == 1
