"""Results put back into their originals."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pipelines.pictures.finish import (
    composed,
    corrected,
    finish,
    mask_composite,
    mask_picture,
    placed,
)
from pipelines.pictures.prepare import prepare
from pipelines.pictures.prepared import Fitting, MaskUse
from pipelines.pictures.resize import CROP, resized

from .made import noise, pixels, recorded, spot

SQUARE = Fitting(width=64, height=64)
WHOLE = MaskUse(only_masked=False)
RED = Image.new("RGB", (64, 64), (255, 0, 0))


def test_without_a_mask_the_result_is_the_picture() -> None:
    result = noise(64, 64, seed=7)
    done = finish(result, prepare([noise(64, 64)], SQUARE), 0)
    assert done.picture is result
    assert (done.cover, mask_picture(done), mask_composite(done)) == (None, None, None)


sizes = st.integers(16, 128)


@settings(max_examples=60, deadline=None)
@given(
    size=st.tuples(sizes, sizes),
    mode=st.integers(0, 2),
    only_masked=st.booleans(),
    inverted=st.booleans(),
    blur=st.tuples(st.integers(0, 8), st.integers(0, 8)),
    content=st.integers(0, 3),
    padding=st.integers(0, 40),
    corner=st.tuples(st.integers(0, 14), st.integers(0, 14)),
)
def test_what_no_mask_reaches_is_the_original_to_the_byte(
    size: tuple[int, int],
    mode: int,
    only_masked: bool,
    inverted: bool,
    blur: tuple[int, int],
    content: int,
    padding: int,
    corner: tuple[int, int],
) -> None:
    use = MaskUse(
        inverted=inverted, blur=blur, content=content, only_masked=only_masked, padding=padding
    )
    box = (*corner, corner[0] + 2, corner[1] + 2)
    original = noise(*size, seed=3)
    fitting = Fitting(width=64, height=64, resize_mode=mode)
    prepared = prepare([original], fitting, spot(*size, box), use)
    assert prepared.inpainting is not None
    done = finish(noise(64, 64, seed=4), prepared, 0)
    under = original if only_masked else resized(original, mode, 64, 64)
    assert done.picture.size == under.size
    kept = pixels(prepared.inpainting.covers[0]) == 0
    assert (pixels(done.picture)[kept] == pixels(under)[kept]).all()


def test_where_the_cover_is_white_the_result_is_seen() -> None:
    prepared = prepare([noise(64, 64)], SQUARE, spot(64, 64, (16, 16, 48, 48)), WHOLE)
    assert prepared.inpainting is not None
    shown = pixels(prepared.inpainting.covers[0]) == 255
    assert shown.sum() > 900
    assert (pixels(finish(RED, prepared, 0).picture)[shown] == (255, 0, 0)).all()


@pytest.mark.parametrize(
    ("photo", "mask", "use", "answer"),
    [
        ("photo64", "mask64_circle", WHOLE, "return_mask.0"),
        ("photo128", "mask128_rect", MaskUse(), "full_res_default"),
    ],
)
def test_the_references_pictures_keep_what_ours_do(
    photo: str, mask: str, use: MaskUse, answer: str
) -> None:
    prepared = prepare([recorded(photo)], SQUARE, recorded(mask), use)
    plain = (Image.new("RGB", (64, 64), color) for color in ("black", "white"))
    two = [pixels(finish(result, prepared, 0).picture) for result in plain]
    kept = (two[0] == two[1]).all(axis=-1)
    assert 0.4 < kept.mean() < 0.9
    assert (two[0][kept] == pixels(recorded(answer))[kept]).all()


def test_masks_are_sent_as_the_reference_sends_them() -> None:
    prepared = prepare([recorded("photo64")], SQUARE, recorded("mask64_circle"), WHOLE)
    done = finish(RED, prepared, 0)
    picture, composite = mask_picture(done), mask_composite(done)
    assert picture is not None and composite is not None
    assert (picture.mode, composite.mode) == ("RGB", "RGBA")
    assert picture.tobytes() == recorded("return_mask.1").tobytes()
    assert (pixels(composite)[..., 3] == pixels(picture)[..., 0]).all()
    assert pixels(composite)[32, 32].tolist() == [255, 0, 0, 255]


def test_composites_of_a_part_show_it_in_its_place() -> None:
    prepared = prepare([recorded("photo128")], SQUARE, recorded("mask128_rect"), MaskUse())
    composite = mask_composite(finish(RED, prepared, 0))
    assert composite is not None
    assert composite.size == (128, 128)
    assert pixels(composite)[64, 64].tolist() == [255, 0, 0, 255]
    assert pixels(composite)[5, 5].tolist() == [0, 0, 0, 0]


def test_overlays_can_be_off() -> None:
    use = MaskUse(overlay=False)
    prepared = prepare([recorded("photo128")], SQUARE, recorded("mask128_rect"), use)
    done = finish(RED, prepared, 0)
    assert done.picture.tobytes() == RED.tobytes()
    assert done.cover is not None and done.cover.size == (128, 128)
    composite = mask_composite(done)
    assert composite is not None and composite.size == (64, 64)


def test_each_result_goes_into_its_own_picture() -> None:
    pictures = [noise(64, 64, seed=seed) for seed in range(2)]
    prepared = prepare(pictures, SQUARE, spot(64, 64, (16, 16, 48, 48)), WHOLE)
    for position, picture in enumerate(pictures):
        corner = pixels(finish(RED, prepared, position).picture)[0, 0]
        assert (corner == pixels(picture)[0, 0]).all()


def test_a_result_that_was_enlarged_gets_an_enlarged_original() -> None:
    prepared = prepare([noise(64, 64)], SQUARE, spot(64, 64, (16, 16, 48, 48)), WHOLE)
    assert finish(noise(128, 128), prepared, 0).picture.size == (128, 128)
    part = prepare([noise(128, 96)], SQUARE, spot(128, 96, (16, 16, 48, 48)), MaskUse())
    assert finish(noise(256, 256), part, 0).picture.size == (128, 96)


def test_a_soft_cover_takes_the_masks_place() -> None:
    use = MaskUse(only_masked=False, overlay=False)
    prepared = prepare([noise(64, 64)], SQUARE, spot(64, 64, (16, 16, 48, 48)), use)
    cover = spot(64, 64, (0, 0, 64, 32))
    done = composed(RED, prepared, 0, cover)
    assert (pixels(done.picture)[:32] == (255, 0, 0)).all()
    assert (pixels(done.picture)[32:] == pixels(noise(64, 64))[32:]).all()
    assert done.cover is cover


def test_a_part_is_cropped_to_its_box() -> None:
    ground = placed(noise(64, 64), (100, 80), (10, 20, 50, 40), "None")
    assert (ground.size, ground.mode) == ((100, 80), "RGBA")
    part = ground.crop((10, 20, 50, 40)).convert("RGB")
    assert part.tobytes() == resized(noise(64, 64), CROP, 40, 20).tobytes()
    assert np.count_nonzero(pixels(ground)[..., 3]) == 40 * 20


def test_colours_are_corrected_before_the_original_covers_them() -> None:
    fitting = Fitting(width=64, height=64, match_colors=True)
    photo = recorded("photo64").convert("RGB")
    prepared = prepare([photo], fitting, spot(64, 64, (16, 16, 48, 48)), WHOLE)
    result = noise(64, 64)
    done = finish(result, prepared, 0)
    assert done.alone.tobytes() == corrected(result, prepared, 0).tobytes() != result.tobytes()
    assert (pixels(done.picture)[0] == pixels(photo)[0]).all()


def cut_out(size: int = 64) -> Image.Image:
    """Red in its left half, nothing in its right one."""
    image = Image.new("RGBA", (size, size))
    image.paste((255, 0, 0, 255), (0, 0, size // 2, size))
    return image


def test_what_a_hook_cut_out_keeps_its_alpha_through_the_colours() -> None:
    prepared = prepare([noise(64, 64)], Fitting(width=64, height=64, match_colors=True))
    done = finish(cut_out(), prepared, 0)
    assert done.picture.mode == "RGBA"
    np.testing.assert_array_equal(
        np.asarray(done.picture)[..., 3], np.asarray(cut_out().getchannel("A"))
    )


@pytest.mark.parametrize("only_masked", [False, True])
def test_what_a_hook_cut_out_leaves_a_hole_in_its_surroundings(only_masked: bool) -> None:
    init = Image.new("RGB", (64, 64), (0, 0, 255))
    mask = Image.new("L", (64, 64))
    mask.paste(255, (16, 16, 48, 48))
    use = MaskUse(only_masked=only_masked, blur=(0, 0))
    done = finish(cut_out(), prepare([init], SQUARE, mask, use), 0)
    assert done.picture.mode == "RGBA"
    pixels = np.asarray(done.picture)
    assert (pixels[20:44, 36:44, 3] == 0).all(), "nothing was painted here"
    assert (pixels[20:44, 20:28] == (255, 0, 0, 255)).all()
    assert (pixels[:12] == (0, 0, 255, 255)).all()
    assert (pixels[:, 52:] == (0, 0, 255, 255)).all()
