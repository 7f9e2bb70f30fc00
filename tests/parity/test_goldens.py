"""Pictures and texts against what webui v1.10.1 answered, request by request.

The recordings in `tests/data/goldens` were made on CPU in float32 with the checkpoints of
`tests/data/reference-models`; its README says how.
"""

import base64
import io
import json
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeGuard

import pytest
from fastapi.testclient import TestClient
from httpx2 import Response
from PIL import Image

from .replay import Golden, differences, read, told_apart

DATA = Path(__file__).parent.parent / "data"
GOLDENS, INPUTS = DATA / "goldens", DATA / "inputs"
NAMES = sorted(path.stem for path in GOLDENS.glob("*.json"))
TOGETHER = 8
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


@pytest.fixture(scope="module")
def replies(request: pytest.FixtureRequest, client: TestClient) -> dict[str, Future[Response]]:
    """What the goldens that are asked for are answered, eight at a time.

    Those whose settings stay are left out: what runs beside them would be drawn by those.
    """
    asked = [item.callspec.params for item in request.session.items if _is_golden(item)]
    goldens = [read(GOLDENS / f"{params['name']}.json", INPUTS) for params in asked]
    with ThreadPoolExecutor(TOGETHER) as clients:
        return {
            golden.name: clients.submit(_posted, golden, client)
            for golden in goldens
            if not golden.changes_settings
        }


def _is_golden(item: pytest.Item) -> TypeGuard[pytest.Function]:
    return isinstance(item, pytest.Function) and item.originalname == "test_golden"


@pytest.mark.parametrize("name", NAMES)
def test_golden(name: str, client: TestClient, replies: dict[str, Future[Response]]) -> None:
    """Whatever runs beside it, and shares its forwards."""
    golden = read(GOLDENS / f"{name}.json", INPUTS)
    alone = golden.changes_settings
    compare(golden, _posted(golden, client) if alone else replies[name].result())


@pytest.mark.parametrize("name", [name for name in NAMES if "norestore" not in name][::11])
def test_a_golden_alone(name: str, client: TestClient) -> None:
    golden = read(GOLDENS / f"{name}.json", INPUTS)
    compare(golden, _posted(golden, client))


def _posted(golden: Golden, client: TestClient) -> Response:
    return client.post(golden.path, json=golden.request)


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
