"""What is kept beside a picture: what it was before, and the init pictures it was made from."""

import base64
import hashlib
import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from server.imagecodec import decode, metadata, to_base64
from server.keeping import Asked
from server.schemas.img2img import Img2ImgRequest
from server.services import Services
from server.tools import Tools

from .test_generation import grey, level, run, sent, services
from .test_keeping import drawn_of, files, kept, request


def levels(folder: Path) -> dict[str, int]:
    """The grey level of each file in `outputs`."""
    found = {}
    for path in folder.rglob("outputs/**/*.png"):
        with Image.open(path) as picture:
            found[path.name] = int(np.median(np.asarray(picture)))
    return found


def restored(served: Services, to: int) -> Services:
    """With a restorer of faces that makes pictures of one level."""
    grey_ = (to, to, to)
    tools = Tools(
        upscalers={}, restorers={"CodeFormer": lambda each, *_: Image.new("RGB", each.size, grey_)}
    )
    return replace(served, tools=tools)


@pytest.mark.parametrize("asked_for", [True, False])
async def test_stages_on_the_way_are_saved_where_asked(tmp_path: Path, asked_for: bool) -> None:
    served, done = restored(services(tmp_path), 99), grey(10, 20, 30)
    firsts = [np.full((32, 32, 3), level, np.uint8) for level in (1, 2)]
    pairs = zip(done.images, firsts, strict=False)
    done.images[:2] = [replace(image, first=first) for image, first in pairs]
    done.images[1:] = [replace(image, complete=False) for image in done.images[1:]]
    stages = ("face_restoration", "highres_fix")
    settings = dict.fromkeys((f"save_images_before_{each}" for each in stages), asked_for)
    asked = request(
        batch_size=2, n_iter=2, enable_hr=True, restore_faces=True, override_settings=settings
    )
    if not asked_for:
        done.images[:] = [replace(image, first=None) for image in done.images]
    drawn, _, _ = await run(served, asked, done)
    kept(served, asked, drawn, Asked(samples=True, grids=False))
    if not asked_for:
        assert levels(tmp_path) == {"00000-5.png": 99}
        return
    assert levels(tmp_path) == {
        "00000-5-before-highres-fix.png": 1,
        "00001-6-before-highres-fix.png": 2,
        "00002-5-before-face-restoration.png": 10,
        "00003-5.png": 99,
    }
    (path,) = (tmp_path / "outputs").rglob("00000-*")
    assert metadata(to_base64(path.read_bytes()))[0] == drawn.infotexts[0]


@pytest.mark.parametrize("settings", [{}, {"save_images_before_color_correction": True}])
async def test_colours_before_their_correction_are_saved_where_asked(
    tmp_path: Path, settings: dict[str, Any]
) -> None:
    served = services(tmp_path)
    asked = Img2ImgRequest(
        prompt="a",
        seed=5,
        width=64,
        height=64,
        init_images=[sent(Image.new("RGB", (64, 64), (200, 40, 40)))],
        override_settings={"img2img_color_correction": True, **settings},
    )
    kept(served, asked, await drawn_of(served, asked, 100), Asked(samples=True, grids=False))
    *before, corrected = sorted((tmp_path / "outputs").rglob("*.png"))
    assert corrected.name == f"0000{len(settings)}-5.png"
    with Image.open(corrected) as picture:
        red, green, _ = np.asarray(picture).mean((0, 1))
        assert red > green + 20
    assert len(before) == len(settings)
    for path in before:
        assert path.name == "00000-5-before-color-correction.png"
        with Image.open(path) as picture:
            assert level(picture) == 100


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "CMYK"])
async def test_init_pictures_are_saved_under_their_hashes(tmp_path: Path, mode: str) -> None:
    served = services(tmp_path)
    picture = Image.new("RGB", (64, 32), (200, 100, 50)).convert(mode)
    text = PngInfo()
    text.add_text("parameters", "where it came from")
    file = io.BytesIO()
    picture.save(file, "JPEG" if mode == "CMYK" else "PNG", pnginfo=text)
    init = base64.b64encode(file.getvalue()).decode()
    picture = decode(init)
    assert picture.mode == mode
    asked = Img2ImgRequest(
        prompt="a",
        seed=5,
        width=64,
        height=64,
        init_images=[init] * 2,
        batch_size=2,
        override_settings={"save_init_img": True, "samples_format": "jpg"},
    )
    drawn = await drawn_of(served, asked, 10, 20)
    name = hashlib.md5(picture.tobytes(), usedforsecurity=False).hexdigest()
    for _ in range(2):
        assert kept(served, asked, drawn, Asked(samples=False, grids=False)).warnings == ()
    assert files(tmp_path) == [f"init-images/{name}.png"]
    with Image.open(tmp_path / "outputs" / "init-images" / f"{name}.png") as saved:
        assert saved.convert("RGB").tobytes() == picture.convert("RGB").tobytes()
        told = saved.info.get("parameters")
        assert told == (None if mode == "CMYK" else "where it came from")
    assert f"Init image hash: {name}" in drawn.infotexts[0]


async def test_init_pictures_stay_inside(tmp_path: Path) -> None:
    served = services(tmp_path)
    asked = Img2ImgRequest(
        prompt="a",
        init_images=[sent(Image.new("RGB", (64, 64)))],
        override_settings={"save_init_img": True, "outdir_init_images": "../elsewhere"},
    )
    drawn = replace(await drawn_of(served, asked, 10), pictures=())
    (warning,) = kept(served, asked, drawn, Asked(samples=False, grids=False)).warnings
    assert "is no folder for pictures" in warning
    assert [each.split("/")[0] for each in files(tmp_path)] == ["init-images"]
