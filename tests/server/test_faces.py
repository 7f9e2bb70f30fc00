"""Faces found and restored in an app: stand-ins of true shapes find, known networks restore."""

import base64
import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from extensions.protocol import Missing
from server.app import create_app
from server.faces import Restorers
from server.services import Services
from server.settings import parse

from ..models.faces import nets, photographs
from ..models.faces.standins import write_faces
from .wire import DATA

GREEN = (-1.0, 1.0, -1.0)
CHECKPOINT = DATA / "reference-models" / "Stable-diffusion" / "tiny-sd15.safetensors"


def services(folder: Path, *argv: str) -> Services:
    """What an app on the models of `folder` shares; it is not started."""
    flags = ["--data-dir", str(folder / "data"), "--models-dir", str(folder), "--use-cpu", "all"]
    found: Services = create_app(parse([*flags, *argv])).state.services
    return found


@contextmanager
def client(folder: Path) -> Iterator[TestClient]:
    flags = ["--data-dir", str(folder / "data"), "--models-dir", str(folder), "--use-cpu", "all"]
    flags += ["--ckpt", str(CHECKPOINT), "--no-background-hashing"]
    with TestClient(create_app(parse(flags))) as served:
        yield served


def weights(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"the network of the test")


def sent(picture: Image.Image) -> str:
    file = io.BytesIO()
    picture.save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def opened(text: str) -> np.ndarray[Any, np.dtype[np.uint8]]:
    with Image.open(io.BytesIO(base64.b64decode(text))) as picture:
        return np.asarray(picture.convert("RGB"))


def greens(pixels: np.ndarray[Any, np.dtype[np.uint8]]) -> int:
    """How many pixels are of the colour that the network paints."""
    return int((pixels == (0, 255, 0)).all(-1).sum())


def test_the_restorers_are_those_whose_weights_are_there(tmp_path: Path) -> None:
    restorers = services(tmp_path).tools.restorers
    assert isinstance(restorers, Restorers)
    assert (list(restorers), len(restorers)) == ([], 0)
    assert restorers.why_not("CodeFormer") == (
        "codeformer-v0.1.0.pth is not installed; it belongs into the folder "
        f"{tmp_path / 'Codeformer'}"
    )
    weights(tmp_path, "GFPGAN/GFPGANv1.4.pth")
    assert list(restorers) == ["GFPGAN"]
    weights(tmp_path, "Codeformer/codeformer-v0.1.0.pth")
    assert list(restorers) == ["CodeFormer", "GFPGAN"]
    assert restorers.why_not("CodeFormer") == ""
    assert (restorers.get("codeformer"), restorers.get("None")) == (None, None)


def test_flags_name_their_folders(tmp_path: Path) -> None:
    weights(tmp_path, "elsewhere/GFPGANv1.4.pth", "there/codeformer.pth")
    flags = ["--gfpgan-models-path", str(tmp_path / "elsewhere")]
    flags += ["--codeformer-models-path", str(tmp_path / "there")]
    assert list(services(tmp_path, *flags).tools.restorers) == ["CodeFormer", "GFPGAN"]


def test_six_faces_are_restored_and_the_network_is_read_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_faces(tmp_path)
    weights(tmp_path, "GFPGAN/GFPGANv1.4.pth")
    read = nets.install(monkeypatch, nets.Paint(*GREEN), "GFPGAN")
    tools = services(tmp_path).tools
    told: list[float] = []
    for _ in range(2):
        made = tools.restorers["GFPGAN"](photographs.group(), 0.5, told.append)
    for x, y in photographs.points(photographs.GROUP_POINTS).astype(int).reshape(-1, 2):
        assert made.getpixel((x, y)) == (0, 255, 0)
    assert read == [tmp_path / "GFPGAN" / "GFPGANv1.4.pth"]
    assert (len(told), told[0], told[-1]) == (14, 0.0, 1.0)


def test_a_picture_without_faces_comes_back_and_no_network_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_faces(tmp_path)
    weights(tmp_path, "GFPGAN/GFPGANv1.4.pth")
    read = nets.install(monkeypatch, nets.Paint(*GREEN), "GFPGAN")
    picture = Image.new("RGB", (64, 48), (10, 20, 30))
    assert services(tmp_path).tools.restorers["GFPGAN"](picture, 0.5) is picture
    assert read == []


def test_codeformer_is_given_its_weight_and_may_leave_the_device(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Moved(nets.Same):
        """Notes where it is sent."""

        def __init__(self) -> None:
            super().__init__()
            self.places: list[str] = []

        def to(self, *args: Any, **kwargs: Any) -> Any:
            self.places.append(str(args[0]))
            return self

    write_faces(tmp_path)
    weights(tmp_path, "Codeformer/codeformer.pth")
    model = Moved()
    nets.install(monkeypatch, model, "CodeFormer")
    served = services(tmp_path)
    for unload in (False, True):
        options = served.options.current
        served.options.set({"face_restoration_unload": unload}, save=False)
        assert options.face_restoration_unload is False
        served.tools.restorers["CodeFormer"](photographs.portrait(), 0.3)
    assert model.calls == [{"weight": 0.3}, {"weight": 0.3}]
    assert model.places == ["cpu", "cpu", "cpu"]
    under = served.tools.under(options)
    under.restorers["CodeFormer"](photographs.portrait(), 0.3)
    assert model.places == ["cpu"] * 4


def test_what_finds_faces_is_missing_and_named(tmp_path: Path) -> None:
    weights(tmp_path, "GFPGAN/GFPGANv1.4.pth")
    tools = services(tmp_path).tools
    folder = tmp_path / "insightface" / "models" / "buffalo_l"
    for work in (
        lambda: tools.faces(photographs.portrait()),
        lambda: tools.restorers["GFPGAN"](photographs.portrait(), 0.5),
    ):
        with pytest.raises(Missing) as caught:
            work()
        assert str(caught.value) == (
            "det_10g.onnx (with w600k_r50.onnx) is not installed; it belongs into the folder "
            f"{folder}"
        )
    assert not folder.exists()


def test_faces_are_lent_with_their_embeddings(tmp_path: Path) -> None:
    write_faces(tmp_path)
    faces = services(tmp_path).tools.faces(photographs.group())
    lefts = [round(float(face.bbox[0])) for face in faces]
    assert lefts == [box[0] for box in photographs.GROUP_BOXES]
    assert [face.normed_embedding.shape for face in faces] == [(512,)] * 6


def test_extras_restore_faces_as_visibly_as_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_faces(tmp_path)
    weights(tmp_path, "GFPGAN/GFPGANv1.4.pth")
    nets.install(monkeypatch, nets.Paint(*GREEN), "GFPGAN")
    picture = photographs.portrait()
    with client(tmp_path) as served:
        for visibility in (1.0, 0.5):
            body = {"image": sent(picture), "gfpgan_visibility": visibility}
            answer = served.post("/sdapi/v1/extra-single-image", json=body)
            assert answer.status_code == 200, answer.text
            made = opened(answer.json()["image"]).astype(int)
            before = np.asarray(picture, int)
            wanted = before[120, 224] * (1 - visibility) + np.array((0, 255, 0)) * visibility
            np.testing.assert_allclose(made[120, 224], wanted, atol=1)
            np.testing.assert_array_equal(made[400:], before[400:])


def test_restore_faces_paints_over_the_faces_of_what_is_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every square picture has a hundred faces to this detector."""
    write_faces(tmp_path, detector="crowd")
    weights(tmp_path, "Codeformer/codeformer-v0.1.0.pth")
    model = nets.Paint(*GREEN)
    nets.install(monkeypatch, model, "CodeFormer")
    body = {"prompt": "a", "steps": 1, "width": 256, "height": 256, "seed": 1}
    with client(tmp_path) as served:
        plain = served.post("/sdapi/v1/txt2img", json=body).json()
        body["restore_faces"] = True
        body["override_settings"] = {"code_former_weight": 0.25}
        restored = served.post("/sdapi/v1/txt2img", json=body).json()
    assert greens(opened(plain["images"][0])) == 0
    assert greens(opened(restored["images"][0])) > 10000
    assert (len(model.calls), model.calls[0]) == (100, {"weight": 0.25})
    info = json.loads(restored["info"])
    assert info["infotexts"][0].count("Face restoration: CodeFormer") == 1
    assert info["face_restoration_model"] == "CodeFormer"


def test_restore_faces_without_weights_keeps_the_picture_and_says_what_is_missing(
    tmp_path: Path,
) -> None:
    body = {"prompt": "a", "steps": 1, "width": 64, "height": 64, "seed": 1}
    with client(tmp_path) as served:
        plain = served.post("/sdapi/v1/txt2img", json=body).json()
        restored = served.post("/sdapi/v1/txt2img", json=body | {"restore_faces": True})
        # the restorer is there, what finds faces is not
        weights(tmp_path, "Codeformer/codeformer-v0.1.0.pth")
        again = served.post("/sdapi/v1/txt2img", json=body | {"restore_faces": True}).json()
    pictures = [opened(each["images"][0]) for each in (plain, restored.json(), again)]
    np.testing.assert_array_equal(pictures[0], pictures[1])
    np.testing.assert_array_equal(pictures[0], pictures[2])
    assert "codeformer-v0.1.0.pth is not installed" in restored.headers["X-Darkroom-Warning"]
    assert "det_10g.onnx" in again["info"]
    assert "buffalo_l" in again["info"]
