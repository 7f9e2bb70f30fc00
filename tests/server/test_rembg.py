"""rembg through the server, as the user of the contract calls it, on a model that finds red."""

import base64
import io
import json
import shutil
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from fastapi.testclient import TestClient
from numpy.typing import NDArray
from PIL import Image

from server import infotext
from server.app import create_app
from server.settings import parse
from tests.extensions.rembg.standins import RED, clothes, disc, inside, network, save

pytest.importorskip("onnxruntime")
pytest.importorskip("rembg")

TXT2IMG, IMG2IMG = "/sdapi/v1/txt2img", "/sdapi/v1/img2img"
SIDE = 128
SMALL = {"prompt": "a red apple", "width": SIDE, "height": SIDE, "steps": 3, "seed": 5}


@pytest.fixture(scope="module")
def models(reference_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rembg") / "models"
    shutil.copytree(reference_models, folder)
    for name in ("u2net", "u2net_human_seg", "own"):
        save(network(), folder / "u2net" / f"{name}.onnx")
    save(clothes(), folder / "u2net" / "models" / "u2net_cloth_seg" / "u2net_cloth_seg.onnx")
    save(network(outputs=1, weights=((1.0,),), inputs=(1, 1, 8, 8)), folder / "u2net" / "grey.onnx")
    whole = (folder / "u2net" / "u2net.onnx").read_bytes()
    (folder / "u2net" / "silueta.onnx").write_bytes(whole[:-40])
    elsewhere = network()
    elsewhere.graph.initializer[0].ClearField("raw_data")
    elsewhere.graph.initializer[0].data_location = 1
    elsewhere.graph.initializer[0].external_data.add(key="location", value="../../settings.json")
    save(elsewhere, folder / "u2net" / "u2netp.onnx")
    return folder


@pytest.fixture(scope="module")
def http(models: Path) -> Iterator[TestClient]:
    checkpoint = models / "Stable-diffusion" / "tiny-sd15.safetensors"
    flags = ["--data-dir", str(models.parent / "data"), "--models-dir", str(models)]
    flags += ["--ckpt", str(checkpoint), "--use-cpu", "all", "--no-background-hashing"]
    with TestClient(create_app(parse(flags))) as served:
        yield served


def sent(image: Image.Image, kind: str = "PNG") -> str:
    file = io.BytesIO()
    image.save(file, kind)
    return base64.b64encode(file.getvalue()).decode()


DISC = sent(disc())


def picture(text: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(text)))


def posted(http: TestClient, path: str, body: dict[str, Any], status: int = 200) -> Any:
    answer = http.post(path, json=body)
    assert answer.status_code == status, answer.text
    return answer.json()


def levels(image: Image.Image, channel: str = "A") -> NDArray[np.uint8]:
    return np.asarray(image.getchannel(channel))


def test_the_users_own_body(http: TestClient) -> None:
    reply = posted(http, "/rembg", {"image": DISC, "model": "u2net_human_seg"})
    assert list(reply) == ["image"]
    found = picture(reply["image"])
    assert (found.format, found.mode, found.size) == ("PNG", "RGBA", (320, 320))
    np.testing.assert_array_equal(levels(found), inside() * 255)
    assert (np.asarray(found)[inside()] == (*RED, 255)).all()


def test_the_body_of_the_reference(http: TestClient) -> None:
    """As webuiapi sends it: a data URI, and every field."""
    body = {
        "input_image": f"data:image/png;base64,{DISC}",
        "model": "u2net",
        "return_mask": True,
        "alpha_matting": True,
        "alpha_matting_foreground_threshold": 240,
        "alpha_matting_background_threshold": 10,
        "alpha_matting_erode_size": 10,
    }
    found = picture(posted(http, "/rembg", body)["image"])
    assert (found.format, found.mode) == ("PNG", "L")
    np.testing.assert_array_equal(np.asarray(found), inside() * 255)
    matted = picture(posted(http, "/rembg", {**body, "return_mask": False})["image"])
    assert matted.mode == "RGBA"
    assert ((levels(matted) > 127) != inside()).mean() < 0.01


@pytest.mark.parametrize("model", ["", "None"])
def test_no_model_is_null(model: str, http: TestClient) -> None:
    assert posted(http, "/rembg", {"input_image": DISC, "model": model}) is None


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"input_image": ""},
        {"image": None},
        {"input_image": "no picture"},
        {"image": DISC[:200]},
        {"image": base64.b64encode(b"hello").decode()},
    ],
)
def test_what_is_no_picture_has_the_answer_of_the_reference(
    body: dict[str, Any], http: TestClient
) -> None:
    reply = posted(http, "/rembg", body, 500)
    assert (reply["error"], reply["detail"]) == ("HTTPException", "Invalid encoded image")


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ({"model": "atlascloud"}, 422, "model 'atlascloud': allowed are u2net, u2netp, "),
        ({"model": "../u2net/own"}, 422, "model '../u2net/own': allowed are u2net, "),
        ({"model": "isnet-anime"}, 404, "put isnet-anime.onnx into "),
        ({"alpha_matting_erode_size": -1}, 422, "alpha_matting_erode_size -1: allowed are 0 to 40"),
        ({"alpha_matting_erode_size": 10**6}, 422, "erode_size 1000000: allowed are 0 to 40"),
        ({"alpha_matting_foreground_threshold": 256}, 422, "256: allowed are 0 to 255"),
        ({"alpha_matting_background_threshold": -7}, 422, "-7: allowed are 0 to 255"),
        ({"model": "grey"}, 404, "grey.onnx: takes tensor(float) [1, 1, 8, 8]; [1, 3, height"),
        ({"model": "silueta"}, 404, "silueta.onnx"),
        ({"model": "u2netp"}, 404, "its weights are in other files, which are not followed"),
    ],
)
def test_bad_input_is_told_and_costs_no_model(
    body: dict[str, Any], status: int, said: str, http: TestClient
) -> None:
    posted(http, "/rembg", {"image": DISC})
    held = http.app.state.services.sessions.held  # type: ignore[attr-defined]
    reply = posted(http, "/rembg", {"image": DISC, **body}, status)
    assert said in reply["errors"] + reply["detail"]
    assert http.app.state.services.sessions.held == held  # type: ignore[attr-defined]
    assert "image" in posted(http, "/rembg", {"image": DISC})


def test_types_are_checked_as_the_wire_checks_them(http: TestClient) -> None:
    reply = posted(http, "/rembg", {"image": DISC, "alpha_matting_erode_size": "wide"}, 422)
    assert reply["detail"][0]["loc"] == ["body", "alpha_matting_erode_size"]


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (33, 65)])
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "1", "I;16"])
def test_pictures_of_every_kind_keep_their_size(
    size: tuple[int, int], mode: str, http: TestClient
) -> None:
    grey = Image.fromarray(np.full(size[::-1], 40_000, np.uint16))
    image = grey if mode == "I;16" else disc(size, mode)
    for matting in (False, True):
        reply = posted(http, "/rembg", {"image": sent(image), "alpha_matting": matting})
        found = picture(reply["image"])
        assert (found.size, found.mode) == (size, "RGBA")


def test_clothes_are_three_pictures_high(http: TestClient) -> None:
    body = {"image": sent(Image.new("RGB", (50, 20), RED)), "model": "u2net_cloth_seg"}
    alpha = levels(picture(posted(http, "/rembg", body)["image"]))
    assert alpha.shape == (60, 50)
    assert [int(alpha[top : top + 20].mean()) for top in (0, 20, 40)] == [255, 0, 0]


def test_openapi_tells_of_every_field_and_its_default(http: TestClient) -> None:
    told = http.get("/openapi.json").json()
    post = told["paths"]["/rembg"]["post"]
    reference = post["requestBody"]["content"]["application/json"]["schema"]["$ref"]
    fields = told["components"]["schemas"][reference.rpartition("/")[2]]["properties"]
    assert {name: field["default"] for name, field in fields.items()} == {
        "input_image": "",
        "image": "",
        "model": "u2net",
        "return_mask": False,
        "alpha_matting": False,
        "alpha_matting_foreground_threshold": 240,
        "alpha_matting_background_threshold": 10,
        "alpha_matting_erode_size": 10,
    }


def test_fifty_at_a_time_are_answered_beside_painting(http: TestClient) -> None:
    """Each gets its own picture; others are served meanwhile, and the memory comes back."""
    posted(http, "/rembg", {"image": DISC})
    before = psutil.Process().memory_info().rss
    held = http.app.state.services.sessions.held  # type: ignore[attr-defined]
    left = [50]
    lock = threading.Lock()

    def cut(number: int) -> bool:
        size = (100 + number, 150 - number)
        body = {"image": sent(disc(size)), "model": "u2net" if number % 2 else "u2net_human_seg"}
        found = picture(posted(http, "/rembg", body)["image"])
        with lock:
            left[0] -= 1
        wrong = (levels(found) > 127) != inside(size)
        return found.size == size and bool(wrong.mean() < 0.02)

    with ThreadPoolExecutor(51) as pool:
        painted = pool.submit(posted, http, TXT2IMG, SMALL)
        cuts = [pool.submit(cut, number) for number in range(50)]
        posted(http, "/sdapi/v1/options", {})
        waiting = left[0]
        assert all(each.result() for each in cuts)
        assert len(painted.result()["images"]) == 1
    assert waiting > 0, "the options were answered before the last cut"
    sizes = http.app.state.services.sessions.held  # type: ignore[attr-defined]
    assert sizes <= 2 * max(held, 1)
    assert psutil.Process().memory_info().rss - before < 300 * 2**20


def drawn(http: TestClient, path: str = TXT2IMG, args: Any = None, **body: Any) -> Any:
    asked = {**SMALL, **body}
    if args is not None:
        asked["alwayson_scripts"] = {"Rembg": {"args": args}}
    return posted(http, path, asked)


def test_a_drawn_picture_is_cut_and_its_infotext_says_so(http: TestClient) -> None:
    plain = picture(drawn(http)["images"][0]).convert("RGB")
    for args in (["u2net"], [], {"model": "u2net"}):
        reply = drawn(http, args=args)
        found = picture(reply["images"][0])
        assert (found.format, found.mode, found.size) == ("PNG", "RGBA", (SIDE, SIDE))
        assert infotext.parse(found.info["parameters"])["Rembg"] == "u2net"
        assert json.loads(reply["info"])["extra_generation_params"]["Rembg"] == "u2net"
        alone = posted(http, "/rembg", {"image": sent(plain)})["image"]
        assert found.tobytes() == picture(alone).tobytes()
        assert levels(found).min() == 0
        assert levels(found).max() == 255


def test_a_mask_can_be_drawn(http: TestClient) -> None:
    found = picture(drawn(http, args=["own", True])["images"][0])
    assert (found.mode, found.size) == ("L", (SIDE, SIDE))


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("grey", "BrokenModel: grey.onnx: takes tensor(float) [1, 1, 8, 8]"),
        ("isnet-anime", "Missing: model 'isnet-anime' of rembg is not here: put isnet-anime.onnx"),
    ],
)
def test_a_model_that_cannot_be_had_costs_no_picture(
    model: str, said: str, http: TestClient
) -> None:
    plain = picture(drawn(http)["images"][0])
    reply = drawn(http, args=[model])
    assert picture(reply["images"][0]).tobytes() == plain.tobytes()
    warned = json.loads(reply["info"])["extra_generation_params"]["Extension warning"]
    assert warned.startswith(f"Rembg: {said}")


def test_a_model_that_may_not_be_named_is_refused_before_anything_is_drawn(
    http: TestClient,
) -> None:
    named = {"Rembg": {"args": ["atlascloud"]}}
    refused = posted(http, TXT2IMG, {**SMALL, "alwayson_scripts": named}, 422)
    assert refused["errors"].startswith("model 'atlascloud': allowed are u2net, ")


@pytest.mark.parametrize("options", [{}, {"img2img_color_correction": True}])
def test_pictures_of_img2img_are_cut(options: dict[str, Any], http: TestClient) -> None:
    body = {
        "init_images": [DISC],
        "denoising_strength": 0.05,
        "override_settings": options,
        "steps": 20,
    }
    plain = picture(drawn(http, IMG2IMG, **body)["images"][0])
    found = picture(drawn(http, IMG2IMG, ["u2net"], **body)["images"][0])
    assert found.mode == "RGBA"
    # the small model's VAE keeps no more than where the colours are
    assert ((levels(found) > 127) != inside((SIDE, SIDE))).mean() < 0.2
    solid = levels(found) == 255
    if not options:
        np.testing.assert_array_equal(np.asarray(found)[solid][:, :3], np.asarray(plain)[solid])


@pytest.mark.parametrize("full_res", [False, True])
def test_what_is_inpainted_is_cut_and_its_surroundings_stay(
    full_res: bool, http: TestClient
) -> None:
    mask = Image.new("L", (SIDE, SIDE))
    mask.paste(255, (0, 0, SIDE // 2, SIDE))
    init = disc((SIDE, SIDE))
    body = {"init_images": [sent(init)], "mask": sent(mask), "mask_blur": 0}
    body |= {"inpaint_full_res": full_res, "denoising_strength": 0.05}
    body |= {"inpaint_full_res_padding": 0}
    found = picture(drawn(http, IMG2IMG, ["u2net"], **body)["images"][0])
    assert found.mode == "RGBA"
    right = np.s_[:, SIDE // 2 :]
    np.testing.assert_array_equal(np.asarray(found)[right][..., :3], np.asarray(init)[right])
    assert (levels(found)[right] == 255).all()
    assert levels(found)[:, : SIDE // 2].min() == 0


@pytest.mark.parametrize("kind", ["jpg", "webp"])
def test_formats_that_are_written_without_alpha_show_black(kind: str, http: TestClient) -> None:
    cut = levels(picture(drawn(http, args=[])["images"][0])) == 0
    posted(http, "/sdapi/v1/options", {"samples_format": kind})
    try:
        found = picture(drawn(http, args=[])["images"][0])
    finally:
        posted(http, "/sdapi/v1/options", {"samples_format": "png"})
    assert (found.mode, found.size) == ("RGB", (SIDE, SIDE))
    assert cut.any()
    assert np.asarray(found.convert("L"))[cut].mean() < 12


def test_saved_pictures_keep_their_alpha(models: Path, http: TestClient) -> None:
    drawn(http, args=[], save_images=True, do_not_save_grid=True, batch_size=2)
    modes = []
    for path in (models.parent / "data").rglob("txt2img-images/**/*.png"):
        with Image.open(path) as saved:
            modes.append(saved.mode)
    assert modes == ["RGBA", "RGBA"]


@pytest.mark.parametrize("path", ["/sdapi/v1/scripts", "/sdapi/v1/script-info"])
def test_the_script_is_listed(path: str, http: TestClient) -> None:
    told = http.get(path).json()
    if isinstance(told, dict):
        assert "rembg" in told["txt2img"]
        assert "rembg" in told["img2img"]
        return
    (entry, *_) = [each for each in told if each["name"] == "rembg"]
    assert entry["is_alwayson"] is True
    assert [each["value"] for each in entry["args"]] == ["u2net", False, False, 240, 10, 10]


def test_a_step_of_extras(http: TestClient) -> None:
    body = {
        "image": DISC,
        "upscaler_1": "Nearest",
        "upscaling_resize": 2,
        "alwayson_scripts": {"Rembg": {"args": ["u2net"]}},
    }
    reply = posted(http, "/sdapi/v1/extra-single-image", body)
    found = picture(reply["image"])
    assert (found.mode, found.size) == ("RGBA", (640, 640))
    assert ((levels(found) > 127) != inside((640, 640))).mean() < 0.01
    assert "Rembg: u2net" in reply["html_info"]
