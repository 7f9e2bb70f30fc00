"""stable-diffusion-drawbridge-api 1.4, a load balancer, in front of our server.

It wants an older httpx than we do, and 400 MB of other services' clients, so it lies in a venv of
its own with no more than its A1111 side imports: some 50 MB and ten seconds.
"""

import fcntl
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from tests.e2e.launched import Launched, free_port

from .calls import (
    IMG2IMG,
    SD15_HASH,
    SMALL,
    TXT2IMG,
    encoded,
    info,
    is_drawn,
    levels,
    noise,
    opened,
    posted,
    until,
)

pytestmark = pytest.mark.slow

DRAWBRIDGE = "stable-diffusion-drawbridge-api==1.4"
IMPORTED = (
    *("aiofiles==25.1.0", "aiohttp==3.14.5", "colorama==0.4.6", "fastapi==0.165.0"),
    *("httpx==0.27.2", "pillow==12.3.0", "pydantic==2.14.3", "PyYAML==6.0.3", "redis==8.1.0"),
    *("tqdm==4.70.1", "uvicorn==0.54.0"),
)
"""What `DrawBridgeAPI.api_server` and its A1111 backend import."""


@pytest.fixture(scope="module")
def its_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a venv with drawbridge, made once for all workers of a run."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    venv, ready = folder / "drawbridge", folder / "drawbridge.ready"
    python = venv / "bin" / "python"
    with (folder / "drawbridge.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not ready.exists():
            bare = ("--without-pip", "--clear", str(venv))
            subprocess.run([sys.executable, "-m", "venv", *bare], check=True)
            _install(python, "--no-deps", DRAWBRIDGE)
            _install(python, *IMPORTED)
            ready.touch()
    return python


def _install(python: Path, *what: str) -> None:
    """`pip install`; skips the test where there is nowhere to install from, but never in CI."""
    quick = ("--quiet", "--disable-pip-version-check", "--no-compile")
    command = [sys.executable, "-m", "pip", "--python", str(python), "install", *quick, *what]
    run = subprocess.run(command, capture_output=True, text=True)
    if run.returncode and "CI" not in os.environ:
        pytest.skip(f"drawbridge is not to be had here: {run.stderr.strip().splitlines()[-1]}")
    assert run.returncode == 0, run.stderr


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What drawbridge says on its terminal."""
    return tmp_path_factory.mktemp("bridge") / "terminal"


@pytest.fixture(scope="module")
def bridge(server: Launched, its_python: Path, log: Path) -> Iterator[httpx.Client]:
    """Plain HTTP to a drawbridge that has `server` for its only backend, and logs in to it."""
    address = f"http://127.0.0.1:{server.port}"
    who: dict[str, Any] = {"auth": [True], "username": ["a"], "password": ["b"]}
    use = {"a1111webui": [0]}
    jobs = ("enable_txt2img_backends", "enable_img2img_backends", "enable_sdapi_backends")
    conf = {
        "server_settings": {
            **{"proxy": None, "enable_nsfw_check": False, "redis_server": ["", 0, None]},
            **{"build_in_tagger": False, "build_in_photoai": {"exec_path": ""}},
        },
        "enable_backends": dict.fromkeys(jobs, use),
        "backends": {"a1111webui": {"api": [address], "name": ["ours"], **who}},
        "retry_times": 1,
    }
    (log.parent / "conf.yaml").write_text(json.dumps(conf))  # JSON is YAML
    port, script = free_port(), Path(__file__).with_name("drawbridge_server.py")
    with log.open("wb") as out:
        process = subprocess.Popen(
            [str(its_python), str(script), "--port", str(port)],
            cwd=log.parent,
            env=os.environ | {"CONF_PATH": "conf.yaml", "PYTHONIOENCODING": "utf-8"},
            stdout=out,
            stderr=out,
        )
    try:
        until(lambda: "Uvicorn running" in _so_far(log) or process.poll() is not None)
        assert process.poll() is None, _so_far(log)
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=120) as client:
            yield client
    finally:
        process.kill()
        process.wait()


def _so_far(log: Path) -> str:
    return log.read_text("utf-8", errors="replace")


@pytest.fixture(autouse=True)
def _nothing_was_refused(bridge: httpx.Client, log: Path) -> Iterator[None]:
    """It asks for options, progress and the login before each job, and hides what goes wrong."""
    yield
    for complaint in ("HTTP error", "Request error", "Traceback"):
        assert complaint not in _so_far(log), _so_far(log)


def test_its_models_are_ours(bridge: httpx.Client, http: httpx.Client) -> None:
    assert bridge.get("/sdapi/v1/sd-models").json() == http.get("/sdapi/v1/sd-models").json()


def test_its_empty_fields_are_as_if_unset(bridge: httpx.Client, http: httpx.Client) -> None:
    drawn = posted(bridge, TXT2IMG, SMALL)

    sent = drawn["parameters"]
    assert (sent["hr_sampler_name"], sent["refiner_checkpoint"], sent["script_name"]) == ("",) * 3
    assert (sent["s_noise"], sent["eta"], sent["save_images"]) == (0.0, 0.0, True)
    said = info(drawn)
    assert (said["sampler_name"], said["sd_model_hash"]) == ("Euler a", SD15_HASH)
    assert is_drawn(drawn["images"][0])
    plain = posted(http, TXT2IMG, {**SMALL, "sampler_name": "Euler a", "eta": 0})
    assert np.array_equal(levels(drawn["images"][0]), levels(plain["images"][0]))
    assert info(plain)["infotexts"] == said["infotexts"]


def test_a_batch_comes_with_its_grid(bridge: httpx.Client) -> None:
    """For it always asks to save."""
    drawn = posted(bridge, TXT2IMG, {**SMALL, "batch_size": 2})
    assert [opened(image).size for image in drawn["images"]] == [(128, 64), (64, 64), (64, 64)]
    assert info(drawn)["index_of_first_image"] == 1


def test_hires_fix_inherits_what_is_empty(bridge: httpx.Client) -> None:
    drawn = posted(
        bridge, TXT2IMG, {**SMALL, "enable_hr": True, "hr_upscaler": "Latent", "hr_scale": 2}
    )
    assert is_drawn(drawn["images"][0], (128, 128))
    assert "Hires sampler" not in info(drawn)["infotexts"][0]


def test_a_picture_redrawn(bridge: httpx.Client) -> None:
    body = {**SMALL, "init_images": [encoded(noise())], "initial_noise_multiplier": 1}

    drawn = posted(bridge, IMG2IMG, body)

    assert is_drawn(drawn["images"][0])
    assert drawn["parameters"]["init_images"] is None
    assert info(drawn)["extra_generation_params"] == {"Eta": 0.0, "Denoising strength": 0.75}
