"""Pictures drawn in company are those drawn alone: whatever shares a forward with whatever."""

import base64
import io
import random
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from numpy.typing import NDArray
from PIL import Image

from pipelines import answers
from pipelines.samplers import SAMPLERS

from .test_goldens import INPUTS

TOGETHER = 8
PHOTO = base64.b64encode((INPUTS / "photo64.png").read_bytes()).decode()


def wishes(seed: int) -> list[tuple[str, dict[str, Any]]]:
    """Requests of one size that differ in all else, the first of them from a picture."""
    dice = random.Random(seed)
    names = dice.sample([each.name for each in SAMPLERS], TOGETHER)
    found: list[tuple[str, dict[str, Any]]] = []
    for number, name in enumerate(names):
        body: dict[str, Any] = {
            "prompt": dice.choice(["a red car", "(a cat:1.3) BREAK in snow", "[dog:fox:0.5]"]),
            "negative_prompt": dice.choice(["", "blurry"]),
            "sampler_name": name,
            "steps": dice.randint(2, 9),
            "seed": dice.randrange(2**32),
            "cfg_scale": dice.choice([1, 3.5, 7, 12]),
            "batch_size": dice.choice([1, 1, 2]),
            "width": 64,
            "height": 64,
        }
        if number == 0:
            body |= {"init_images": [PHOTO], "denoising_strength": 0.7}
        found.append(("img2img" if number == 0 else "txt2img", body))
    return found


def drawn(client: TestClient, wish: tuple[str, dict[str, Any]]) -> NDArray[np.int16]:
    reply = client.post(f"/sdapi/v1/{wish[0]}", json=wish[1])
    assert reply.status_code == 200, reply.text
    opened = (Image.open(io.BytesIO(base64.b64decode(each))) for each in reply.json()["images"])
    return np.stack([np.asarray(image.convert("RGB"), np.int16) for image in opened])


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_company_changes_nothing(
    seed: int, client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = wishes(seed)
    alone = [drawn(client, wish) for wish in asked]
    sharing: list[int] = []
    plain = answers.predictions

    def counted(checkpoint: Any, steps: Sequence[Any], gauge: Any) -> Any:
        sharing.append(len(steps))
        return plain(checkpoint, steps, gauge)

    monkeypatch.setattr(answers, "predictions", counted)
    with ThreadPoolExecutor(TOGETHER) as clients:
        together = list(clients.map(lambda wish: drawn(client, wish), asked))
    assert max(sharing) > 2, "hardly anybody shared a forward, so that nothing was shown"
    for one, other in zip(alone, together, strict=True):
        assert np.abs(one - other).mean() <= 1
        assert np.abs(one - other).max() <= 2
