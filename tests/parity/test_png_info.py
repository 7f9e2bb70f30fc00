"""What is read from pictures, against what webui v1.10.1 read from them."""

import base64
import json

import pytest
from fastapi.testclient import TestClient

from .replay import read
from .test_goldens import DATA, GOLDENS, INPUTS

NAMES = sorted(
    path.stem
    for path in (DATA / "responses").glob("pnginfo_*.json")
    if (GOLDENS / path.stem.removeprefix("pnginfo_")).exists()
)


@pytest.mark.parametrize("name", NAMES)
def test_png_info(name: str, client: TestClient) -> None:
    recorded = json.loads((DATA / "responses" / f"{name}.json").read_text("utf-8"))
    picture = GOLDENS / recorded["request"]["image"].rpartition("/")[2]
    if name.startswith("pnginfo_lora__two"):  # hashes of networks are known once they were used
        golden = read(GOLDENS / "lora__two.json", INPUTS)
        assert client.post(golden.path, json=golden.request).status_code == 200
    image = base64.b64encode(picture.read_bytes()).decode()

    told = client.post("/sdapi/v1/png-info", json={"image": image}).json()

    wanted = recorded["response"]
    assert told["info"] == wanted["info"]
    assert told["parameters"] == wanted["parameters"]
    # ours names the infotext among the items too, as webui did before 1.5
    assert {key: value for key, value in told["items"].items() if key != "parameters"} == wanted[
        "items"
    ]
