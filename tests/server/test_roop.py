"""roop through the server, as the user of the contract calls it, on stand-ins of its models.

The detector of the stand-ins sees a hundred faces in every square picture.
"""

import base64
import io
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from numpy.typing import NDArray
from PIL import Image

from server import infotext
from server.app import create_app
from server.settings import parse
from tests.models.faces.photographs import group, portrait
from tests.models.faces.standins import write_faces

pytest.importorskip("insightface")
onnx = pytest.importorskip("onnx")

TXT2IMG, IMG2IMG = "/sdapi/v1/txt2img", "/sdapi/v1/img2img"
SIDE = 128
SMALL = {"prompt": "1 girl", "width": SIDE, "height": SIDE, "steps": 3, "seed": 5}


@pytest.fixture(scope="module")
def models(reference_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("roop") / "models"
    shutil.copytree(reference_models, folder)
    shelf = folder / "Stable-diffusion"
    for end in ("safetensors", "yaml"):
        shutil.copy(shelf / f"tiny-sd15.{end}", shelf / f"bra_v5.{end}")
    write_faces(folder, detector="crowd")
    return folder


@pytest.fixture(scope="module")
def http(models: Path) -> Iterator[TestClient]:
    checkpoint = models / "Stable-diffusion" / "tiny-sd15.safetensors"
    flags = ["--data-dir", str(models.parent / "data"), "--models-dir", str(models)]
    flags += ["--ckpt", str(checkpoint), "--use-cpu", "all", "--no-background-hashing"]
    with TestClient(create_app(parse(flags))) as served:
        yield served


def webp(image: Image.Image) -> str:
    """As our user sends his pictures: no prefix."""
    file = io.BytesIO()
    image.save(file, "WEBP", lossless=True)
    return base64.b64encode(file.getvalue()).decode()


FACE = webp(portrait())


def posted(http: TestClient, path: str, body: dict[str, Any]) -> dict[str, Any]:
    answer = http.post(path, json=body)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def drawn(http: TestClient, path: str, args: object = None, **body: Any) -> dict[str, Any]:
    """The reply to a small request; with roop where it has arguments."""
    asked = {**SMALL, **body}
    if args is not None:
        asked["alwayson_scripts"] = {"roop": {"args": args}}
    return posted(http, path, asked)


@pytest.fixture(scope="module")
def plain(http: TestClient) -> NDArray[np.int64]:
    """What is drawn without roop."""
    return pixels(drawn(http, TXT2IMG))


def picture(text: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(text)))


def pixels(answer: dict[str, Any], index: int = 0) -> NDArray[np.int64]:
    return np.asarray(picture(answer["images"][index]).convert("RGB"), np.int64)


def told(answer: dict[str, Any], index: int = 0) -> str:
    """What an infotext says of roop; that of the file says the same, and so does `info`."""
    info = json.loads(answer["info"])
    text = info["infotexts"][index]
    assert picture(answer["images"][index]).info["parameters"] == text
    fields = infotext.parse(text)
    if index == 0:
        assert info["extra_generation_params"]["Roop"] == fields["Roop"]
    return str(fields["Roop"])


def warnings(answer: dict[str, Any]) -> str:
    return json.dumps(json.loads(answer["info"])["extra_generation_params"])


def test_txt2img_with_a_face_and_true(http: TestClient, plain: NDArray[np.int64]) -> None:
    """`[b64, true]`: all else is the default, CodeFormer too, of which the weights are not here."""
    answer = drawn(http, TXT2IMG, [FACE, True])
    text = told(answer)
    assert text.startswith(
        "face 0 swapped by inswapper_128.onnx; safety not checked; not restored: "
    )
    assert "odeformer" in text
    changed = (plain != pixels(answer)).any(2)
    assert changed.sum() > 20
    rows, columns = np.nonzero(changed)
    # the leftmost of ten columns of faces, one of ten rows
    assert columns.max() < SIDE / 5
    assert np.ptp(rows) < SIDE / 5
    assert answer["parameters"]["alwayson_scripts"] == {"roop": {"args": [FACE, True]}}


def test_all_eleven_arguments_in_order(
    http: TestClient, plain: NDArray[np.int64], models: Path
) -> None:
    model = str(models / "roop" / "inswapper_128.onnx")
    args = [FACE, True, "0,50,99", model, "None", 1, "Lanczos", 2, 1, False, True]
    answer = drawn(http, TXT2IMG, args)
    assert told(answer) == "faces 0, 50, 99 swapped by inswapper_128.onnx; safety not checked"
    assert picture(answer["images"][0]).size == (2 * SIDE, 2 * SIDE)
    small = picture(answer["images"][0]).resize((SIDE, SIDE), Image.Resampling.BOX)
    changed = (np.abs(plain - np.asarray(small)) > 60).any(2)
    assert changed.any()


def test_every_picture_of_a_batch_tells_of_its_own(http: TestClient) -> None:
    args = {"img": FACE, "enable": True, "faces_index": [0, 200], "face_restorer_name": "None"}
    answer = drawn(http, TXT2IMG, args, batch_size=2, n_iter=2)
    assert len(answer["images"]) == 4
    assert [told(answer, index) for index in range(4)] == [
        "face 0 swapped by inswapper_128.onnx; safety not checked; no face 200 of 100"
    ] * 4


def test_img2img_with_faces_restored_before(http: TestClient) -> None:
    """The user's portrait: restore_faces, a checkpoint by a title, and roop."""
    body = {
        "init_images": [webp(portrait().resize((SIDE, SIDE)))],
        "resize_mode": 1,
        "sampler_index": "DPM++ SDE Karras",
        "restore_faces": True,
        "cfg_scale": 8,
        "override_settings": {"sd_model_checkpoint": "bra_v5.safetensors [ac68270450]"},
        "denoising_strength": 0.1,
        "steps": 20,
    }
    plain = drawn(http, IMG2IMG, **body)
    answer = drawn(http, IMG2IMG, [FACE, True], **body)
    info = json.loads(answer["info"])
    assert (info["sampler_name"], info["sd_model_name"]) == ("DPM++ SDE", "bra_v5")
    assert answer["parameters"]["init_images"] is answer["parameters"]["mask"] is None
    assert told(answer).startswith("face 0 swapped by inswapper_128.onnx")
    changed = (pixels(plain) != pixels(answer)).any(2)
    assert 20 < changed.sum() < 0.1 * SIDE**2


def test_init_pictures_are_swapped_before_anything_is_drawn(http: TestClient) -> None:
    """It comes to the same as img2img on the picture that the route gives."""
    init = webp(Image.new("RGB", (SIDE, SIDE), (20, 60, 150)))
    asked = {"source_image": FACE, "target_image": init, "face_index": [0, 99]}
    swapped = posted(http, "/roop/image", asked)["image"]
    args = {"img": FACE, "enable": True, "swap_in_source": True, "swap_in_generated": False}
    args |= {"faces_index": "0,99", "face_restorer_name": "None"}
    answer = drawn(http, IMG2IMG, args, init_images=[init], denoising_strength=0.4)
    params = json.loads(answer["info"])["extra_generation_params"]
    assert params["Roop init"] == "faces 0, 99 swapped by inswapper_128.onnx; safety not checked"
    assert "Roop" not in params
    same = drawn(http, IMG2IMG, init_images=[swapped], denoising_strength=0.4)
    assert (pixels(answer) == pixels(same)).all()
    plain = drawn(http, IMG2IMG, init_images=[init], denoising_strength=0.4)
    assert (pixels(answer) != pixels(plain)).any()


@pytest.mark.parametrize(
    ("args", "reason"),
    [
        ([None, True], "no source picture"),
        (["", True], "no source picture"),
        ([FACE, True, "0", "../../evil.onnx"], "no such model '../../evil.onnx'"),
        ([FACE, True, "999"], "no face 999 of 100"),
        ([FACE, True, 999], "no face 999 of 100"),
        ([webp(Image.new("RGB", (1, 999))), True], "no face in the source picture"),
    ],
)
def test_why_no_face_was_swapped_is_told(
    http: TestClient, plain: NDArray[np.int64], args: list[Any], reason: str
) -> None:
    answer = drawn(http, TXT2IMG, args)
    text = told(answer)
    assert text.startswith("not swapped")
    assert reason in text
    assert (plain == pixels(answer)).all()


def png_of_20000() -> str:
    """A picture of 20000x20000 pixels in 50 kilobytes."""
    file = io.BytesIO()
    Image.new("1", (20000, 20000)).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


@pytest.mark.parametrize("sent", ["UklGRpJ", "!!!", "aGVsbG8=", 5, True, {"a": 1}, "20k"])
def test_a_source_that_cannot_be_read_costs_no_generation(
    http: TestClient, plain: NDArray[np.int64], sent: object
) -> None:
    if sent == "20k":
        sent = png_of_20000()
    answer = drawn(http, TXT2IMG, [sent, True])
    assert (plain == pixels(answer)).all()
    assert "roop" in warnings(answer)


@pytest.mark.parametrize("args", [[FACE], [FACE, False], [], {"enable": False}])
def test_it_does_nothing_unless_enabled(
    http: TestClient, plain: NDArray[np.int64], args: object
) -> None:
    answer = drawn(http, TXT2IMG, args)
    assert (plain == pixels(answer)).all()
    assert "oop" not in json.dumps(json.loads(answer["info"]))


@pytest.mark.parametrize("args", [[FACE, True, -1], [FACE, True, "a,b"], [FACE, True, ""]])
def test_what_is_no_number_is_face_0(http: TestClient, args: list[Any]) -> None:
    assert told(drawn(http, TXT2IMG, args)).startswith("face 0 swapped")


def test_numbers_out_of_bounds_cost_no_generation(
    http: TestClient, plain: NDArray[np.int64]
) -> None:
    args = {"img": FACE, "enable": True, "upscaler_name": "Lanczos", "upscaler_scale": 1000}
    answer = drawn(http, TXT2IMG, args)
    assert (plain == pixels(answer)).all()
    assert told(answer) == "not swapped: upscaler_scale 1000: allowed are 1 to 8"


def test_an_argument_that_does_not_exist_is_refused(http: TestClient) -> None:
    body = {**SMALL, "alwayson_scripts": {"roop": {"args": {"image": FACE}}}}
    answer = http.post(TXT2IMG, json=body)
    assert answer.status_code == 422
    assert "roop has no argument 'image'" in answer.text


def test_models_are_listed(http: TestClient) -> None:
    assert http.get("/roop/models").json() == {"models": ["inswapper_128.onnx"]}


def test_the_photograph_by_the_route(http: TestClient) -> None:
    body = {"source_image": FACE, "target_image": webp(group()), "face_index": [2]}
    answer = posted(http, "/roop/image", body)
    assert answer["info"].startswith("face 2 swapped by inswapper_128.onnx")
    image = picture(answer["image"])
    assert (image.format, image.size) == ("PNG", group().size)
    assert (np.asarray(image) != np.asarray(group())).any()
    unknown = posted(http, "/roop/image", {**body, "model": "none.onnx"})
    assert unknown["info"].startswith("not swapped: no such model 'none.onnx'")
    assert (np.asarray(picture(unknown["image"])) == np.asarray(group())).all()


def test_other_models_are_told_and_leave_the_swapper_as_it_is(
    http: TestClient, models: Path
) -> None:
    """One of another kind, one cut short, one whose weights are elsewhere."""
    folder = models / "roop"
    whole = folder / "inswapper_128.onnx"
    (folder / "kind.onnx").write_bytes(
        (models / "insightface/models/buffalo_l/genderage.onnx").read_bytes()
    )
    (folder / "cut.onnx").write_bytes(whole.read_bytes()[:500_000])
    elsewhere: dict[str, Any] = {
        "save_as_external_data": True,
        "location": "elsewhere.bin",
        "size_threshold": 0,
    }
    onnx.save(onnx.load(str(whole)), str(folder / "elsewhere.onnx"), **elsewhere)
    square = webp(Image.new("RGB", (SIDE, SIDE)))
    body = {"source_image": FACE, "target_image": square}
    try:
        for name in ("kind.onnx", "cut.onnx", "elsewhere.onnx"):
            answer = posted(http, "/roop/image", {**body, "model": name})
            assert answer["info"].startswith("not swapped: ")
            assert name in answer["info"]
            assert not np.asarray(picture(answer["image"])).any()
            answer = posted(http, "/roop/image", body)
            assert answer["info"].startswith("face 0 swapped by inswapper_128.onnx")
    finally:
        for name in ("kind.onnx", "cut.onnx", "elsewhere.onnx", "elsewhere.bin"):
            (folder / name).unlink()


def test_the_route_with_too_little(http: TestClient) -> None:
    answer = http.post("/roop/image", json={"source_image": FACE})
    assert answer.status_code == 422
    assert "target_image is missing" in answer.text
    broken = {"source_image": FACE, "target_image": "!!!"}
    assert http.post("/roop/image", json=broken).status_code in (422, 500)


def test_it_is_told_of_among_the_scripts(http: TestClient) -> None:
    scripts = http.get("/sdapi/v1/scripts").json()
    assert "roop" in scripts["txt2img"] and "roop" in scripts["img2img"]
    told_of = [each for each in http.get("/sdapi/v1/script-info").json() if each["name"] == "roop"]
    assert [each["is_img2img"] for each in told_of] == [False, True]
    assert all(each["is_alwayson"] and len(each["args"]) == 11 for each in told_of)
