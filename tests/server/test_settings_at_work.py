"""Settings over a real, tiny device: what one client overrides, another's job never sees."""

import base64
import io
import json
import shutil
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image
from safetensors.numpy import load_file, save_file

from server.app import create_app
from server.settings import parse

SMALL = {"prompt": "1 girl", "steps": 3, "width": 64, "height": 64, "seed": 1}
OPTIONS, TXT2IMG = "/sdapi/v1/options", "/sdapi/v1/txt2img"
VAE = "first_stage_model."


@pytest.fixture(scope="module")
def models(reference_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The reference checkpoints, and a VAE file that draws something else."""
    folder = tmp_path_factory.mktemp("models") / "models"
    shutil.copytree(reference_models, folder)
    weights = load_file(folder / "Stable-diffusion" / "tiny-sd15.safetensors")
    vae = {name[len(VAE) :]: each for name, each in weights.items() if name.startswith(VAE)}
    rolled = {name: np.roll(each, 1) for name, each in vae.items()}
    (folder / "VAE").mkdir()
    save_file(rolled, folder / "VAE" / "other.safetensors")
    (folder / "VAE" / "broken.safetensors").write_bytes(b"\x02\0\0\0\0\0\0\0{}")
    save_file({"x": np.zeros(1, np.float32)}, folder / "VAE" / "strange.safetensors")
    return folder


@pytest.fixture
def app(models: Path, tmp_path: Path) -> Iterator[TestClient]:
    """An app of its own, its checkpoint loaded."""
    checkpoint = models / "Stable-diffusion" / "tiny-sd15.safetensors"
    flags = ["--data-dir", str(tmp_path), "--models-dir", str(models), "--ckpt", str(checkpoint)]
    made = create_app(parse([*flags, "--use-cpu", "all"]))
    with TestClient(made, raise_server_exceptions=False) as served:
        deadline = time.monotonic() + 60
        while settings(served)["sd_checkpoint_hash"] == "":
            assert time.monotonic() < deadline
            time.sleep(0.02)
        yield served


def drawn(app: TestClient, more: Mapping[str, object]) -> tuple[str, np.ndarray[Any, Any]]:
    """A picture's infotext and pixels."""
    answer = app.post(TXT2IMG, json={**SMALL, **more})
    assert answer.status_code == 200, answer.text
    picture = Image.open(io.BytesIO(base64.b64decode(answer.json()["images"][0])))
    return json.loads(answer.json()["info"])["infotexts"][0], np.asarray(picture, np.int16)


def settings(app: TestClient) -> dict[str, Any]:
    content: dict[str, Any] = app.get(OPTIONS).json()
    return content


def test_a_vae_is_in_use_once_it_is_set(app: TestClient) -> None:
    """The recorded way: an external VAE, none, and the automatic choice again."""
    _, own = drawn(app, {})
    assert app.post(OPTIONS, json={"sd_vae": "other.safetensors"}).status_code == 200
    text, other = drawn(app, {})
    assert ", VAE hash: " in text
    assert ", VAE: other.safetensors, Version" in text
    assert np.abs(other - own).mean() > 1
    for name in ("None", "Automatic"):
        assert app.post(OPTIONS, json={"sd_vae": name}).status_code == 200
        text, again = drawn(app, {})
        assert "VAE" not in text
        assert np.abs(again - own).max() <= 1


def test_a_vae_that_cannot_be_loaded_changes_nothing(app: TestClient) -> None:
    before = settings(app)
    answer = app.post(OPTIONS, json={"sd_vae": "strange.safetensors", "tiling": True})
    assert answer.status_code == 500
    assert "strange.safetensors" in answer.json()["errors"]
    assert settings(app) == before
    assert "VAE" not in drawn(app, {})[0]
    # a file without tensors is not even listed, and so is an unknown name: told, and without effect
    answer = app.post(OPTIONS, json={"sd_vae": "broken.safetensors"})
    assert (answer.status_code, "unknown VAE" in answer.headers["x-darkroom-warning"]) == (
        200,
        True,
    )


def test_a_switch_is_done_when_it_is_answered(app: TestClient) -> None:
    own = settings(app)
    assert app.post(OPTIONS, json={**own, "sd_model_checkpoint": "tiny-vpred"}).status_code == 200
    told = settings(app)
    assert (
        told["sd_model_checkpoint"] == f"tiny-vpred.safetensors [{told['sd_checkpoint_hash'][:10]}]"
    )
    titles = [each["title"] for each in app.get("/sdapi/v1/sd-models").json()]
    assert told["sd_model_checkpoint"] in titles
    assert app.get("/sdapi/v1/progress").json()["state"]["job_count"] == 0
    text, _ = drawn(app, {})
    assert "Model: tiny-vpred" in text
    assert f"Model hash: {told['sd_checkpoint_hash'][:10]}" in text


def test_overrides_that_stay_are_not_written(app: TestClient, tmp_path: Path) -> None:
    """As `txt2img_override_no_restore` and `get_options_after_no_restore` were recorded."""
    before = settings(app)
    kept = {"CLIP_stop_at_last_layers": 2, "sd_model_checkpoint": "tiny-vpred"}
    body = {"override_settings": kept, "override_settings_restore_afterwards": False}
    text, _ = drawn(app, body)
    assert "Model: tiny-vpred, Clip skip: 2" in text
    after = settings(app)
    changed = {key for key in after if after[key] != before[key]}
    assert changed == {"CLIP_stop_at_last_layers", "sd_model_checkpoint", "sd_checkpoint_hash"}
    assert after["sd_model_checkpoint"].startswith("tiny-vpred.safetensors [")
    assert "Model: tiny-vpred, Clip skip: 2" in drawn(app, {})[0]
    assert not (tmp_path / "config.json").exists()


@pytest.mark.parametrize(
    ("wrong", "status"),
    [
        ({"override_settings": {"tiling": True, "CLIP_stop_at_last_layers": "two"}}, 422),
        ({"override_settings": {"tiling": True}, "refiner_checkpoint": "nope"}, 500),
    ],
)
def test_overrides_of_a_job_that_fails_do_not_stay(
    app: TestClient, wrong: dict[str, Any], status: int
) -> None:
    before = settings(app)
    body = {**SMALL, **wrong, "override_settings_restore_afterwards": False}
    assert app.post(TXT2IMG, json=body).status_code == status
    assert settings(app) == before


def test_an_unknown_checkpoint_does_not_stay(app: TestClient) -> None:
    before = settings(app)
    overrides = {"sd_model_checkpoint": "nope", "samples_format": "webp"}
    body = {"override_settings": overrides, "override_settings_restore_afterwards": False}
    answer = app.post(TXT2IMG, json=SMALL | body)
    assert "unknown checkpoint 'nope'" in answer.headers["x-darkroom-warning"]
    assert settings(app) == before | {"samples_format": "webp"}
    # the format is read when the reply is written
    assert Image.open(io.BytesIO(base64.b64decode(answer.json()["images"][0]))).format == "WEBP"


CLIENTS: tuple[dict[str, Any], ...] = (
    {"override_settings": {"sd_model_checkpoint": "tiny-sd15", "CLIP_stop_at_last_layers": 2}},
    {
        "override_settings": {
            "sd_model_checkpoint": "tiny-vpred",
            "eta_noise_seed_delta": 31337,
            "randn_source": "NV",
            "sd_vae": "None",
        },
        "sampler_name": "Euler a",
    },
    {
        "override_settings": {
            "sd_vae": "other.safetensors",
            "always_discard_next_to_last_sigma": 1,
        },
        "styles": [],
    },
    {},
)
"""What each client asks for, every time."""


@pytest.mark.slow
def test_clients_at_the_same_time_never_see_each_others_settings(app: TestClient) -> None:
    alone = [drawn(app, more) for more in CLIENTS]
    assert len({text for text, _ in alone}) == len(CLIENTS)
    before = settings(app)
    wrong: list[object] = []
    done = threading.Event()

    def client(index: int) -> None:
        for _ in range(2):
            text, picture = drawn(app, CLIENTS[index])
            if text != alone[index][0] or np.abs(picture - alone[index][1]).max() > 1:
                wrong.append((index, text))

    def looker() -> None:
        while not done.is_set():
            if (now := settings(app)) != before:
                wrong.append({key: now[key] for key in now if now[key] != before[key]})
            time.sleep(0.02)

    threads = [threading.Thread(target=client, args=(i,)) for i in range(len(CLIENTS))]
    looking = threading.Thread(target=looker)
    for thread in (*threads, looking):
        thread.start()
    for thread in threads:
        thread.join()
    done.set()
    looking.join()

    assert wrong == []


def test_settings_posted_during_a_job_do_not_reach_it(app: TestClient) -> None:
    alone, _ = drawn(app, {"steps": 20})
    found: list[str] = []
    job = threading.Thread(target=lambda: found.append(drawn(app, {"steps": 20})[0]))
    job.start()
    while app.get("/sdapi/v1/progress").json()["state"]["sampling_step"] == 0 and job.is_alive():
        time.sleep(0.005)
    assert app.post(OPTIONS, json={"CLIP_stop_at_last_layers": 3}).status_code == 200
    job.join()
    assert found == [alone]
    assert "Clip skip: 3" in drawn(app, {})[0]
