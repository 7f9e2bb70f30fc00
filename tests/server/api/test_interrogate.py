"""`POST /sdapi/v1/interrogate` over small stand-ins of the models."""

import base64
import io
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from models.captioning.blip import open_captioner
from models.captioning.files import find_blip
from models.captioning.wording import Wording
from server.app import create_app
from server.settings import parse

from ...models.captioning.standins import FakeRuntime, blip, picture, tagger_files

PATH = "/sdapi/v1/interrogate"
SCORES = np.array([[0.99, 0.9, 0.125, 0.5, 0.75]], np.float32)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A models folder with a small BLIP and the files of a tagger."""
    folder = tmp_path_factory.mktemp("models")
    blip(folder / "BLIP")
    tagger_files(folder / "torch_deepdanbooru")
    return folder


@pytest.fixture(scope="module")
def served(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    data = tmp_path_factory.mktemp("data")
    flags = ["--data-dir", str(data), "--models-dir", str(models), "--use-cpu", "all"]
    with TestClient(create_app(parse([*flags, "--skip-load-model-at-start"]))) as client:
        client.post("/sdapi/v1/options", json={"interrogate_clip_min_length": 10})
        yield client


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch) -> FakeRuntime:
    """A stand-in in the place of onnxruntime."""
    fake = FakeRuntime(scores=lambda _: SCORES)
    monkeypatch.setitem(sys.modules, "onnxruntime", fake.module())
    return fake


@pytest.fixture
def setting(served: TestClient) -> Iterator[Any]:
    """Sets options until the test ends."""
    before = served.get("/sdapi/v1/options").json()

    def change(**values: Any) -> None:
        assert served.post("/sdapi/v1/options", json=values).status_code == 200

    yield change
    kept = {key: before[key] for key in before if "interrogate" in key or "deepbooru" in key}
    change(**kept)


def sent(image: Image.Image) -> str:
    file = io.BytesIO()
    image.save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def ask(client: TestClient, model: str | None = None, seed: int = 1) -> Any:
    body = {"image": sent(picture(seed))}
    return client.post(PATH, json=body if model is None else {**body, "model": model})


def expected(models: Path, seed: int = 1, **wording: int) -> str:
    captioner = open_captioner(find_blip(models, allow_pickle=False))
    return captioner.caption(picture(seed), Wording(**{"shortest": 10, **wording}))


def test_a_caption_is_the_models_own(served: TestClient, models: Path) -> None:
    for seed in (1, 2):
        answer = ask(served, seed=seed)
        assert answer.status_code == 200
        assert answer.json() == {"caption": expected(models, seed)}
        assert answer.headers["x-task-id"].startswith("task(interrogate-")
    assert expected(models, 1) != expected(models, 2)


def test_the_options_word_the_caption(served: TestClient, models: Path, setting: Any) -> None:
    setting(
        interrogate_clip_num_beams=3,
        interrogate_clip_min_length=6,
        interrogate_clip_max_length=12,
        interrogate_keep_models_in_memory=True,
    )
    told = ask(served).json()["caption"]
    assert told == expected(models, beams=3, shortest=6, longest=12)
    assert told != expected(models)


@pytest.mark.parametrize("model", ["deepdanbooru", "deepbooru"])
def test_tags_are_those_whose_scores_suffice(
    served: TestClient, runtime: FakeRuntime, setting: Any, model: str
) -> None:
    assert ask(served, model).json() == {"caption": r"1girl, hatsune miku \(vocaloid\), solo"}
    setting(
        interrogate_deepbooru_score_threshold=0.6,
        interrogate_return_ranks=True,
        deepbooru_escape=False,
        deepbooru_use_spaces=False,
        deepbooru_sort_alpha=False,
        deepbooru_filter_tags="1girl",
    )
    assert ask(served, model).json() == {"caption": "(hatsune_miku_(vocaloid):0.750)"}
    assert len(runtime.opened) == 2


@pytest.mark.parametrize(
    ("model", "options", "told"),
    [
        ("clip", {"interrogate_clip_num_beams": 99}, "num_beams is 99; allowed are 1 to 16"),
        ("clip", {"interrogate_clip_max_length": 3}, "max_length is 3; allowed are 5 to 64"),
        (
            "deepdanbooru",
            {"interrogate_deepbooru_score_threshold": 1.5},
            "score_threshold is 1.5; allowed are 0 to 1",
        ),
    ],
)
def test_options_that_cannot_be_followed_are_named(
    served: TestClient,
    runtime: FakeRuntime,
    setting: Any,
    model: str,
    options: dict[str, Any],
    told: str,
) -> None:
    setting(**options)
    answer = ask(served, model)
    assert answer.status_code == 422
    assert answer.json()["detail"].endswith(told)


def test_an_unknown_model_and_no_picture_are_told_apart(served: TestClient) -> None:
    assert ask(served, "nope").json() == {
        "error": "HTTPException",
        "detail": "Model not found",
        "body": "",
        "errors": "",
    }
    answer = served.post(PATH, json={"image": "nothing", "model": "nope"})
    assert (answer.status_code, answer.json()["detail"]) == (500, "Invalid encoded image")


def test_damaged_weights_are_named_and_the_next_is_served(served: TestClient, models: Path) -> None:
    weights = models / "BLIP" / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-10])
    answer = ask(served)
    assert answer.status_code == 500
    assert answer.json()["error"] == "CorruptCheckpoint"
    assert answer.json()["detail"].startswith(f"{weights}: cut off")
    weights.write_bytes(whole)
    assert ask(served).json() == {"caption": expected(models)}


def test_what_is_missing_is_said(
    served: TestClient, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    answer = ask(served, "deepdanbooru")
    assert answer.status_code == 503
    assert "./launch.sh install" in answer.json()["detail"]

    hidden = (models / "BLIP").rename(models / "elsewhere")
    answer = ask(served)
    hidden.rename(models / "BLIP")
    assert answer.status_code == 404
    assert answer.json()["detail"].startswith("Model not found: clip: its weights are not")
    assert "'BLIP'" in answer.json()["detail"]


def test_jobs_run_beside_it(served: TestClient, runtime: FakeRuntime) -> None:
    begun, gate = threading.Event(), threading.Event()

    def scores(_: Any) -> Any:
        begun.set()
        assert gate.wait(60)
        return SCORES

    runtime.scores = scores
    answers: list[Any] = []
    thread = threading.Thread(target=lambda: answers.append(ask(served, "deepdanbooru")))
    thread.start()
    assert begun.wait(30)
    told = served.get("/sdapi/v1/progress").json()
    drawn = served.post(
        "/sdapi/v1/txt2img", json={"prompt": "a", "steps": 1, "width": 64, "height": 64}
    )
    waiting = not answers
    gate.set()
    thread.join(30)
    assert told["state"]["job"] == "interrogate"
    assert drawn.status_code == 200
    assert waiting
    assert answers[0].status_code == 200
