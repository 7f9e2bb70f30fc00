"""What of a generation is kept: pictures, grids, masks, scripts' results, the latest infotext."""

import base64
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from pipelines.watch import Watch
from server.generation import Drawn
from server.imagecodec import metadata, to_base64
from server.jobs import Job
from server.keeping import LATEST, Asked, keep
from server.schemas.img2img import Img2ImgRequest
from server.schemas.txt2img import Txt2ImgRequest
from server.services import Services

from .test_generation import grey, level, run, sent, services

BOTH = Asked(samples=True, grids=True)
BODY = {"prompt": "a", "seed": 5, "steps": 2, "width": 64, "height": 64, "save_images": True}


def files(folder: Path) -> list[str]:
    """What lies in `outputs`, without the days."""
    found = (each.relative_to(folder / "outputs") for each in folder.rglob("outputs/**/*.*"))
    return sorted(f"{each.parts[0]}/{each.name}" for each in found)


def request(**fields: Any) -> Txt2ImgRequest:
    return Txt2ImgRequest(prompt="a", seed=5, width=64, height=64, **fields)


async def drawn_of(served: Services, asked: Any, *levels: int) -> Drawn:
    drawn, _, _ = await run(served, asked, grey(*levels))
    return drawn


def kept(
    served: Services, asked: Any, drawn: Drawn, what: Asked = BOTH, watch: Watch | None = None
) -> Drawn:
    job = Job(id="task(x)", kind="txt2img", watch=watch or Watch())
    return keep(served, job, asked, drawn, what)


async def test_pictures_and_their_grid_are_saved(tmp_path: Path) -> None:
    served, asked = services(tmp_path), request(batch_size=2, n_iter=2)
    done = kept(served, asked, await drawn_of(served, asked, 10, 20, 30, 40))
    assert files(tmp_path) == [
        "txt2img-grids/grid-0000.png",
        *(f"txt2img-images/0000{number}-{5 + number}.png" for number in range(4)),
    ]
    assert done.warnings == ()
    assert done.grid is not None
    assert done.grid.size == (128, 128)
    cells = [level(done.grid.crop((x, y, x + 64, y + 64))) for y in (0, 64) for x in (0, 64)]
    assert cells == [10, 20, 30, 40]
    third = next((tmp_path / "outputs").rglob("00002-*")).read_bytes()
    assert metadata(to_base64(third))[0] == done.infotexts[2]
    sheet = next((tmp_path / "outputs").rglob("grid-*")).read_bytes()
    assert metadata(to_base64(sheet))[0] == done.infotexts[0]


@pytest.mark.parametrize(
    ("settings", "saved", "returned"),
    [
        ({}, 3, True),
        ({"samples_save": False}, 1, True),
        ({"grid_save": False}, 2, True),
        ({"return_grid": False}, 3, False),
        ({"return_grid": False, "grid_save": False}, 2, False),
        ({"img_max_size_mp": 0}, 2, False),
        ({"grid_background_color": "none such"}, 2, False),
    ],
)
async def test_settings_say_what_is_kept(
    tmp_path: Path, settings: dict[str, Any], saved: int, returned: bool
) -> None:
    served = services(tmp_path)
    asked = request(batch_size=2, override_settings=settings)
    done = kept(served, asked, await drawn_of(served, asked, 10, 20))
    assert len(files(tmp_path)) == saved
    assert (done.grid is not None) is returned


async def test_one_picture_makes_no_grid_unless_asked(tmp_path: Path) -> None:
    served, asked = services(tmp_path), request()
    assert kept(served, asked, await drawn_of(served, asked, 10)).grid is None
    asked = request(override_settings={"grid_only_if_multiple": False})
    assert kept(served, asked, await drawn_of(served, asked, 10)).grid is not None
    assert [name for name in files(tmp_path) if "grid" in name] == ["txt2img-grids/grid-0000.png"]


async def test_nothing_is_kept_that_is_not_asked_for(tmp_path: Path) -> None:
    served, asked = services(tmp_path), request(batch_size=2)
    drawn = await drawn_of(served, asked, 10, 20)
    assert kept(served, asked, drawn, Asked(samples=False, grids=False)).grid is None
    assert kept(served, asked, replace(drawn, pictures=())).pictures == ()
    assert files(tmp_path) == []


async def test_the_latest_infotext_is_kept(tmp_path: Path) -> None:
    served, asked = services(tmp_path), request(batch_size=2)
    drawn = await drawn_of(served, asked, 10, 20)
    kept(served, asked, drawn, Asked(samples=False, grids=False))
    assert (tmp_path / LATEST).read_text("utf-8") == drawn.infotexts[0]
    (tmp_path / LATEST).unlink()
    private = services(tmp_path, "--no-prompt-history")
    kept(private, asked, drawn)
    assert not (tmp_path / LATEST).exists()


@pytest.mark.parametrize(
    ("complete", "settings", "seeds"),
    [
        ((True, True, False), {}, [5, 6]),
        ((False, False, True), {}, [7]),
        ((False, False, False), {}, []),
        ((True, True, False), {"save_incomplete_images": True}, [5, 6, 7]),
    ],
    ids=["an interrupt", "a skip", "all of it", "asked for"],
)
async def test_pictures_that_were_stopped_are_not_saved(
    tmp_path: Path, complete: tuple[bool, ...], settings: dict[str, Any], seeds: list[int]
) -> None:
    served, done = services(tmp_path), grey(10, 20, 30)
    done.images[:] = [
        replace(image, complete=whole) for image, whole in zip(done.images, complete, strict=True)
    ]
    asked = request(batch_size=2, n_iter=2, override_settings={"grid_save": False, **settings})
    drawn, _, _ = await run(served, asked, done)
    # whether the job was told to stop afterwards says nothing of its pictures
    watch = Watch()
    watch.interrupt()
    assert len(kept(served, asked, drawn, watch=watch).pictures) == 3
    assert files(tmp_path) == [
        f"txt2img-images/0000{number}-{seed}.png" for number, seed in enumerate(seeds)
    ]


async def test_what_cannot_be_saved_costs_no_picture(tmp_path: Path) -> None:
    (tmp_path / "outputs").write_text("a file where the folder should be")
    served, asked = services(tmp_path), request(batch_size=2)
    done = kept(served, asked, await drawn_of(served, asked, 10, 20))
    assert len(done.pictures) == 2
    assert done.grid is not None
    assert done.warnings == ("a picture is not saved: Not a directory",)
    asked = request(override_settings={"samples_format": "tiff", "outdir_txt2img_samples": "b"})
    (warning,) = kept(served, asked, await drawn_of(served, asked, 10)).warnings
    assert warning.startswith("a picture is not saved: image format 'tiff' is not one of png")


async def test_masks_are_saved_where_asked(tmp_path: Path) -> None:
    served = services(tmp_path)
    mask = Image.new("L", (64, 64))
    mask.paste(255, (16, 16, 48, 48))
    asked = Img2ImgRequest(
        prompt="a",
        seed=5,
        width=64,
        height=64,
        init_images=[sent(Image.new("RGB", (64, 64)))],
        mask=sent(mask),
        inpaint_full_res=False,
        override_settings={"save_mask": True, "save_mask_composite": True},
    )
    kept(served, asked, await drawn_of(served, asked, 10))
    assert files(tmp_path) == [
        "img2img-images/00000-5.png",
        "img2img-images/00001-5-mask.png",
        "img2img-images/00002-5-mask-composite.png",
    ]
    with Image.open(next((tmp_path / "outputs").rglob("*-mask.png"))) as saved:
        assert np.asarray(saved.convert("L"))[32, 32] == 255


def data_path(client: TestClient) -> Path:
    served: Services = client.app.state.services  # type: ignore[attr-defined]
    return served.settings.data_path


def opened(text: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(text)))


def test_a_reply_begins_with_the_grid_it_saves(client: TestClient) -> None:
    places = {"outdir_txt2img_samples": "one/samples", "outdir_txt2img_grids": "one/grids"}
    body = {**BODY, "batch_size": 2, "override_settings": places, "do_not_save_grid": True}
    reply = client.post("/sdapi/v1/txt2img", json=body).json()
    info = json.loads(reply["info"])
    grid, *pictures = map(opened, reply["images"])
    assert grid.size == (128, 64)
    assert grid.crop((64, 0, 128, 64)).tobytes() == pictures[1].tobytes()
    assert info["index_of_first_image"] == 1
    assert len(info["infotexts"]) == 3
    assert info["infotexts"][0] == info["infotexts"][1] == grid.info["parameters"]
    assert len(info["all_seeds"]) == 2
    root = data_path(client) / "one"
    assert sorted(each.name for each in root.rglob("*.png")) == [
        "00000-5.png",
        "00001-6.png",
        "grid-0000.png",
    ]
    with Image.open(next(root.rglob("00001-6.png"))) as saved:
        assert saved.tobytes() == pictures[1].tobytes()


def test_without_save_images_nothing_is_saved_and_there_is_no_grid(client: TestClient) -> None:
    places = {"outdir_txt2img_samples": "two", "outdir_txt2img_grids": "two"}
    body = {**BODY, "batch_size": 2, "override_settings": places, "save_images": False}
    reply = client.post("/sdapi/v1/txt2img", json=body).json()
    assert len(reply["images"]) == 2
    assert not (data_path(client) / "two").exists()


def test_what_a_script_makes_is_saved_once(client: TestClient) -> None:
    places = {"outdir_txt2img_samples": "three/samples", "outdir_txt2img_grids": "three/grids"}
    body = {**BODY, "prompt": "a|b", "script_name": "prompt matrix", "script_args": []}
    reply = client.post("/sdapi/v1/txt2img", json={**body, "override_settings": places}).json()
    assert len(reply["images"]) == 3
    root = data_path(client) / "three"
    assert sorted(each.name for each in root.rglob("*.png")) == [
        "00000-5.png",
        "00001-5.png",
        "prompt_matrix-0000.png",
    ]


def test_a_script_that_saves_only_its_result(client: TestClient) -> None:
    places = {"outdir_img2img_samples": "four/samples", "outdir_img2img_grids": "four/grids"}
    body = {
        **BODY,
        "init_images": [sent(Image.new("RGB", (64, 64), (9, 90, 9)))],
        "script_name": "sd upscale",
        "script_args": ["", 16, "Lanczos", 2.0],
        "override_settings": places,
    }
    reply = client.post("/sdapi/v1/img2img", json=body).json()
    (picture,) = map(opened, reply["images"])
    (path,) = (data_path(client) / "four" / "samples").rglob("*.png")
    assert not (data_path(client) / "four" / "grids").exists()
    with Image.open(path) as saved:
        assert saved.size == picture.size == (128, 128)


def test_the_first_of_two_passes_is_saved_as_it_was_drawn(client: TestClient) -> None:
    settings = {"save_images_before_highres_fix": True, "outdir_txt2img_samples": "five"}
    hires = {"enable_hr": True, "hr_scale": 1.5, "denoising_strength": 0.5}
    body = {**BODY, "save_images": False, "override_settings": settings}
    plain = opened(client.post("/sdapi/v1/txt2img", json=body).json()["images"][0])
    client.post("/sdapi/v1/txt2img", json={**body, **hires})
    root = data_path(client) / "five"
    assert not root.exists()
    reply = client.post("/sdapi/v1/txt2img", json={**body, **hires, "save_images": True}).json()
    first, last = sorted(root.rglob("*.png"))
    assert (first.name, last.name) == ("00000-5-before-highres-fix.png", "00001-5.png")
    with Image.open(first) as saved:
        assert saved.tobytes() == plain.tobytes()
    with Image.open(last) as saved:
        assert saved.tobytes() == opened(reply["images"][0]).tobytes()
        assert saved.size == (96, 96)


def test_names_from_a_client_stay_inside(client: TestClient) -> None:
    settings = {
        "outdir_txt2img_samples": "../../../tmp/out",
        "samples_filename_pattern": "../../[prompt]",
        "directories_filename_pattern": "../[prompt]",
    }
    body = {**BODY, "prompt": "../../x\r\ny", "override_settings": settings}
    answer = client.post("/sdapi/v1/txt2img", json=body)
    assert answer.status_code == 200
    assert "is no folder for pictures" in answer.headers["X-Darkroom-Warning"]
    folder = data_path(client) / "outputs" / "txt2img-images" / ".._.._x__y"
    assert [each.name for each in folder.iterdir()] == ["00000-.._.._.._.._x__y.png"]
