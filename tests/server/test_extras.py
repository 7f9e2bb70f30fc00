"""Work on finished pictures: sizes, order, what is told of it, and its limits."""

import base64
import html
import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import ExifTags, Image, PngImagePlugin

from extensions.protocol import Hook, Touched
from extensions.registry import NO_HOOKS, Hooks
from models.tool_files import ToolFiles
from pipelines.pictures.upscale import Tick, Upscaler
from pipelines.watch import Watch
from server.errors import ApiError
from server.extras import SHARES, Finished, Order, check, check_sizes, finish
from server.imagecodec import BadImage
from server.options import Options
from server.schemas.extras import ExtrasSingleImageRequest
from server.tools import PLAIN, Restorer, Tools

from .fakes import CHECKPOINT, FakeCatalog, library

NOWHERE = library(FakeCatalog(CHECKPOINT), Path("/nowhere"))


def picture(width: int = 16, height: int = 8, mode: str = "RGB", **notes: str) -> str:
    """A picture of noise, with texts."""
    noise = np.random.default_rng(1).integers(0, 256, (height, width, len(mode)), np.uint8)
    text = PngImagePlugin.PngInfo()
    for key, value in notes.items():
        text.add_text(key, value)
    file = io.BytesIO()
    Image.fromarray(noise.squeeze(), mode).save(file, "PNG", pnginfo=text)
    return base64.b64encode(file.getvalue()).decode()


def opened(text: str | bytes) -> Image.Image:
    image = Image.open(io.BytesIO(base64.b64decode(text)))
    image.load()
    return image


def run(
    *pictures: str,
    tools: Tools = PLAIN,
    options: dict[str, Any] | None = None,
    hooks: Hooks = NO_HOOKS,
    watch: Watch | None = None,
    **fields: Any,
) -> Finished:
    request = ExtrasSingleImageRequest.model_validate(fields)
    check(request, tools, NOWHERE)
    check_sizes(pictures, request)
    settings, _ = Options.defaults().with_overrides(options or {})
    watch = watch or Watch(batch_count=max(len(pictures), 1), steps=SHARES)
    order = Order(request=request, tools=tools, options=settings, hooks=hooks)
    return finish(pictures, order, watch)


def doubled(image: Image.Image, tick: Tick) -> Image.Image:
    """A model of factor 2 that works in two halves."""
    tick(0.5)
    return image.resize((2 * image.width, 2 * image.height), Image.Resampling.NEAREST)


def coloured(color: str) -> Upscaler:
    """A model of factor 4 that sees nothing but its colour."""
    return lambda image, tick: Image.new("RGB", (4 * image.width, 4 * image.height), color)


def with_model(model: Upscaler, **restorers: Restorer) -> Tools:
    return Tools(upscalers={**PLAIN.upscalers, "Model": model}, restorers=restorers)


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


def test_the_infotext_of_a_jpeg_is_kept() -> None:
    sent = run(picture(parameters="a cat\nSteps: 1"), options={"samples_format": "jpg"}).images[0]
    result = opened(run(sent.decode(), upscaler_1="Lanczos").images[0])
    assert result.info == {
        "parameters": "a cat\nSteps: 1",
        "postprocessing": "Postprocess upscale by: 2, Postprocess upscaler: Lanczos",
    }


def test_several_pictures_are_done_in_order_and_the_last_is_told() -> None:
    done = run(picture(16), picture(24), upscaler_1="Nearest")
    assert [opened(each).width for each in done.images] == [32, 48]
    assert run().html_info == "<p></p>"


def stopping(watch: Watch, at: int, how: str) -> Upscaler:
    """A model of factor 2 during whose run number `at` the job is told something."""
    runs: list[Image.Image] = []

    def model(image: Image.Image, tick: Tick) -> Image.Image:
        runs.append(image)
        tick(0.25)
        if len(runs) == at:
            getattr(watch, how)()
            tick(0.5)
            raise AssertionError("the work went on")
        return doubled(image, tick)

    return model


@pytest.mark.parametrize("how", ["interrupt", "cancel"])
def test_a_job_that_is_stopped_ends_within_a_picture_and_keeps_those_done(how: str) -> None:
    watch = Watch(batch_count=3, steps=SHARES)
    tools = with_model(stopping(watch, 2, how))
    sent = picture(16), picture(24), picture(32)
    done = run(*sent, tools=tools, watch=watch, upscaler_1="Model")
    assert [opened(each).width for each in done.images] == [32]
    assert watch.progress().done == 1
    # and one that was stopped before it began does nothing
    assert run(picture(), tools=tools, watch=watch, upscaler_1="Model").images == []


def test_a_job_that_is_stopped_ends_between_faces() -> None:
    watch, faces = Watch(batch_count=1, steps=SHARES), list[float]()

    def restorer(image: Image.Image, weight: float, tick: Tick) -> Image.Image:
        for share in (0.0, 0.3, 0.6):
            tick(share)
            faces.append(share)
            watch.interrupt()
        return image

    tools = with_model(doubled, CodeFormer=restorer)
    done = run(picture(), tools=tools, watch=watch, codeformer_visibility=1)
    assert (done.images, done.warnings, faces) == ([], (), [0.0])


def test_a_skip_leaves_out_the_picture_under_way() -> None:
    watch = Watch(batch_count=3, steps=SHARES)
    tools = with_model(stopping(watch, 2, "skip"))
    sent = picture(16), picture(24), picture(32)
    done = run(*sent, tools=tools, watch=watch, upscaler_1="Model")
    assert [opened(each).width for each in done.images] == [32, 64]
    assert done.html_info == "<p>Postprocess upscale by: 2, Postprocess upscaler: Model</p>"
    assert watch.progress().share == 1


def test_progress_moves_within_a_picture_and_never_back() -> None:
    watch, seen = Watch(batch_count=2, steps=SHARES), []

    def model(image: Image.Image, tick: Tick) -> Image.Image:
        for share in (0.5, 1.0, 7.0):
            tick(share)
            seen.append(watch.progress().share)
        return doubled(image, tick)

    def restorer(image: Image.Image, weight: float, tick: Tick) -> Image.Image:
        tick(0.5)
        seen.append(watch.progress().share)
        return image

    tools = with_model(model, GFPGAN=restorer)
    run(picture(), picture(), tools=tools, watch=watch, upscaler_1="Model", gfpgan_visibility=1)
    assert seen[:4] == [0.125, 0.25, 0.25, 0.375]
    assert seen == sorted(seen)
    assert seen[-1] == 0.875
    assert watch.progress().share == 1


def test_a_model_that_runs_twice_and_a_second_one_share_the_picture() -> None:
    watch, seen = Watch(batch_count=1, steps=SHARES), []

    def model(image: Image.Image, tick: Tick) -> Image.Image:
        tick(0.5)
        seen.append(watch.progress().share)
        return doubled(image, tick)

    asked: dict[str, Any] = {
        "upscaler_2": "Model",
        "extras_upscaler_2_visibility": 1,
        "upscaling_resize": 4,
    }
    run(picture(), tools=with_model(model), watch=watch, upscaler_1="Model", **asked)
    assert len(seen) == 4
    assert seen == sorted(seen)
    assert seen[1] <= 0.5 < seen[2] < 1


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


def test_a_published_upscaler_is_told_with_the_place_of_its_file() -> None:
    request = ExtrasSingleImageRequest.model_validate({"upscaler_1": "R-ESRGAN 4x+"})
    folder = Path("/nowhere/models/RealESRGAN")
    tools = {"RealESRGAN": ToolFiles("RealESRGAN", (folder,))}
    with pytest.raises(ApiError) as refusal:
        check(request, PLAIN, replace(NOWHERE, tools=tools))
    assert refusal.value.body["errors"] == "could not find upscaler named R-ESRGAN 4x+"
    assert refusal.value.body["detail"] == (
        "Invalid upscaler, needs to be one of these: None , Lanczos , Nearest; "
        f"R-ESRGAN 4x+ is the file RealESRGAN_x4plus.pth in {folder}"
    )


def test_face_restorers_that_are_not_there_leave_the_picture_as_it_is() -> None:
    request = ExtrasSingleImageRequest.model_validate(
        {"gfpgan_visibility": 0.5, "codeformer_visibility": 1, "codeformer_weight": 0.25}
    )
    assert len(check(request, PLAIN, NOWHERE)) == 2
    sent = picture()
    done = run(sent, gfpgan_visibility=0.5, codeformer_visibility=1, codeformer_weight=0.25)
    assert same(opened(done.images[0]), opened(sent))
    assert done.html_info == (
        "<p>GFPGAN visibility: 0.5, CodeFormer visibility: 1.0, CodeFormer weight: 0.25</p>"
    )


def test_face_restorers_and_models_that_are_there_are_used() -> None:
    weights: list[float] = []

    def white(image: Image.Image, weight: float, tick: Tick) -> Image.Image:
        weights.append(weight)
        return Image.new("RGB", image.size, "white")

    tools = with_model(doubled, CodeFormer=white)
    request: dict[str, Any] = {
        "upscaler_1": "Model",
        "codeformer_visibility": 0.5,
        "codeformer_weight": 0.75,
    }
    assert check(ExtrasSingleImageRequest.model_validate(request), tools, NOWHERE) == ()
    sent = picture()
    done = run(sent, tools=tools, **request)
    enlarged = doubled(opened(sent), lambda share: None)
    assert same(
        opened(done.images[0]), Image.blend(enlarged, Image.new("RGB", (32, 16), "white"), 0.5)
    )
    assert weights == [0.75]
    assert done.html_info == (
        "<p>Postprocess upscale by: 2, Postprocess upscaler: Model, "
        "CodeFormer visibility: 0.5, CodeFormer weight: 0.75</p>"
    )
    assert done.warnings == ()


def test_faces_come_after_the_size_and_gfpgan_before_codeformer() -> None:
    order: list[tuple[str, tuple[int, int]]] = []

    def noted(name: str) -> Restorer:
        def restore(image: Image.Image, weight: float, tick: Tick) -> Image.Image:
            order.append((name, image.size))
            return image

        return restore

    tools = with_model(doubled, CodeFormer=noted("CodeFormer"), GFPGAN=noted("GFPGAN"))
    asked: dict[str, Any] = {
        "upscaler_1": "Model",
        "gfpgan_visibility": 1,
        "codeformer_visibility": 1,
    }
    # the old switch for this order changes nothing
    for first in (False, True):
        run(picture(), tools=tools, upscale_first=first, **asked)
        assert order == [("GFPGAN", (32, 16)), ("CodeFormer", (32, 16))]
        order.clear()
    settings = {"postprocessing_operation_order": ["CodeFormer", "Nothing", "Upscale"]}
    told = run(picture(), tools=tools, options=settings, **asked).html_info
    assert order == [("CodeFormer", (16, 8)), ("GFPGAN", (32, 16))]
    assert told.startswith("<p>CodeFormer visibility: 1.0, CodeFormer weight: 0, Postprocess up")
    order.clear()
    done = run(
        picture(), tools=tools, options={"postprocessing_disable_in_extras": ["Upscale"]}, **asked
    )
    assert [name for name, _ in order] == ["GFPGAN", "CodeFormer"]
    assert opened(done.images[0]).size == (16, 8)


def test_a_restorer_that_fails_leaves_the_picture_as_it_is_and_is_told() -> None:
    def broken(image: Image.Image, weight: float, tick: Tick) -> Image.Image:
        raise RuntimeError("no <weights>")

    sent = picture(mode="RGBA")
    done = run(sent, tools=with_model(doubled, GFPGAN=broken), gfpgan_visibility=1)
    result = opened(done.images[0])
    assert same(result, opened(sent).convert("RGB"))
    assert done.warnings == ("GFPGAN: RuntimeError: no <weights>",)
    text = 'GFPGAN visibility: 1.0, Extension warning: "GFPGAN: RuntimeError: no <weights>"'
    assert result.info["postprocessing"] == text
    assert done.html_info == f"<p>{html.escape(text)}</p>"


def test_two_models_are_blended_and_none_is_asked_in_vain() -> None:
    tools = Tools(upscalers={"Red": coloured("#c00000"), "Blue": coloured("#0000c0")}, restorers={})
    asked: dict[str, Any] = {"upscaler_1": "Red", "upscaler_2": "Blue", "upscaling_resize": 2}
    done = run(picture(), tools=tools, extras_upscaler_2_visibility=0.25, **asked)
    result = opened(done.images[0])
    assert result.size == (32, 16)
    assert result.getcolors() == [(32 * 16, (144, 0, 48))]
    alone = opened(run(picture(), tools=tools, **asked).images[0])
    assert alone.getcolors() == [(32 * 16, (192, 0, 0))]


def test_a_model_runs_until_the_size_is_reached_three_times_at_most() -> None:
    sizes: list[tuple[int, int]] = []

    def model(image: Image.Image, tick: Tick) -> Image.Image:
        sizes.append(image.size)
        return doubled(image, tick)

    tools = with_model(model)
    for factor, runs in ((2, 1), (3, 2), (4, 2), (8, 3), (12, 3), (1, 1), (0.5, 0)):
        sizes.clear()
        result = opened(
            run(picture(), tools=tools, upscaler_1="Model", upscaling_resize=factor).images[0]
        )
        assert result.size == (max(int(16 * factor), 8), max(int(8 * factor) // 8 * 8, 8)), factor
        assert len(sizes) == runs, factor


class Painter(Hook):
    """Paints over what it is given, and tells of it."""

    def __init__(self, color: str) -> None:
        self.color = color
        self.seen: list[tuple[int, int]] = []

    def finish(self, image: Image.Image) -> Touched:
        self.seen.append(image.size)
        return Touched(Image.new("RGBA", image.size, self.color), {"Painted": f"{self.color}, all"})


class Clumsy(Hook):
    """Fails at its picture."""

    def finish(self, image: Image.Image) -> Touched:
        raise ValueError("dropped it")


def test_extensions_come_last_and_are_told() -> None:
    painter = Painter("#11223344")
    hooks = Hooks(hooks=(("Paint", painter), ("Clumsy", Clumsy())), broken=("Gone: not here",))
    done = run(picture(), picture(), tools=with_model(doubled), hooks=hooks, upscaler_1="Model")
    assert painter.seen == [(32, 16), (32, 16)]
    result = opened(done.images[1])
    assert result.getpixel((31, 15)) == (0x11, 0x22, 0x33, 0x44)
    told = (
        'Postprocess upscale by: 2, Postprocess upscaler: Model, Painted: "#11223344, all", '
        'Extension warning: "Gone: not here; Clumsy: ValueError: dropped it"'
    )
    assert result.info == {"postprocessing": told}
    assert done.html_info == f"<p>{html.escape(told)}</p>"
    assert done.warnings == ("Gone: not here", "Clumsy: ValueError: dropped it")


@pytest.mark.parametrize(
    "fields",
    [
        {"upscaling_resize": 1e6},
        {"resize_mode": 1, "upscaling_resize_w": 2**20, "upscaling_resize_h": 1},
        {"resize_mode": 1, "upscaling_resize_w": 2**40, "upscaling_resize_h": 2**40},
    ],
)
def test_results_too_large_are_refused_before_any_work(fields: dict[str, Any]) -> None:
    request = ExtrasSingleImageRequest.model_validate({"upscaler_1": "Nearest", **fields})
    with pytest.raises(ApiError, match="allowed are at most") as refusal:
        check_sizes([picture(8), picture()], request)
    assert refusal.value.status == 422
    # without an upscaler nothing is resized
    plain = ExtrasSingleImageRequest.model_validate(fields)
    check_sizes([picture()], plain)


def test_a_thousand_times_is_told_with_the_numbers() -> None:
    request = ExtrasSingleImageRequest.model_validate(
        {"upscaler_1": "Lanczos", "upscaling_resize": 1000}
    )
    with pytest.raises(ApiError) as refusal:
        check_sizes([picture()], request)
    assert refusal.value.body["detail"] == (
        "a picture of 16x8 enlarged 1000 times has 128000000 pixels; allowed are at most 33554432"
    )


def test_pictures_that_are_too_many_together_are_refused() -> None:
    request = ExtrasSingleImageRequest.model_validate(
        {"upscaler_1": "Nearest", "upscaling_resize": 500}
    )
    check_sizes([picture()], request)
    with pytest.raises(ApiError, match="in all") as refusal:
        check_sizes([picture()] * 17, request)
    assert refusal.value.status == 422


def test_a_picture_that_lies_on_its_side_is_checked_as_it_stands() -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    file = io.BytesIO()
    Image.new("RGB", (64, 8)).save(file, "JPEG", exif=exif)
    sent = base64.b64encode(file.getvalue()).decode()
    asked: dict[str, Any] = {
        "upscaling_resize_w": 8192,
        "upscaling_resize_h": 1024,
        "upscaling_crop": False,
    }
    # 64x8 would fit, 8x64 does not
    with pytest.raises(ApiError, match="8x64"):
        run(sent, resize_mode=1, upscaler_1="Nearest", **asked)


def test_what_is_no_picture_is_refused() -> None:
    for wrong in ("", "zz", "data:image/png;base64,AAAA"):
        with pytest.raises(BadImage):
            run(wrong)
