"""On an NVIDIA GPU: `pytest -m gpu tests/e2e`. Not run by default."""

import base64
import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from .launched import Launched

torch = pytest.importorskip("torch")
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU"),
]

GOLDENS = Path(__file__).parent.parent / "data" / "goldens"
#: NV noise is what the GPU itself would draw, so its recordings hold there too
NAMES = ("rng__NV", "rng__NV_sde")


T2I = "/sdapi/v1/txt2img"
#: of 255: what half precision and another order of the same sums may change on average
ROUNDING = 3.0
BODY = {"prompt": "a red fox", "steps": 8, "width": 64, "height": 64, "seed": 5}
#: each comes three times to a server: as it is, recorded, and played
WORKS: dict[str, dict[str, Any]] = {
    "plain": {},
    "three": {"batch_size": 3},
    "wide": {"width": 128},
    "tiling": {"tiling": True},
    "network": {"prompt": "a red fox <lora:tinylora:1>"},
    "merged": {"override_settings": {"token_merging_ratio": 0.5}},
    "without guidance": {"cfg_scale": 1},
}


@contextmanager
def served(folder: Path, models: Path, *flags: str) -> Iterator[Launched]:
    """A server on the GPU with the tiny checkpoint."""
    checkpoint = models / "Stable-diffusion" / "tiny-sd15.safetensors"
    server = Launched(
        folder / "log",
        *("--data-dir", str(folder / "data"), "--models-dir", str(models)),
        *("--ckpt", str(checkpoint), "--device", "cuda", *flags),
    )
    try:
        yield server
    finally:
        server.stop()


def pictures(reply: Any) -> list[NDArray[np.int16]]:
    return [
        np.asarray(Image.open(io.BytesIO(base64.b64decode(text))), np.int16)
        for text in reply["images"]
    ]


@pytest.mark.parametrize(("precision", "mean"), [(["--no-half"], 0.5), ([], 3.0)])
def test_nv_seeds_draw_the_recorded_pictures(
    precision: list[str], mean: float, reference_models: Path, tmp_path: Path
) -> None:
    """The recordings were made on CPU in float32; half precision differs by more."""
    with served(tmp_path, reference_models, *precision) as server:
        for name in NAMES:
            case = json.loads((GOLDENS / f"{name}.json").read_text())
            for settings in (case["request"]["override_settings"], {"randn_source": "GPU"}):
                body = case["request"] | {"override_settings": settings}
                drawn = pictures(server.post(case["path"], body))
                for picture, recorded in zip(drawn, case["response"]["images"], strict=True):
                    wanted = np.asarray(Image.open(GOLDENS / recorded), np.int16)
                    assert np.abs(picture - wanted).mean() < mean
        cuda = server.get("/sdapi/v1/memory")["cuda"]
        assert cuda["allocated"]["peak"] >= cuda["allocated"]["current"] > 0


@pytest.mark.parametrize("flags", [[], ["--compile"], ["--compile", "--cuda-graphs", "off"]])
def test_however_the_unet_is_run_it_draws_the_same(
    flags: list[str], reference_models: Path, tmp_path: Path
) -> None:
    drawn: list[dict[str, list[NDArray[np.int16]]]] = []
    for number, given in enumerate((["--cuda-graphs", "off"], flags)):
        folder = tmp_path / f"{number}"
        folder.mkdir()
        with served(folder, reference_models, *given) as server:
            for _ in range(3):
                made = {
                    name: pictures(server.post(T2I, BODY | more)) for name, more in WORKS.items()
                }
                drawn.append(made)
        assert "no CUDA graph" not in server.log.read_text()
        assert "not compiled" not in server.log.read_text()
    for made in drawn[1:]:
        for name, found in made.items():
            for ours, theirs in zip(found, drawn[0][name], strict=True):
                assert np.abs(ours - theirs).mean() < ROUNDING, name
    plain, worn = drawn[-1]["plain"][0], drawn[-1]["network"][0]
    assert np.abs(plain - worn).mean() > 0


def test_unloading_gives_the_graphs_memory_back(reference_models: Path, tmp_path: Path) -> None:
    with served(tmp_path, reference_models) as server:
        left = []
        for _ in range(4):
            for _ in range(3):
                server.post(T2I, BODY)
            held = server.get("/sdapi/v1/memory")["cuda"]["allocated"]["current"]
            server.post("/sdapi/v1/unload-checkpoint", {})
            left.append(server.get("/sdapi/v1/memory")["cuda"]["allocated"]["current"])
            assert left[-1] < held
            server.post("/sdapi/v1/reload-checkpoint", {})
    assert left[-1] <= left[1]
