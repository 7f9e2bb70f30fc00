"""Init pictures and masks made ready for the device."""

import numpy as np
import pytest
from PIL import Image

from pipelines.pictures import colors
from pipelines.pictures.errors import BadPicture
from pipelines.pictures.prepare import flattened, prepare
from pipelines.pictures.prepared import Fitting, Inpainting, MaskUse, Prepared
from pipelines.pictures.resize import CROP, FILL, LATENT, resized
from pipelines.pictures.soft import SoftInpainting

from .made import noise, pixels, recorded, spot

SQUARE = Fitting(width=64, height=64)
WHOLE = MaskUse(only_masked=False, content=1)


def inpainting(prepared: Prepared) -> Inpainting:
    assert prepared.inpainting is not None
    return prepared.inpainting


def test_one_picture_stands_for_the_batch_and_several_for_themselves() -> None:
    one = prepare([noise(64, 64)], SQUARE)
    assert one.pixels.shape == (1, 64, 64, 3)
    assert one.pixels.dtype == np.uint8
    assert (one.which(0), one.which(5), one.inpainting) == (0, 0, None)
    assert (one.pixels[0] == pixels(noise(64, 64))).all()
    three = prepare([noise(64, 64, seed=seed) for seed in range(3)], SQUARE)
    assert (len(three.pixels), three.which(2)) == (3, 2)
    assert (three.pixels[2] == pixels(noise(64, 64, seed=2))).all()


@pytest.mark.parametrize("mode", [0, CROP, FILL, 9])
def test_pictures_are_brought_to_the_size(mode: int) -> None:
    fitting = Fitting(width=64, height=128, resize_mode=mode, upscaler="Nearest")
    prepared = prepare([noise(50, 70)], fitting)
    wanted = resized(noise(50, 70), mode, 64, 128, "Nearest")
    assert (prepared.pixels[0] == pixels(wanted)).all()
    assert not prepared.resize_latents


def test_pictures_whose_latents_are_resized_keep_their_size() -> None:
    fitting = Fitting(width=64, height=128, resize_mode=LATENT)
    prepared = prepare([noise(50, 70)], fitting, spot(64, 128, (0, 0, 64, 64)), WHOLE)
    assert prepared.resize_latents
    assert prepared.pixels.shape == (1, 70, 50, 3)
    assert inpainting(prepared).latents.shape == (16, 8)
    assert inpainting(prepared).conditioning.shape == (70, 50)
    assert inpainting(prepared).covers[0].size == (50, 70)


def test_pictures_taken_as_they_are_must_agree() -> None:
    fitting = Fitting(width=64, height=64, resize_mode=LATENT)
    with pytest.raises(BadPicture, match="50x70, 64x64"):
        prepare([noise(50, 70), noise(64, 64)], fitting)
    with pytest.raises(BadPicture, match="at least 16"):
        prepare([noise(8, 64)], fitting)


def test_transparency_shows_the_background() -> None:
    picture = Image.new("RGBA", (2, 1), (10, 20, 30, 0))
    picture.putpixel((1, 0), (10, 20, 30, 255))
    assert pixels(flattened(picture, "#ff0000"))[0].tolist() == [[255, 0, 0], [10, 20, 30]]
    assert pixels(flattened(picture, "white"))[0, 0].tolist() == [255, 255, 255]
    with pytest.raises(BadPicture, match="'no colour'"):
        flattened(picture, "no colour")


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGB", "CMYK", "YCbCr", "I", "F"])
def test_any_mode_is_a_picture(mode: str) -> None:
    picture = Image.new("RGBA", (20, 20), (200, 100, 50, 255))
    picture = picture.convert("L").convert(mode) if mode in ("I", "F") else picture.convert(mode)
    assert prepare([picture], SQUARE).pixels.shape == (1, 64, 64, 3)


def test_the_mask_marks_latents_and_pixels() -> None:
    made = inpainting(prepare([noise(64, 64)], SQUARE, spot(64, 64, (16, 0, 48, 32)), WHOLE))
    assert made.latents.shape == (8, 8)
    assert made.latents.dtype == np.float32
    assert (made.latents[:4, 2:6] == 1).all() and made.latents.sum() == 16
    assert made.conditioning.shape == (64, 64)
    assert (made.conditioning[:32, 16:48] == 1).mean() > 0.9
    assert (made.paste, made.fill, made.overlay, made.soft) == (None, "keep", True, None)


@pytest.mark.parametrize("soft", [None, SoftInpainting()])
def test_greys_are_kept_without_rounding_and_by_soft_inpainting(
    soft: SoftInpainting | None,
) -> None:
    use = MaskUse(only_masked=False, round=soft is not None, soft=soft)
    made = inpainting(prepare([noise(64, 64)], SQUARE, recorded("mask64_circle"), use))
    assert len(np.unique(made.latents)) > 5
    assert made.soft == soft


def test_covers_are_twice_the_mask() -> None:
    photo, circle = recorded("photo64"), recorded("mask64_circle")
    made = inpainting(prepare([photo], SQUARE, circle, WHOLE))
    assert made.covers[0].tobytes() == recorded("return_mask.1").convert("L").tobytes()


def test_only_the_masked_part_is_drawn() -> None:
    photo, rectangle = recorded("photo128"), recorded("mask128_rect")
    use = MaskUse(content=1)
    prepared = prepare([photo], SQUARE, rectangle, use)
    made = inpainting(prepared)
    assert made.paste == (30, 30, 98, 98)
    part = resized(photo.convert("RGB").crop(made.paste), FILL, 64, 64)
    assert (prepared.pixels[0] == pixels(part)).all()
    assert prepared.originals[0].size == made.covers[0].size == (128, 128)
    grown = inpainting(prepare([photo], SQUARE, rectangle, MaskUse(content=1, padding=16)))
    assert grown.paste == (14, 14, 114, 114)


def test_a_black_mask_leaves_nothing_to_draw_by_itself() -> None:
    black = Image.new("L", (64, 64))
    assert prepare([noise(64, 64)], SQUARE, black, MaskUse()).inpainting is None
    whole = inpainting(prepare([noise(64, 64)], SQUARE, black, WHOLE))
    assert whole.latents.sum() == 0
    inverted = inpainting(prepare([noise(64, 64)], SQUARE, black, MaskUse(inverted=True)))
    assert inverted.latents.all()
    assert inverted.paste == (0, 0, 64, 64)


@pytest.mark.parametrize(
    ("content", "fill", "kept"),
    [(0, "keep", False), (1, "keep", True), (2, "noise", False), (3, "nothing", False)],
)
def test_what_is_masked_is_filled(content: int, fill: str, kept: bool) -> None:
    use = MaskUse(only_masked=False, content=content)
    prepared = prepare([noise(64, 64)], SQUARE, spot(64, 64, (16, 16, 48, 48)), use)
    assert inpainting(prepared).fill == fill
    original = pixels(noise(64, 64))
    assert bool((prepared.pixels[0] == original).all()) is kept
    assert (prepared.pixels[0][:4, :4] == original[:4, :4]).all()
    assert (pixels(prepared.originals[0]) == original).all()


def test_a_mask_of_another_size_is_fitted() -> None:
    made = inpainting(prepare([noise(64, 64)], SQUARE, recorded("mask128_rect"), WHOLE))
    assert made.latents.shape == (8, 8)
    assert made.covers[0].size == (64, 64)


def test_each_of_several_pictures_has_its_cover() -> None:
    pictures = [noise(128, 128), noise(64, 96)]
    made = inpainting(prepare(pictures, SQUARE, recorded("mask128_rect"), MaskUse()))
    assert [cover.size for cover in made.covers] == [(128, 128), (64, 96)]


def test_colour_targets_are_those_of_what_is_drawn() -> None:
    fitting = Fitting(width=64, height=64, match_colors=True)
    prepared = prepare([noise(64, 64)], fitting, spot(64, 64, (16, 16, 48, 48)), MaskUse())
    drawn = Image.fromarray(prepared.pixels[0])
    assert (prepared.targets[0] == colors.to_lab(drawn)).all()
    assert prepare([noise(64, 64)], SQUARE).targets == ()


def test_a_box_that_no_result_could_cover_is_refused() -> None:
    with pytest.raises(BadPicture, match="to cover 65535x1"):
        prepare([noise(64, 64)], SQUARE, Image.new("L", (65535, 1), 255), MaskUse())
