"""ISNet's own weights cut out a photograph, through the server."""

import base64
import io
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from server.app import create_app
from server.settings import parse

STORED = Path(__file__).parent.parent / "data" / "weights" / "astronaut-mask.png"
FACE, CHEST, SKY, FLAG = (110, 225), (350, 250), (30, 330), (100, 20)

pytestmark = [
    pytest.mark.weights,
    pytest.mark.skipif(find_spec("rembg") is None, reason="rembg is of the extra `face`"),
]


@pytest.fixture(scope="module")
def client(real_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    data = str(tmp_path_factory.mktemp("data"))
    flags = ["--data-dir", data, "--models-dir", str(real_models), "--use-cpu", "all"]
    with TestClient(create_app(parse([*flags, "--no-background-hashing"]))) as served:
        yield served


@pytest.fixture(scope="module")
def astronaut() -> Image.Image:
    """NASA's portrait of Eileen Collins, 512x512, as scikit-image ships it."""
    data = pytest.importorskip("skimage.data")
    return Image.fromarray(data.astronaut())


def cut_out(client: TestClient, image: Image.Image, **more: Any) -> Image.Image:
    png = io.BytesIO()
    image.save(png, "PNG")
    answer = client.post(
        "/rembg", json={"image": base64.b64encode(png.getvalue()).decode(), **more}
    )
    assert answer.status_code == 200, answer.text
    with Image.open(io.BytesIO(base64.b64decode(answer.json()["image"]))) as found:
        found.load()
    return found


def assert_is_the_astronaut(alpha: np.ndarray[Any, Any]) -> None:
    with Image.open(STORED) as image:
        stored = np.asarray(image)
    inside = alpha > 127
    assert abs(inside.mean() - 0.535) < 0.005
    assert (inside & stored).sum() / (inside | stored).sum() > 0.99
    assert alpha[FACE] > 250
    assert alpha[CHEST] > 250
    assert max(alpha[0, 0], alpha[0, -1], alpha[SKY], alpha[FLAG]) < 5


@pytest.mark.parametrize("model", ["isnet-general-use", "isnet_small"])
def test_isnet_cuts_out_the_astronaut(
    client: TestClient, astronaut: Image.Image, model: str
) -> None:
    found = cut_out(client, astronaut, model=model)
    assert (found.mode, found.size) == ("RGBA", astronaut.size)
    alpha = np.asarray(found)[..., 3]
    assert_is_the_astronaut(alpha)
    # what is wholly kept is left as it was
    kept = alpha == 255
    assert (np.asarray(found)[kept, :3] == np.asarray(astronaut)[kept]).all()


def test_the_mask_alone(client: TestClient, astronaut: Image.Image) -> None:
    found = cut_out(client, astronaut, model="isnet-general-use", return_mask=True)
    assert (found.mode, found.size) == ("L", astronaut.size)
    assert_is_the_astronaut(np.asarray(found))


def test_alpha_matting_is_no_worse(client: TestClient, astronaut: Image.Image) -> None:
    found = cut_out(client, astronaut, model="isnet-general-use", alpha_matting=True)
    assert_is_the_astronaut(np.asarray(found)[..., 3])
