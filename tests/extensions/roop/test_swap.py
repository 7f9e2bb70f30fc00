"""A swap in words and pixels: what is ordered, what stands in its way, and what comes after."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from extensions.protocol import BadScriptArgs, Missing
from extensions.roop.args import Args, order_of
from extensions.roop.swap import swap

from .workshop import SPOT, Fake, face

RED, GREY = (250, 10, 20), (90, 91, 92)
SOURCE, TARGET = (40, 40), (200, 100)
MIDDLES = ((30, 50), (90, 50), (150, 40))


def source() -> Image.Image:
    return Image.new("RGB", SOURCE, "white")


def target(mode: str = "RGB") -> Image.Image:
    return Image.new("RGB", TARGET, GREY).convert(mode)


def fake(**fields: object) -> Fake:
    faces = {SOURCE: [face(20, 20, RED), face(30, 20)], TARGET: [face(*at) for at in MIDDLES]}
    return Fake(faces, **fields)  # type: ignore[arg-type]


def painted(image: Image.Image) -> list[int]:
    """Which faces are red; nothing else is."""
    red = (np.asarray(image.convert("RGB")) == RED).all(-1)
    found = [n for n, (x, y) in enumerate(MIDDLES) if red[y - SPOT : y + SPOT, x].all()]
    assert red.sum() == len(found) * (2 * SPOT) ** 2
    return found


def swapped(
    workshop: Fake, image: Image.Image | None = None, **args: Any
) -> tuple[Image.Image, str]:
    """What becomes of a picture without restoring; and what is told."""
    chosen = Args(**{"img": source(), "face_restorer_name": "None", **args})
    outcome = swap(workshop.workshop(), image or target(), order_of(chosen))
    return outcome.image, outcome.told


@pytest.mark.parametrize(
    ("faces", "done", "told"),
    [
        ("0", [0], "face 0 swapped by inswapper_128.onnx; safety not checked"),
        ("2,0", [0, 2], "faces 0, 2 swapped by inswapper_128.onnx; safety not checked"),
        (
            "a,b",
            [0],
            "face 0 swapped by inswapper_128.onnx; safety not checked; "
            "'a', 'b' no number of a face",
        ),
        (
            -1,
            [0],
            "face 0 swapped by inswapper_128.onnx; safety not checked; '-1' no number of a face",
        ),
        (
            "1,999",
            [1],
            "face 1 swapped by inswapper_128.onnx; safety not checked; no face 999 of 3",
        ),
        (999, [], "not swapped; no face 999 of 3"),
    ],
)
def test_the_faces_ordered_are_swapped_and_the_others_told(
    faces: str | int, done: list[int], told: str
) -> None:
    image, said = swapped(fake(), faces_index=faces)
    assert painted(image) == done
    assert said == told


def test_the_source_is_its_leftmost_face() -> None:
    workshop = fake()
    workshop.faces[SOURCE].reverse()
    image, _ = swapped(workshop)
    assert image.getpixel(MIDDLES[0]) == (1, 2, 3)


def test_a_hundred_faces_are_all_swapped() -> None:
    workshop = fake()
    workshop.faces[TARGET] = [face(9 + 18 * (n % 10), 5 + 9 * (n // 10)) for n in range(100)]
    image, told = swapped(workshop, faces_index=list(range(120)))
    red = (np.asarray(image) == RED).all(-1)
    assert red.sum() == 100 * (2 * SPOT) ** 2
    assert told == (
        "faces 0, 1, 2, 3, 4, 5, 6, 7 and 92 more swapped by inswapper_128.onnx; "
        "safety not checked; no face 100, 101, 102, 103, 104, 105, 106, 107 and 12 more of 100"
    )


@pytest.mark.parametrize(
    ("prepare", "args", "told"),
    [
        (lambda it: None, {"img": None}, "not swapped: no source picture"),
        (lambda it: it.files.clear(), {},
         "not swapped: no model: inswapper_128.onnx belongs in /m/roop"),
        (lambda it: None, {"model": "../../evil.onnx"},
         "not swapped: no such model '../../evil.onnx': in /m/roop there are inswapper_128.onnx"),
        (lambda it: it.faces.pop(SOURCE), {},
         "not swapped: det_10g.onnx belongs in /m/insightface/models/buffalo_l"),
        (lambda it: it.faces[SOURCE].clear(), {}, "not swapped: no face in the source picture"),
        (lambda it: it.faces[TARGET].clear(), {}, "not swapped; no face 0 in the picture"),
    ],
)  # fmt: skip
def test_what_stands_in_the_way_is_told_and_the_picture_kept(
    prepare: Callable[[Fake], object], args: dict[str, object], told: str
) -> None:
    workshop, picture = fake(), target("RGBA")
    prepare(workshop)
    image, said = swapped(workshop, picture, **args)
    assert said == told
    assert image.mode == "RGBA" and image.tobytes() == picture.tobytes()


def test_what_cannot_be_swapped_costs_no_other_face() -> None:
    workshop = fake()
    workshop.faces[TARGET][0].kps[:] = 30
    workshop.faces[TARGET][1].kps += 5000
    image, told = swapped(workshop, faces_index="0,1,2")
    assert painted(image) == [2]
    assert told == (
        "face 2 swapped by inswapper_128.onnx; safety not checked; "
        "face 0 not swapped: its eyes, nose and mouth coincide; "
        "face 1 not swapped: it lies outside the picture"
    )


def test_a_source_without_an_embedding_is_told() -> None:
    workshop = fake()
    workshop.faces[SOURCE][0].normed_embedding = None
    assert swapped(workshop)[1] == (
        "not swapped; face 0 not swapped: the source face has no embedding"
    )


def test_interrupting_leaves_the_faces_that_are_next() -> None:
    order = order_of(Args(img=source(), faces_index="0,1,2", face_restorer_name="None"))
    asked = iter([False, True])
    outcome = swap(fake().workshop(), target(), order, lambda: next(asked))
    assert painted(outcome.image) == [0, 1]
    assert outcome.told.endswith("safety not checked; interrupted")
    outcome = swap(fake().workshop(), target(), order, lambda: True)
    assert painted(outcome.image) == [0]


@pytest.mark.parametrize("mode", ["L", "P", "RGB"])
def test_pictures_without_transparency_come_back_in_colour(mode: str) -> None:
    image, _ = swapped(fake(), target(mode))
    assert image.mode == "RGB"
    assert image.getpixel(MIDDLES[0]) == RED


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_the_transparency_of_a_target_is_kept(mode: str) -> None:
    picture = target("RGBA")
    picture.putalpha(Image.linear_gradient("L").resize(TARGET).point(lambda v: 255 * (v > 99)))
    alpha = picture.getchannel("A")
    picture = picture.convert(mode)
    image, _ = swapped(fake(), picture)
    assert image.mode == "RGBA"
    assert image.getchannel("A").tobytes() == alpha.tobytes()
    assert image.getpixel(MIDDLES[0])[:3] == RED  # type: ignore[index]
    larger, _ = swapped(fake(upscale=_larger), picture, upscaler_name="Any", upscaler_scale=2)
    assert (larger.mode, larger.size) == ("RGBA", (400, 200))


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGBA", "CMYK", "1"])
def test_a_source_may_have_any_mode(mode: str) -> None:
    assert swapped(fake(), img=source().convert(mode))[1].startswith("face 0 swapped")


def _larger(image: Image.Image, name: str, scale: float) -> Image.Image:
    return image.resize((int(image.width * scale), int(image.height * scale)))


def _white(image: Image.Image, name: str, number: float) -> Image.Image:
    return Image.new("RGB", image.size, "white")


def _black(image: Image.Image, name: str, number: float) -> Image.Image:
    return Image.new("RGB", image.size, "black")


def test_what_comes_after_is_blended_by_its_visibility() -> None:
    """Enlarged first, at scale 1 by its visibility, then restored; also where no face matched."""
    workshop = fake(upscale=_white, restore=_black)
    args: dict[str, Any] = {
        "upscaler_name": "Any",
        "face_restorer_name": "GFPGAN",
        "faces_index": "999",
    }
    image, told = swapped(workshop, **args)
    assert image.getpixel((0, 0)) == (0, 0, 0)
    assert told == "not swapped; no face 999 of 3"
    image, _ = swapped(workshop, **args, face_restorer_visibility=0.5, upscaler_visibility=0.5)
    half = (90 + 255) / 2 / 2
    assert image.getpixel((0, 0))[0] == pytest.approx(half, abs=1)  # type: ignore[index]
    image, _ = swapped(workshop, **args, face_restorer_visibility=0)
    assert image.getpixel((0, 0)) == (255, 255, 255)


def test_a_picture_that_grows_is_not_blended() -> None:
    workshop = fake(upscale=_larger)
    image, _ = swapped(workshop, upscaler_name="Any", upscaler_scale=2, upscaler_visibility=0.1)
    assert image.size == (400, 200)
    x, y = MIDDLES[0]
    assert image.getpixel((2 * x, 2 * y)) == RED


def test_a_scale_alone_enlarges_nothing() -> None:
    image, told = swapped(fake(upscale=_larger), upscaler_scale=2)
    assert image.size == TARGET
    assert told.endswith("safety not checked; not enlarged: no upscaler is named")


def test_upscaler_and_restorer_are_named_as_they_are_ordered() -> None:
    calls: list[tuple[str, float]] = []

    def noted(image: Image.Image, name: str, number: float) -> Image.Image:
        calls.append((name, number))
        return image

    swapped(
        fake(upscale=noted, restore=noted),
        upscaler_name="R-ESRGAN 4x+", upscaler_scale=1.5, face_restorer_name="CodeFormer",
    )  # fmt: skip
    assert calls == [("R-ESRGAN 4x+", 1.5), ("CodeFormer", 0.25)]


@pytest.mark.parametrize(
    "error",
    [
        Missing("codeformer-v0.1.0.pth belongs in /m/Codeformer"),
        BadScriptArgs("upscaler 'x': allowed are Lanczos"),
        RuntimeError("out of memory"),
        MemoryError("out of memory"),
    ],
)
def test_a_swap_is_not_lost_for_what_comes_after(error: Exception) -> None:
    def fails(image: Image.Image, name: str, number: float) -> Image.Image:
        raise error

    workshop = fake(upscale=fails, restore=fails)
    image, told = swapped(workshop, upscaler_name="x", face_restorer_name="CodeFormer")
    assert painted(image) == [0]
    assert told == (
        "face 0 swapped by inswapper_128.onnx; safety not checked; "
        f"not enlarged: {error}; not restored: {error}"
    )


def test_a_source_is_looked_at_once() -> None:
    workshop = fake()
    swapped(workshop)
    swapped(workshop, faces_index="1")
    assert workshop.looked == [SOURCE, TARGET, TARGET]
    other = source()
    other.putpixel((0, 0), (0, 0, 0))
    swapped(workshop, img=other)
    assert workshop.looked[3:] == [SOURCE, TARGET]


def test_a_source_without_a_face_is_remembered_too() -> None:
    workshop = fake()
    workshop.faces[SOURCE] = []
    swapped(workshop)
    swapped(workshop)
    assert workshop.looked == [SOURCE]


def test_a_source_is_looked_at_again_with_another_analyser(tmp_path: Path) -> None:
    weights = tmp_path / "w600k_r50.onnx"
    weights.write_bytes(b"one")
    workshop = fake()
    workshop.files["insightface"] = {weights.name: weights}
    swapped(workshop)
    weights.write_bytes(b"another")
    swapped(workshop)
    assert workshop.looked.count(SOURCE) == 2


def test_sources_beyond_a_number_are_forgotten() -> None:
    workshop = fake()
    for shade in range(65):
        swapped(workshop, img=Image.new("RGB", SOURCE, (shade, 0, 0)))
    swapped(workshop, img=Image.new("RGB", SOURCE, (64, 0, 0)))
    assert workshop.looked.count(SOURCE) == 65
    swapped(workshop, img=Image.new("RGB", SOURCE, (0, 0, 0)))
    assert workshop.looked.count(SOURCE) == 66


def test_long_reasons_are_cut() -> None:
    workshop = fake()
    _, told = swapped(workshop, model="x" * 10**6)
    assert len(told) < 300
    _, told = swapped(workshop, faces_index=",".join(f"{n}x" for n in range(10**5)))
    assert len(told) < 400
