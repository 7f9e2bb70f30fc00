"""Files of pictures: where they go, under which number, whole or not at all."""

import io
import os
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from server.imagecodec import BadImageFormat, metadata, to_base64
from server.options import Options
from server.saving import Shelf, Wanted, write_whole
from server.settings import parse

from .test_naming import FACTS

SAMPLES, GRIDS = "outdir_txt2img_samples", "outdir_txt2img_grids"


def shelf(folder: Path, *flags: str, **settings: Any) -> Shelf:
    options, ignored = Options.defaults().with_overrides(settings)
    assert not ignored
    return Shelf(settings=parse(["--data-dir", str(folder), *flags]), options=options)


def wanted(**changes: Any) -> Wanted:
    return replace(Wanted(outdir=SAMPLES, format="png", infotext="a cat\nSteps: 1"), **changes)


def put(shelf: Shelf, image: Image.Image | None = None, **changes: Any) -> tuple[str, ...]:
    image = image or FACTS.image
    return shelf.put(image, replace(FACTS, image=image), wanted(**changes))


def files(folder: Path) -> list[str]:
    return sorted(str(each.relative_to(folder)) for each in folder.rglob("*") if each.is_file())


def size(path: Path) -> tuple[int, int]:
    with Image.open(path) as image:
        return image.size


def day() -> str:
    return FACTS.saved.astimezone().strftime("%Y-%m-%d")


def test_pictures_are_numbered_in_folders_by_day(tmp_path: Path) -> None:
    kept = shelf(tmp_path)
    for _ in range(2):
        assert put(kept) == ()
    assert put(kept, outdir=GRIDS, prefix="grid", short=True, grid=True) == ()
    assert files(tmp_path) == [
        f"outputs/txt2img-grids/{day()}/grid-0000.png",
        f"outputs/txt2img-images/{day()}/00000-1235.png",
        f"outputs/txt2img-images/{day()}/00001-1235.png",
    ]
    data = (tmp_path / files(tmp_path)[1]).read_bytes()
    assert Image.open(io.BytesIO(data)).tobytes() == FACTS.image.tobytes()
    assert metadata(to_base64(data))[0] == "a cat\nSteps: 1"


@pytest.mark.parametrize(
    ("settings", "changes", "made"),
    [
        ({"save_to_dirs": False}, {}, "00000-1235-a cat, sitting_ on_a _lora_x_1_ chair.png"),
        ({"save_to_dirs": False, "samples_filename_pattern": "[seed]"}, {}, "00000-1235.png"),
        ({"samples_filename_pattern": "[none]"}, {}, "{day}/00000.png"),
        ({"directories_filename_pattern": "[model_name]/../[seed]"}, {}, "tiny sd15/1235/{n}.png"),
        ({"directories_filename_pattern": ""}, {}, "a cat/{n}.png"),
        ({"directories_filename_pattern": "../../.."}, {}, "{n}.png"),
        ({"save_images_add_number": False}, {}, "{day}/1235.png"),
        ({"save_images_add_number": False}, {"short": True}, "{day}/00000.png"),
        ({}, {"suffix": "-mask"}, "{day}/{n}-mask.png"),
        ({}, {"format": "jpg"}, "{day}/{n}.jpg"),
        ({}, {"format": "JPEG"}, "{day}/{n}.jpeg"),
        ({}, {"format": "webp"}, "{day}/{n}.webp"),
        ({"grid_save_to_dirs": False}, {"grid": True, "prefix": "grid"}, "grid-0000-1235.png"),
    ],
)
def test_names(tmp_path: Path, settings: dict[str, Any], changes: Any, made: str) -> None:
    put(shelf(tmp_path, **settings), **changes)
    expected = made.format(day=day(), n="00000-1235")
    assert files(tmp_path / "outputs" / "txt2img-images") == [expected]


def test_numbers_go_on_from_the_highest(tmp_path: Path) -> None:
    folder = tmp_path / "outputs" / "txt2img-images"
    folder.mkdir(parents=True)
    for there in ("00007-x.jpg", "3.png", "x-00099.png", "٣.png", "9" * 30 + ".png", "grid-12.png"):
        (folder / there).touch()
    before = files(folder)
    kept = shelf(tmp_path, save_to_dirs=False, samples_filename_pattern="s")
    put(kept)
    put(kept, prefix="grid", short=True)
    assert sorted({*files(folder)} - {*before}) == ["00008-s.png", "grid-0013.png"]


def test_a_name_alone_replaces_or_gets_a_number(tmp_path: Path) -> None:
    settings = {"save_images_add_number": False, "save_to_dirs": False}
    folder = tmp_path / "outputs" / "txt2img-images"
    blue = Image.new("RGB", (8, 8), (0, 0, 255))
    pattern = {"samples_filename_pattern": "x"}
    for image in (None, blue):
        put(shelf(tmp_path, **settings, **pattern), image)
    assert files(folder) == ["x.png"]
    assert size(folder / "x.png") == (8, 8)
    other = shelf(tmp_path, **settings, **pattern, save_images_replace_action="Add number suffix")
    for _ in range(2):
        put(other)
    assert files(folder) == ["x-1.png", "x-2.png", "x.png"]
    assert size(folder / "x-1.png") == (64, 48)


@pytest.mark.parametrize(
    "outdir",
    ["/etc", "../x", "a/../../x", "/", "\0", "models/Lora", "embeddings", "cache/x"],
)
def test_folders_outside_are_refused(tmp_path: Path, outdir: str) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (warning,) = put(shelf(data, outdir_txt2img_samples=outdir))
    assert "is no folder for pictures: saved in outputs/txt2img-images" in warning
    assert files(tmp_path) == [f"data/outputs/txt2img-images/{day()}/00000-1235.png"]


@pytest.mark.parametrize("outdir", ["mine", "a/../mine", "", "./mine/", "~"])
def test_folders_inside_are_taken(tmp_path: Path, outdir: str) -> None:
    place = Path(os.path.normpath(tmp_path / outdir))
    for given in (outdir, str(place)):
        assert put(shelf(tmp_path, outdir_txt2img_samples=given, save_to_dirs=False)) == ()
    assert len(list(place.glob("0000[01]-*.png"))) == 2


def test_data_among_the_models_are_written_even_so(tmp_path: Path) -> None:
    for models in (tmp_path, tmp_path / "data"):
        kept = shelf(tmp_path / "data", "--models-dir", str(models))
        assert put(kept) == ()
    assert len(files(tmp_path)) == 2


def test_infotexts_lie_beside_pictures_where_asked(tmp_path: Path) -> None:
    put(
        shelf(tmp_path, save_txt=True, save_to_dirs=False, enable_pnginfo=False), infotext="é\ud800"
    )
    folder = tmp_path / "outputs" / "txt2img-images"
    picture, text = sorted(folder.iterdir())
    assert (picture.stem, text.suffix) == (text.stem, ".txt")
    assert text.read_text("utf-8") == "é?\n"
    assert metadata(to_base64(picture.read_bytes())) == ("", {})


def test_large_pictures_get_a_smaller_copy(tmp_path: Path) -> None:
    folder = tmp_path / "outputs" / "txt2img-images"
    settings = {"save_to_dirs": False, "samples_filename_pattern": "x"}
    wide = Image.new("RGB", (300, 90), (200, 0, 0))
    put(shelf(tmp_path, **settings, target_side_length=100), wide)
    put(shelf(tmp_path, **settings, target_side_length=100), wide, format="jpg")
    put(shelf(tmp_path, **settings, target_side_length=100, export_for_4chan=False), wide)
    assert files(folder) == ["00000-x.jpg", "00000-x.png", "00001-x.jpg", "00002-x.png"]
    assert size(folder / "00000-x.jpg") == (100, 30)
    assert size(folder / "00000-x.png") == (300, 90)
    assert size(folder / "00001-x.jpg") == (300, 90)
    noise = Image.fromarray(np.random.default_rng(1).integers(0, 255, (99, 99, 3), np.uint8))
    put(shelf(tmp_path, **settings, img_downscale_threshold=0.01), noise)
    assert size(folder / "00003-x.jpg") == (99, 99)


def test_a_format_we_do_not_write_writes_nothing(tmp_path: Path) -> None:
    with pytest.raises(BadImageFormat):
        put(shelf(tmp_path), format="tiff")
    assert files(tmp_path) == []


def test_what_cannot_be_finished_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Path, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        put(shelf(tmp_path))
    with pytest.raises(OSError, match="No space left"):
        write_whole(tmp_path / "params.txt", b"x")
    assert files(tmp_path) == []


def test_a_file_where_a_folder_should_be(tmp_path: Path) -> None:
    (tmp_path / "outputs").write_text("mine")
    with pytest.raises(OSError):
        put(shelf(tmp_path))
    assert files(tmp_path) == ["outputs"]


def test_many_at_once_get_numbers_of_their_own(tmp_path: Path) -> None:
    kept = shelf(tmp_path, save_to_dirs=False, samples_filename_pattern="[width]")
    images = [Image.new("RGB", (8 + number, 8)) for number in range(24)]
    threads = [threading.Thread(target=put, args=(kept, image)) for image in images]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    names = files(tmp_path / "outputs" / "txt2img-images")
    assert [int(name.partition("-")[0]) for name in names] == list(range(24))
    assert sorted(int(name.partition("-")[2].partition(".")[0]) for name in names) == [
        image.width for image in images
    ]


def test_a_number_that_another_server_has_begun_is_left_to_it(tmp_path: Path) -> None:
    folder = tmp_path / "outputs" / "txt2img-images"
    folder.mkdir(parents=True)
    (folder / "00000.tmp").touch()
    put(shelf(tmp_path, save_to_dirs=False, samples_filename_pattern="x"))
    assert files(folder) == ["00000.tmp", "00001-x.png"]
