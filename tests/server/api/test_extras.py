"""The routes of extras beside the reference's recordings."""

import asyncio
import base64
import io
from pathlib import Path
from typing import Any, cast

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from PIL import Image

from pipelines.watch import Watch
from server.app import create_app
from server.settings import parse

SINGLE, BATCH = "/sdapi/v1/extra-single-image", "/sdapi/v1/extra-batch-images"


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> TestClient:
    """An app whose device room never comes up: extras need none."""
    return made(tmp_path_factory.mktemp("data"))


def made(folder: Path, *flags: str) -> TestClient:
    app = create_app(parse(["--data-dir", str(folder), *flags]))
    return TestClient(app, raise_server_exceptions=False)


def picture(width: int = 8) -> str:
    file = io.BytesIO()
    Image.new("RGB", (width, 8), "red").save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def width(text: str) -> int:
    return Image.open(io.BytesIO(base64.b64decode(text))).width


def test_one_picture(client: TestClient) -> None:
    answer = client.post(SINGLE, json={"image": picture(), "upscaler_1": "Lanczos"})
    assert answer.status_code == 200
    assert list(answer.json()) == ["html_info", "image"]
    assert width(answer.json()["image"]) == 16
    assert answer.headers["x-task-id"].startswith("task(extras-")
    assert "x-darkroom-warning" not in answer.headers


def test_several_pictures(client: TestClient) -> None:
    files = [{"data": picture(side), "name": f"{side}.png"} for side in (8, 24)]
    answer = client.post(BATCH, json={"imageList": files, "upscaler_1": "Nearest"})
    assert [width(each) for each in answer.json()["images"]] == [16, 48]
    empty = client.post(BATCH, json={"imageList": []})
    assert empty.json() == {"html_info": "<p></p>", "images": []}


def test_what_is_not_honoured_is_told(client: TestClient) -> None:
    answer = client.post(SINGLE, json={"image": picture(), "gfpgan_visibility": 1})
    warning = answer.headers["x-darkroom-warning"]
    assert warning.startswith(
        "GFPGAN: GFPGANv1.4.pth is not installed; it belongs into the folder "
    )
    assert warning.endswith("models/GFPGAN; faces are left as they are")


def refusal(loc: str, msg: str, kind: str, **ctx: object) -> dict[str, object]:
    context = {"ctx": ctx} if ctx else {}
    return {"detail": [{"loc": ["body", loc], "msg": msg, "type": kind, **context}]}


GREATER = "ensure this value is greater than"
BAD_IMAGE = {
    "error": "HTTPException",
    "detail": "Invalid encoded image",
    "body": "",
    "errors": "",
}


@pytest.mark.parametrize(
    ("path", "body", "status", "told"),
    [
        (SINGLE, {}, 500, BAD_IMAGE),
        (SINGLE, {"image": "zzz"}, 500, BAD_IMAGE),
        (SINGLE, {"image": None}, 500, BAD_IMAGE),
        (BATCH, {"imageList": [{"data": "zz", "name": "a"}]}, 500, BAD_IMAGE),
        (BATCH, {}, 422, refusal("imageList", "field required", "value_error.missing")),
        (
            SINGLE,
            {"upscaling_resize": 0},
            422,
            refusal("upscaling_resize", f"{GREATER} 0", "value_error.number.not_gt", limit_value=0),
        ),
        (
            SINGLE,
            {"upscaling_resize_w": 0},
            422,
            refusal(
                "upscaling_resize_w",
                f"{GREATER} or equal to 1",
                "value_error.number.not_ge",
                limit_value=1,
            ),
        ),
        (
            SINGLE,
            {"gfpgan_visibility": 2},
            422,
            refusal(
                "gfpgan_visibility",
                "ensure this value is less than or equal to 1",
                "value_error.number.not_le",
                limit_value=1,
            ),
        ),
        (
            SINGLE,
            {"resize_mode": 2},
            422,
            refusal(
                "resize_mode",
                "unexpected value; permitted: 0, 1",
                "value_error.const",
                given=2,
                permitted=[0, 1],
            ),
        ),
    ],
)
def test_refusals(
    client: TestClient, path: str, body: dict[str, Any], status: int, told: dict[str, Any]
) -> None:
    answer = client.post(path, json=body)
    assert (answer.status_code, answer.json()) == (status, told)


@pytest.mark.parametrize(
    "field", ["codeformer_visibility", "codeformer_weight", "extras_upscaler_2_visibility"]
)
def test_shares_are_shares(client: TestClient, field: str) -> None:
    for value in (-0.1, 1.1):
        answer = client.post(SINGLE, json={"image": picture(), field: value})
        assert (answer.status_code, answer.json()["detail"][0]["loc"]) == (422, ["body", field])
    assert client.post(SINGLE, json={"image": picture(), field: "1"}).status_code == 200


def test_limits_of_sizes_and_numbers(client: TestClient) -> None:
    for wrong in (
        {"upscaling_resize": -1},
        {"resize_mode": 1, "upscaling_resize_w": 0, "upscaling_resize_h": 0},
    ):
        assert client.post(SINGLE, json={"image": picture(), **wrong}).status_code == 422
    files = [{"data": picture(), "name": "../../same.png"}] * 1000
    answer = client.post(BATCH, json={"imageList": files})
    assert (answer.status_code, len(answer.json()["images"])) == (200, 1000)
    answer = client.post(BATCH, json={"imageList": files * 2})
    assert (answer.status_code, answer.json()["detail"][0]["loc"]) == (422, ["body", "imageList"])


@pytest.mark.parametrize(
    "body",
    [
        '{"resize_mode": NaN}',
        '{"resize_mode": "\\ud800"}',
        '{"resize_mode": {"a": 1}}',
        '{"upscaling_resize": NaN}',
        '{"upscaler_1": "\\ud800"}',
        '{"image": 5}',
    ],
)
def test_hostile_values_are_errors_and_no_more(client: TestClient, body: str) -> None:
    answer = client.post(SINGLE, content=body)
    assert answer.status_code in (422, 500)
    assert answer.json()


def test_a_boolean_is_a_mode_as_in_pydantic_1(client: TestClient) -> None:
    body = {"resize_mode": True, "upscaler_1": "Nearest", "image": picture()}
    answer = client.post(SINGLE, json={**body, "upscaling_resize_w": 32, "upscaling_resize_h": 32})
    assert width(answer.json()["image"]) == 32


def test_it_counts_as_a_job(tmp_path: Path) -> None:
    crowded = made(tmp_path, "--max-queue", "1")
    jobs = cast(FastAPI, crowded.app).state.services.jobs

    async def held() -> None:
        watch = Watch(batch_count=2)
        async with jobs.accepted("extras", watch, None):
            watch.begin()
            progress = await asyncio.to_thread(crowded.get, "/sdapi/v1/progress")
            state = progress.json()["state"]
            assert (state["job"], state["job_count"]) == ("extras", 2)
            answer = await asyncio.to_thread(crowded.post, SINGLE, json={"image": picture()})
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")

    asyncio.run(held())
    assert crowded.post(SINGLE, json={"image": picture()}).status_code == 200
    assert jobs.jobs == ()
