"""On an NVIDIA GPU: `pytest -m gpu tests/e2e`. Not run by default."""

import base64
import io
import json
from pathlib import Path

import numpy as np
import pytest
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


@pytest.mark.parametrize(("precision", "mean"), [(["--no-half"], 0.5), ([], 3.0)])
def test_nv_seeds_draw_the_recorded_pictures(
    precision: list[str], mean: float, reference_models: Path, tmp_path: Path
) -> None:
    """The recordings were made on CPU in float32; half precision differs by more."""
    checkpoint = reference_models / "Stable-diffusion" / "tiny-sd15.safetensors"
    server = Launched(
        tmp_path / "log",
        *("--data-dir", str(tmp_path / "data"), "--models-dir", str(reference_models)),
        *("--ckpt", str(checkpoint), "--device", "cuda", *precision),
    )
    try:
        for name in NAMES:
            case = json.loads((GOLDENS / f"{name}.json").read_text())
            for settings in (case["request"]["override_settings"], {"randn_source": "GPU"}):
                body = case["request"] | {"override_settings": settings}
                reply = server.post(case["path"], body)
                for text, recorded in zip(reply["images"], case["response"]["images"], strict=True):
                    drawn = Image.open(io.BytesIO(base64.b64decode(text)))
                    wanted = np.asarray(Image.open(GOLDENS / recorded), np.int16)
                    assert np.abs(np.asarray(drawn, np.int16) - wanted).mean() < mean
        cuda = server.get("/sdapi/v1/memory")["cuda"]
        assert cuda["allocated"]["peak"] >= cuda["allocated"]["current"] > 0
    finally:
        server.stop()
