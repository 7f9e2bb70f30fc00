"""A checkpoint of SDXL's true size through the server: loading, and one small step.

`pytest -m bench tests/bench/test_full_size_sdxl.py -s`: minutes, 16 GB of memory, 7 GB of disk.
The weights are random (`full_size.py`); that they mean what they should is tested on tiny ones
(tests/pipelines/test_families.py).
"""

import base64
import io
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import pytest
from PIL import Image

from tests.bench.full_size import parameters, write_full_size
from tests.e2e.launched import Launched, until

pytestmark = pytest.mark.bench

SIDE, STEPS = 256, 1
PATIENCE_S = 3600.0
REQUEST: dict[str, Any] = {
    "prompt": "a red fox in the snow",
    "seed": 1,
    "steps": STEPS,
    "cfg_scale": 5.0,
    "width": SIDE,
    "height": SIDE,
    "sampler_name": "Euler",
}


def test_a_full_size_sdxl_draws(tmp_path: Path) -> None:
    path = tmp_path / "models" / "full-size-xl.safetensors"
    path.parent.mkdir()
    write_full_size(path, model="sdxl")
    server = Launched(
        tmp_path / "server.log",
        *("--data-dir", str(tmp_path / "data"), "--ckpt-dir", str(path.parent)),
        *("--use-cpu", "all", "--no-hashing"),
    )
    try:
        until(lambda: bool(server.get("/sdapi/v1/memory")))
        process = psutil.Process(server.process.pid)
        before, began = process.memory_info().rss, time.perf_counter()
        url = f"http://127.0.0.1:{server.port}/sdapi/v1"
        httpx.post(f"{url}/reload-checkpoint", timeout=PATIENCE_S).raise_for_status()
        loaded, load_s = process.memory_info().rss, time.perf_counter() - began
        began = time.perf_counter()
        reply = httpx.post(f"{url}/txt2img", json=REQUEST, timeout=PATIENCE_S).raise_for_status()
        drawn_s, after = time.perf_counter() - began, process.memory_info().rss
        picture = Image.open(io.BytesIO(base64.b64decode(reply.json()["images"][0])))
    finally:
        server.stop()
        size = path.stat().st_size
        path.unlink()
    rows = {
        "file, GB": f"{size / 1e9:.2f}",
        "parameters of the UNet": f"{parameters('model.diffusion_model.', 'sdxl'):,}",
        "load to float32 through the server, s": f"{load_s:.1f}",
        "memory it takes, GB": f"{(loaded - before) / 1e9:.2f}",
        f"a picture of {SIDE}x{SIDE} in {STEPS} step, s": f"{drawn_s:.1f}",
        "memory after it, GB": f"{(after - before) / 1e9:.2f}",
    }
    lines = (f"{name:45} {value:>15}" for name, value in rows.items())
    sys.stdout.write("\n" + "\n".join(lines) + "\n")
    pixels = np.asarray(picture)
    assert pixels.shape == (SIDE, SIDE, 3)
    assert pixels.std() > 5, "a flat picture, or none"
