"""Pictures and texts against what webui v1.10.1 answered, request by request.

The recordings in `tests/data/goldens` were made on CPU in float32 with the checkpoints of
`tests/data/reference-models`; its README says how.
"""

import base64
import io
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from httpx2 import Response
from PIL import Image

from .replay import Golden, differences, read, told_apart

DATA = Path(__file__).parent.parent / "data"
GOLDENS, INPUTS = DATA / "goldens", DATA / "inputs"
NAMES = sorted(path.stem for path in GOLDENS.glob("*.json"))
#: a faithful float32 port differs from the recordings by rounding alone
MEAN_LIMIT = 0.05
LARGEST = 2
#: mean and largest difference where more than that is the reference's own: DPM adaptive's steps
#: are as long as rounding decides; the noise of its VAE encoder, which is not seeded, is spread by
#: the correction of colours
LOOSE = {
    "sampler__dpm_adaptive": (0.2, 3),
    "img2img__color_correction": (0.2, 5),
    "inpaint__color_correction": (0.2, 5),
    # some pixels of the labels' letters: another FreeType draws them
    "script__prompt_matrix": (0.06, 110),
    "script__xyz_steps_cfg": (0.06, 110),
}


@pytest.mark.parametrize("name", NAMES)
def test_golden(name: str, client: TestClient) -> None:
    golden = read(GOLDENS / f"{name}.json", INPUTS)

    compare(golden, client.post(golden.path, json=golden.request))


def test_goldens_in_flight_together(client: TestClient) -> None:
    """Whatever runs beside them: every eleventh, eight at a time."""
    goldens = [read(GOLDENS / f"{name}.json", INPUTS) for name in NAMES[::11]]
    goldens = [golden for golden in goldens if not golden.changes_settings]
    with ThreadPoolExecutor(8) as clients:
        replies = clients.map(lambda each: client.post(each.path, json=each.request), goldens)
        for golden, reply in zip(goldens, replies, strict=True):
            compare(golden, reply)


def compare(golden: Golden, response: Response) -> None:
    """A reply against what was recorded."""
    assert response.status_code == golden.status, response.text
    mean, largest = LOOSE.get(golden.name, (MEAN_LIMIT, LARGEST))
    for apart in differences(golden, response.json()):
        assert apart.largest <= largest, golden.name
        assert apart.mean <= mean, golden.name
    assert told_apart(golden, response.json()) == []


def test_the_picture_carries_its_infotext(client: TestClient) -> None:
    golden = read(GOLDENS / "sampler__euler.json", INPUTS)

    reply = client.post(golden.path, json=golden.request).json()

    text = Image.open(io.BytesIO(base64.b64decode(reply["images"][0]))).info["parameters"]
    assert text == json.loads(reply["info"])["infotexts"][0]
    assert text == golden.answer["info"]["infotexts"][0]
