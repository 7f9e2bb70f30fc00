"""Work on finished pictures: sizes, order, what is told of it, and its limits."""

import base64
import io
from typing import Any

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from pipelines.watch import Watch
from server.errors import ApiError
from server.extras import Finished, check, finish
from server.imagecodec import BadImage
from server.options import Options
from server.schemas.extras import ExtrasSingleImageRequest
from server.tools import PLAIN, Tools


def picture(width: int = 16, height: int = 8, mode: str = "RGB", **notes: str) -> str:
    """A picture of noise, with texts."""
    noise = np.random.default_rng(1).integers(0, 256, (height, width, len(mode)), np.uint8)
    text = PngImagePlugin.PngInfo()
    for key, value in notes.items():
        text.add_text(key, value)
    file = io.BytesIO()
    Image.fromarray(noise.squeeze(), mode).save(file, "PNG", pnginfo=text)
    return base64.b64encode(file.getvalue()).decode()


def opened(text: str) -> Image.Image:
    image = Image.open(io.BytesIO(base64.b64decode(text)))
    image.load()
    return image


def run(
    *pictures: str, tools: Tools = PLAIN, options: dict[str, Any] | None = None, **fields: Any
) -> Finished:
    request = ExtrasSingleImageRequest.model_validate(fields)
    check(request, tools)
    settings, _ = Options.defaults().with_overrides(options or {})
    watch = Watch(batch_count=max(len(pictures), 1), steps=1)
    return finish(pictures, request, tools, settings, watch)


def same(image: Image.Image, other: Image.Image) -> bool:
    return image.mode == other.mode and np.array_equal(np.asarray(image), np.asarray(other))


def test_without_an_upscaler_nothing_changes() -> None:
    sent = picture(parameters="a cat", Comment="mine")
    done = run(sent, upscaling_resize=4)
    result = opened(done.images[0])
    assert same(result, opened(sent))
    assert result.info == {"parameters": "a cat", "Comment": "mine", "postprocessing": ""}
    assert done.html_info == "<p></p>"


@pytest.mark.parametrize(
    ("given", "told"),
    [({}, "2"), ({"upscaling_resize": 2}, "2.0"), ({"upscaling_resize": 1.5}, "1.5")],
)
def test_a_factor_is_told_as_it_was_sent(given: dict[str, Any], told: str) -> None:
    done = run(picture(), upscaler_1="Nearest", **given)
    text = f"Postprocess upscale by: {told}, Postprocess upscaler: Nearest"
    assert done.html_info == f"<p>{text}</p>"
    image = opened(done.images[0])
    assert image.info == {"postprocessing": text}
    assert image.size == (int(16 * float(told)), int(8 * float(told)) // 8 * 8)


def test_the_second_upscaler_is_blended_in() -> None:
    sent = picture()
    both = run(sent, upscaler_1="Lanczos", upscaler_2="Nearest", extras_upscaler_2_visibility=0.25)
    assert both.html_info.endswith("upscaler: Lanczos, Postprocess upscaler 2: Nearest</p>")
    one, other = (
        opened(sent).resize((32, 16), how)
        for how in (Image.Resampling.LANCZOS, Image.Resampling.NEAREST)
    )
    assert same(opened(both.images[0]), Image.blend(one, other, 0.25))
    unseen = run(sent, upscaler_1="Lanczos", upscaler_2="Nearest")
    assert same(opened(unseen.images[0]), one)
    assert "upscaler 2" not in unseen.html_info


@pytest.mark.parametrize("crop", [True, False])
def test_a_size_is_covered_and_cut_to_if_asked(crop: bool) -> None:
    wanted: dict[str, Any] = {
        "upscaling_resize_w": 32,
        "upscaling_resize_h": 32,
        "upscaling_crop": crop,
    }
    sent = picture(mode="RGBA")
    done = run(sent, resize_mode=1, upscaler_1="Nearest", **wanted)
    covering = opened(sent).resize((64, 32), Image.Resampling.NEAREST)
    cut = covering.crop((16, 0, 48, 32)).convert("RGB")
    assert same(opened(done.images[0]), cut if crop else covering)
    told = "Postprocess crop to: 32x32, " if crop else ""
    assert f"<p>Postprocess upscale to: 32x32, {told}Postprocess upscaler" in done.html_info


def test_modes_become_rgb_but_rgba_stays() -> None:
    assert opened(run(picture(mode="L")).images[0]).mode == "RGB"
    assert opened(run(picture(mode="RGBA"), upscaler_1="Lanczos").images[0]).mode == "RGBA"


def test_a_colour_that_shows_through_is_no_stumbling_block() -> None:
    file = io.BytesIO()
    Image.new("L", (8, 8), 7).save(file, "PNG", transparency=7)
    done = run(base64.b64encode(file.getvalue()).decode(), upscaler_1="Lanczos")
    assert "transparency" not in opened(done.images[0]).info


def test_settings_choose_the_format_and_whether_notes_are_kept() -> None:
    plain = run(picture(parameters="a cat"), options={"enable_pnginfo": False})
    assert opened(plain.images[0]).info == {}
    jpeg = opened(run(picture(parameters="a cat"), options={"samples_format": "jpg"}).images[0])
    assert jpeg.format == "JPEG"
    assert "a cat".encode("utf-16-be") in jpeg.info["exif"]


def test_several_pictures_are_done_in_order_and_the_last_is_told() -> None:
    done = run(picture(16), picture(24), upscaler_1="Nearest")
    assert [opened(each).width for each in done.images] == [32, 48]
    assert run().html_info == "<p></p>"


def test_an_interrupt_keeps_what_is_done() -> None:
    request = ExtrasSingleImageRequest.model_validate({})
    watch = Watch(batch_count=3, steps=1)

    def sent() -> Any:
        yield picture()
        watch.interrupt()
        yield picture()
        raise AssertionError("a third picture was asked for")

    assert len(finish(sent(), request, PLAIN, Options.defaults(), watch).images) == 1
    assert watch.progress().done == 1


def test_an_unknown_upscaler_is_refused_with_the_names_there_are() -> None:
    wrong: tuple[dict[str, Any], ...] = (
        {"upscaler_1": "Nope"},
        {"upscaler_1": "Lanczos", "upscaler_2": "Nope"},
    )
    for fields in wrong:
        with pytest.raises(ApiError) as refusal:
            run(picture(), **fields)
        assert (refusal.value.status, refusal.value.body) == (
            500,
            {
                "error": "AssertionError",
                "detail": "Invalid upscaler, needs to be one of these: None , Lanczos , Nearest",
                "body": "",
                "errors": "could not find upscaler named Nope",
            },
        )
    assert run(picture(), upscaler_2="Nope").images


def test_face_restorers_that_are_not_there_leave_the_picture_as_it_is() -> None:
    request = ExtrasSingleImageRequest.model_validate(
        {"gfpgan_visibility": 0.5, "codeformer_visibility": 1, "codeformer_weight": 0.25}
    )
    assert len(check(request, PLAIN)) == 2
    sent = picture()
    done = run(sent, gfpgan_visibility=0.5, codeformer_visibility=1, codeformer_weight=0.25)
    assert same(opened(done.images[0]), opened(sent))
    assert done.html_info == (
        "<p>GFPGAN visibility: 0.5, CodeFormer visibility: 1.0, CodeFormer weight: 0.25</p>"
    )


def test_face_restorers_and_models_that_are_there_are_used() -> None:
    weights: list[float] = []

    def white(image: Image.Image, weight: float) -> Image.Image:
        weights.append(weight)
        return Image.new("RGB", image.size, "white")

    def doubled(image: Image.Image) -> Image.Image:
        return image.resize((2 * image.width, 2 * image.height), Image.Resampling.NEAREST)

    tools = Tools(upscalers={"Model": doubled}, restorers={"CodeFormer": white})
    request: dict[str, Any] = {
        "upscaler_1": "Model",
        "codeformer_visibility": 0.5,
        "codeformer_weight": 0.75,
    }
    assert check(ExtrasSingleImageRequest.model_validate(request), tools) == ()
    sent = picture()
    result = opened(run(sent, tools=tools, **request).images[0])
    assert same(
        result, Image.blend(doubled(opened(sent)), Image.new("RGB", (32, 16), "white"), 0.5)
    )
    assert weights == [0.75]


@pytest.mark.parametrize(
    "fields",
    [
        {"upscaling_resize": 1e6},
        {"resize_mode": 1, "upscaling_resize_w": 2**20, "upscaling_resize_h": 1},
        {"resize_mode": 1, "upscaling_resize_w": 2**40, "upscaling_resize_h": 2**40},
    ],
)
def test_results_too_large_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ApiError, match="allowed are at most") as refusal:
        run(picture(), upscaler_1="Nearest", **fields)
    assert refusal.value.status == 422


def test_what_is_no_picture_is_refused() -> None:
    for wrong in ("", "zz", "data:image/png;base64,AAAA"):
        with pytest.raises(BadImage):
            run(wrong)
