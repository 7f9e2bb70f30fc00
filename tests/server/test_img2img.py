"""The wire's fields about init pictures and masks, and what infotexts say of them."""

import base64
import hashlib
import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipelines.pictures.errors import BadPicture
from pipelines.pictures.soft import SoftInpainting
from pipelines.pictures.upscale import Tick
from server.errors import ApiError
from server.imagecodec import BadImage, RemoteImage
from server.img2img import Img2ImgAsked, InitPictures, img2img_asked, init_pictures
from server.options import Options
from server.schemas.img2img import Img2ImgRequest

PHOTO = Image.fromarray(np.random.default_rng(5).integers(0, 256, (64, 64, 3), np.uint8))
SPOT = Image.new("L", (64, 64))
SPOT.paste(255, (16, 16, 48, 48))
BLANK = Image.new("L", (64, 64))


def sent(image: Image.Image) -> str:
    file = io.BytesIO()
    image.save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode("ascii")


def asked(**fields: Any) -> tuple[Img2ImgAsked, dict[str, object]]:
    """What a request asks for, and what infotexts say of it; `options` are its overrides."""
    options, ignored = Options.defaults().with_overrides(fields.pop("options", {}))
    assert not ignored
    body = {"init_images": [sent(PHOTO)], "width": 64, "height": 64} | fields
    mask = body.get("mask")
    if isinstance(mask, Image.Image):
        body["mask"] = sent(mask)
    extra: dict[str, object] = {}
    return img2img_asked(Img2ImgRequest.model_validate(body), options, extra), extra


def refusal(**fields: Any) -> tuple[int, str]:
    with pytest.raises(ApiError) as refused:
        asked(**fields)
    body = refused.value.body
    return refused.value.status, body["detail"] or body["errors"]


def test_plain_img2img() -> None:
    plan, extra = asked()
    assert extra == {"Denoising strength": 0.75}
    assert (plan.batch_size, plan.denoising, plan.fix_steps) == (1, 0.75, False)
    assert (plan.noise_multiplier, plan.init_hash, plan.warnings) == (1.0, None, ())
    assert plan.init.inpainting is None
    assert (plan.init.pixels[0] == np.asarray(PHOTO)).all()


def test_numbers_come_from_the_request_before_the_settings() -> None:
    options = {"initial_noise_multiplier": 0.5, "img2img_fix_steps": True}
    plan, _ = asked(options=options)
    assert (plan.noise_multiplier, plan.fix_steps) == (0.5, True)
    assert asked(options=options, initial_noise_multiplier=0.8)[0].noise_multiplier == 0.8


@pytest.mark.parametrize(("given", "used"), [(0, 0), (-0.1, 0), (1.5, 1.5)])
def test_denoising_is_told_as_it_was_sent(given: float, used: float) -> None:
    plan, extra = asked(denoising_strength=given)
    assert (plan.denoising, extra["Denoising strength"]) == (used, given)


def test_fixed_steps_need_a_schedule_with_an_end() -> None:
    fixed = {"img2img_fix_steps": True}
    assert not asked(options=fixed, denoising_strength=0)[0].fix_steps
    assert not asked(options=fixed, denoising_strength=-1)[0].fix_steps
    status, text = refusal(options=fixed, denoising_strength=1e-9)
    assert (status, "1e-09" in text, "100000" in text) == (422, True, True)


def test_batches_of_several_pictures() -> None:
    photos = [sent(PHOTO), sent(PHOTO)]
    assert asked(batch_size=4)[0].batch_size == 4
    plan, _ = asked(batch_size=4, init_images=photos)
    assert (plan.batch_size, len(plan.init.pixels)) == (2, 2)
    assert refusal(batch_size=1, init_images=photos) == (
        500,
        "bad number of images passed: 2; expecting 1 or less",
    )


def test_no_pictures() -> None:
    assert refusal(init_images=None) == (404, "Init image not found")
    assert refusal(init_images=[])[0] == 500


@pytest.mark.parametrize("picture", ["!!!", "aGVsbG8=", "", 5, None, {"image": "x"}])
def test_what_is_no_picture(picture: object) -> None:
    with pytest.raises(BadImage):
        asked(init_images=[picture])


@pytest.mark.parametrize("mask", ["xx", ""])
def test_a_bad_mask_is_refused(mask: str) -> None:
    with pytest.raises(BadImage):
        asked(mask=mask)


def test_addresses_are_not_fetched() -> None:
    with pytest.raises(RemoteImage):
        asked(init_images=["http://127.0.0.1/x.png"])


def test_pictures_have_a_limit_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.img2img._MAX_PIXELS", 2 * 64 * 64)
    photos = [sent(PHOTO)] * 3
    assert asked(init_images=photos[:2], batch_size=2)[0].batch_size == 2
    assert refusal(init_images=photos, batch_size=3) == (
        422,
        "init_images: allowed are 8192 pixels together",
    )


def test_inpainting_tells_area_and_content() -> None:
    plan, extra = asked(mask=SPOT)
    assert list(extra.items()) == [
        ("Denoising strength", 0.75),
        ("Mask blur", 4),
        ("Inpaint area", "Only masked"),
        ("Masked area padding", 0),
        ("Masked content", "fill"),
    ]
    assert plan.init.inpainting is not None
    assert plan.init.inpainting.paste == (6, 6, 58, 58)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"mask_blur": 0}, {}),
        ({"mask_blur": 2}, {"Mask blur": 2}),
        ({"mask_blur": -3}, {}),
        ({"mask_blur_x": 8, "mask_blur_y": 1}, {"Mask blur": None}),
        ({"mask_blur_x": 0, "mask_blur_y": 0}, {}),
        ({"mask_blur": 3, "mask_blur_x": 8}, {"Mask blur": 3}),
        (
            {"inpainting_mask_invert": True, "mask_blur": 0},
            {"Mask mode": "Inpaint not masked"},
        ),
        ({"inpainting_fill": 2, "mask_blur": 0}, {"Masked content": "latent noise"}),
        ({"inpainting_fill": 3, "mask_blur": 0}, {"Masked content": "latent nothing"}),
        ({"inpainting_fill": 9, "mask_blur": 0}, {}),
    ],
)
def test_whole_picture_tells(fields: dict[str, Any], told: dict[str, object]) -> None:
    body = {"inpainting_fill": 1, "inpaint_full_res": False} | fields
    assert asked(mask=SPOT, **body)[1] == {"Denoising strength": 0.75} | told


def test_the_encoder_is_told_before_latent_content() -> None:
    _, extra = asked(
        mask=SPOT, inpaint_full_res=False, inpainting_fill=2, mask_blur=0,
        options={"sd_vae_encode_method": "TAESD"},
    )  # fmt: skip
    assert list(extra) == ["Denoising strength", "VAE Encoder", "Masked content"]


def test_a_blank_mask_draws_all_of_the_picture() -> None:
    plan, extra = asked(mask=BLANK)
    assert extra == {"Denoising strength": 0.75, "Mask blur": 4}
    assert plan.init.inpainting is None
    assert plan.warnings == ("inpaint_full_res: the mask is blank, so all of the picture is drawn",)
    whole, extra = asked(mask=BLANK, inpaint_full_res=False)
    assert (whole.init.inpainting is None, extra["Masked content"]) == (False, "fill")


def test_settings_reach_the_pictures() -> None:
    see_through = PHOTO.copy()
    see_through.putalpha(0)
    red, _ = asked(init_images=[sent(see_through)], options={"img2img_background_color": "#ff0000"})
    assert (red.init.pixels == (255, 0, 0)).all()
    with pytest.raises(BadPicture, match="'reddish'"):
        asked(init_images=[sent(see_through)], options={"img2img_background_color": "reddish"})
    assert asked(options={"img2img_color_correction": True})[0].init.targets[0].shape[2] == 3
    covered, _ = asked(mask=SPOT, options={"overlay_inpaint": False})
    assert covered.init.inpainting is not None and not covered.init.inpainting.overlay


def test_the_upscaler_enlarges_and_an_unknown_one_is_told() -> None:
    double = {"width": 128, "height": 128}
    nearest, _ = asked(**double, options={"upscaler_for_img2img": "Nearest"})
    assert (nearest.init.pixels[0][::2, ::2] == np.asarray(PHOTO)).all()
    unknown, _ = asked(**double, options={"upscaler_for_img2img": "ESRGAN_9x"})
    assert unknown.warnings == ("unknown upscaler_for_img2img 'ESRGAN_9x': used Lanczos",)
    assert (unknown.init.pixels == asked(**double)[0].init.pixels).all()


def test_an_upscaler_that_is_a_model_enlarges_until_the_picture_is_covered() -> None:
    seen: list[tuple[int, int]] = []

    def model(image: Image.Image, tick: Tick) -> Image.Image:
        seen.append(image.size)
        return Image.new("RGB", (4 * image.width, 4 * image.height), "teal")

    def prepared(side: int) -> Img2ImgAsked:
        options, _ = Options.defaults().with_overrides({"upscaler_for_img2img": "Sharp"})
        body = {"init_images": [sent(PHOTO)], "width": side, "height": side}
        request = Img2ImgRequest.model_validate(body)
        return img2img_asked(request, options, {}, upscalers={"Sharp": model})

    bigger = prepared(128)
    assert (seen, bigger.warnings) == ([(64, 64)], ())
    assert bigger.init.pixels.shape == (1, 128, 128, 3)
    assert (bigger.init.pixels == (0, 128, 128)).all()
    # what shrinks is none of a model's business
    prepared(32)
    assert len(seen) == 1


def test_the_init_pictures_hash() -> None:
    plan, extra = asked(options={"save_init_img": True})
    assert plan.init_hash == hashlib.md5(PHOTO.tobytes()).hexdigest()
    assert extra == {"Denoising strength": 0.75}


def test_other_pictures_can_take_the_place_of_the_requests() -> None:
    request = Img2ImgRequest.model_validate({"width": 64, "height": 64, "mask_blur": 0})
    pictures = InitPictures(images=(PHOTO,), mask=SPOT)
    extra: dict[str, object] = {}
    plan = img2img_asked(request, Options.defaults(), extra, pictures)
    assert plan.init.inpainting is not None
    assert plan.init.inpainting.paste == (16, 16, 48, 48)


def test_pictures_are_read_as_they_are() -> None:
    body = {"init_images": ["data:image/png;base64," + sent(PHOTO)], "mask": sent(SPOT)}
    pictures = init_pictures(Img2ImgRequest.model_validate(body))
    assert pictures.images[0].tobytes() == PHOTO.tobytes()
    assert pictures.mask is not None and pictures.mask.mode == "L"


def soft(*arguments: object, title: str = "soft inpainting") -> dict[str, Any]:
    return {"alwayson_scripts": {title: {"args": list(arguments)}}}


def test_soft_inpainting_keeps_greys_and_tells_its_numbers_first() -> None:
    plan, extra = asked(mask=SPOT, **soft(True, 1.0, 0.5, 4, 0.0, 0.5, 2.0, "more"))
    assert plan.init.inpainting is not None
    assert plan.init.inpainting.soft == SoftInpainting()
    assert len(np.unique(plan.init.inpainting.latents)) > 2
    assert list(extra.items())[:8] == [
        ("Soft inpainting enabled", True),
        ("Soft inpainting schedule bias", 1.0),
        ("Soft inpainting preservation strength", 0.5),
        ("Soft inpainting transition contrast boost", 4),
        ("Soft inpainting mask influence", 0.0),
        ("Soft inpainting difference threshold", 0.5),
        ("Soft inpainting difference contrast", 2.0),
        ("Denoising strength", 0.75),
    ]


def test_arguments_left_out_have_defaults() -> None:
    plan, extra = asked(mask=SPOT, **soft("yes", "2", title="Soft Inpainting"))
    assert plan.init.inpainting is not None
    assert plan.init.inpainting.soft == SoftInpainting(schedule_bias=2)
    assert extra["Soft inpainting schedule bias"] == 2.0


@pytest.mark.parametrize(
    "scripts",
    [soft(), soft(False), {"alwayson_scripts": {"soft inpainting": [True]}},
     {"alwayson_scripts": {"soft inpainting": {"args": {"enabled": True}}}}],
)  # fmt: skip
def test_soft_inpainting_is_off(scripts: dict[str, Any]) -> None:
    plan, extra = asked(mask=SPOT, **scripts)
    assert plan.init.inpainting is not None
    assert (plan.init.inpainting.soft, "Soft inpainting enabled" in extra) == (None, False)


def test_soft_inpainting_needs_a_mask() -> None:
    assert asked(**soft(True))[1] == {"Denoising strength": 0.75}


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("maybe",), "enabled 'maybe'"),
        ((True, "x"), "schedule bias 'x'"),
        ((True, 1, [2]), "preservation strength [2]"),
        ((True, 1, 0.5, 0), "transition contrast boost 0: allowed are 0.01 to 100"),
        ((True, 1, 0.5, 4, 2), "mask influence 2: allowed are 0 to 1"),
        ((True, None), "schedule bias None"),
    ],
)
def test_bad_arguments_are_named(arguments: tuple[object, ...], named: str) -> None:
    status, text = refusal(mask=SPOT, **soft(*arguments))
    assert (status, named in text) == (422, True), text
