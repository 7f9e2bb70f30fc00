"""Soft inpainting's masks, against a recording of the reference and by their rules."""

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from pipelines.pictures.covers import soft_covers
from pipelines.pictures.finish import finish
from pipelines.pictures.prepare import prepare
from pipelines.pictures.prepared import Fitting, MaskUse, Prepared
from pipelines.pictures.soft import SoftInpainting

from .made import INPAINTING, noise, pixels, recorded, spot

SIZE = (64, 64)


def prepared(soft: SoftInpainting, *, only_masked: bool = False) -> Prepared:
    use = MaskUse(only_masked=only_masked, content=1, soft=soft)
    if only_masked:
        photo, mask = recorded("photo128"), recorded("mask128_rect")
    else:
        photo, mask = recorded("photo64"), recorded("mask64_circle")
    return prepare([photo], Fitting(width=64, height=64), mask, use)


def moved(distance: float) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Latents that all moved as far."""
    before = np.zeros((1, 4, 8, 8), np.float32)
    return before, before + np.float32(distance / 2)


def opacity(distance: float, soft: SoftInpainting) -> float:
    """How white the middle of the mask is, 0 to 1."""
    (cover,) = soft_covers(prepared(soft), SIZE, *moved(distance))
    return float(pixels(cover)[32, 32]) / 255


def test_the_recorded_picture() -> None:
    made = np.load(INPAINTING / "soft_inpainting.npz")
    ready = prepared(SoftInpainting())
    (cover,) = soft_covers(ready, SIZE, made["before"], made["after"])
    done = finish(Image.fromarray(made["result"]), ready, 0, cover)
    difference = np.abs(pixels(done.picture) - pixels(recorded("soft_inpainting")))
    assert difference.max() <= 1
    assert difference.mean() < 0.01


def test_what_did_not_move_is_the_original_and_what_moved_far_is_new() -> None:
    soft = SoftInpainting()
    assert opacity(0, soft) == 0
    assert opacity(0.5, soft) == pytest.approx(0.5, abs=0.01)
    assert opacity(5, soft) > 0.98
    assert opacity(0.25, soft) < opacity(0.4, soft) < opacity(0.7, soft)


def test_the_threshold_moves_the_half_and_contrast_steepens_it() -> None:
    assert opacity(2, SoftInpainting(difference_threshold=2)) == pytest.approx(0.5, abs=0.01)
    steep = SoftInpainting(difference_contrast=8)
    assert opacity(0.4, steep) < opacity(0.4, SoftInpainting())
    assert opacity(0.7, steep) > opacity(0.7, SoftInpainting())


def test_the_mask_counts_by_its_influence() -> None:
    soft = SoftInpainting(mask_influence=1, difference_threshold=1)
    (cover,) = soft_covers(prepared(soft), SIZE, *moved(1))
    levels = pixels(cover)
    assert levels[32, 32] > 200 > 60 > levels[2, 2]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("threshold", [0, 1e-9, 1000])
@pytest.mark.parametrize("contrast", [0, 100])
def test_extreme_numbers_give_masks(threshold: float, contrast: float) -> None:
    soft = SoftInpainting(
        difference_threshold=threshold, difference_contrast=contrast, mask_influence=1
    )
    for distance in (0, 1, 1e6):
        (cover,) = soft_covers(prepared(soft), SIZE, *moved(distance))
        assert (cover.mode, cover.size) == ("L", SIZE)


def test_masks_of_a_part_are_black_outside_it() -> None:
    ready = prepared(SoftInpainting(), only_masked=True)
    (cover,) = soft_covers(ready, SIZE, *moved(9))
    assert cover.size == (128, 128)
    assert cover.crop((30, 30, 98, 98)).getextrema() == (254, 254)
    outside = pixels(cover)
    outside[30:98, 30:98] = 0
    assert outside.max() == 0


def test_every_image_of_a_batch_has_its_own() -> None:
    before = np.zeros((3, 4, 8, 8), np.float32)
    after = before.copy()
    after[1] = 3
    after[2, :, :4] = 3
    covers = [
        pixels(cover) for cover in soft_covers(prepared(SoftInpainting()), SIZE, before, after)
    ]
    assert (covers[0].max(), covers[1].min()) == (0, 254)
    assert covers[2][8, 32] > 200 > 50 > covers[2][56, 32]


def test_a_picture_of_several_sizes_gets_masks_of_theirs() -> None:
    use = MaskUse(soft=SoftInpainting())
    pictures = [noise(128, 128), noise(96, 128)]
    mask = spot(128, 128, (20, 20, 60, 60))
    ready = prepare(pictures, Fitting(width=64, height=64), mask, use)
    latents = np.zeros((2, 4, 8, 8), np.float32)
    covers = soft_covers(ready, SIZE, latents, latents + 1)
    assert [cover.size for cover in covers] == [(128, 128), (96, 128)]
