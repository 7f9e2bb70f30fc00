"""What inpainting and instruction models are shown beside the latents."""

from typing import Any

import pytest
import torch
from torch import Tensor

from pipelines.plan import BadPlan, VaeMethod
from pipelines.shown import is_edit, is_inpainting, shown_nothing, shown_picture
from pipelines.steps import EncodeImage, Predict

from .made import Bench, pixels
from .toy import CONTRAST, ToyCheckpoint, finish, plan

PLAIN, EDIT, INPAINTING = (ToyCheckpoint(in_channels=n).traits for n in (4, 8, 9))


def answered(stepping: Any, toy: ToyCheckpoint | None = None) -> tuple[Any, list[EncodeImage]]:
    """What is shown, and what was encoded for it."""
    checkpoint, asked = toy or ToyCheckpoint(), []

    def answers(step: Any) -> Tensor:
        assert isinstance(step, EncodeImage)
        asked.append(step)
        return checkpoint.encode_image(step.pixels)

    return finish(stepping, answers), asked


def picture(*shades: float) -> Tensor:
    """A grey picture of 32 by 16 for each shade in [-1, 1]."""
    return torch.tensor(shades).reshape(-1, 1, 1, 1).expand(-1, 3, 16, 32)


#: the right half is to be repainted
MASK = torch.cat([torch.zeros(1, 1, 16, 16), torch.ones(1, 1, 16, 16)], dim=3)


def test_models_are_told_by_their_channels() -> None:
    assert [is_inpainting(traits) for traits in (PLAIN, EDIT, INPAINTING)] == [False, False, True]
    assert [is_edit(traits) for traits in (PLAIN, EDIT, INPAINTING)] == [False, True, False]


def test_a_plain_model_is_shown_nothing_and_nothing_is_encoded() -> None:
    assert answered(shown_nothing(32, 16, "Full", PLAIN)) == (None, [])
    assert answered(shown_picture(picture(0.5), MASK, 1.0, "Full", PLAIN)) == (None, [])


def test_text_alone_shows_an_inpainting_model_grey_that_is_all_to_be_painted() -> None:
    toy = ToyCheckpoint()
    shown, (asked,) = answered(shown_nothing(32, 16, "TAESD", INPAINTING), toy)
    assert asked.pixels.shape == (1, 3, 16, 32)
    # the middle between black and white
    assert torch.equal(asked.pixels, torch.zeros(1, 3, 16, 32))
    assert asked.method == "TAESD"
    assert shown.shape == (1, 5, 2, 4)
    assert torch.equal(shown[:, :1], torch.ones(1, 1, 2, 4))
    assert torch.equal(shown[:, 1:], toy.encode_image(asked.pixels))


def test_a_size_that_is_no_multiple_of_8_is_shown_as_its_latents_are() -> None:
    shown, (asked,) = answered(shown_nothing(37, 20, "Full", INPAINTING))
    assert asked.pixels.shape == (1, 3, 16, 32)
    assert shown.shape == (1, 5, 2, 4)


def test_text_alone_shows_an_instruction_model_empty_latents() -> None:
    shown, asked = answered(shown_nothing(32, 16, "Full", EDIT))
    assert asked == []
    assert torch.equal(shown, torch.zeros(1, 4, 2, 4))


@pytest.mark.parametrize("method", ["Full", "TAESD"])
def test_an_inpainting_model_is_shown_the_mask_and_then_what_is_not_masked(
    method: VaeMethod,
) -> None:
    shown, (asked,) = answered(shown_picture(picture(0.5), MASK, 1.0, method, INPAINTING))
    assert asked.method == method
    assert torch.equal(asked.pixels[..., :16], torch.full((1, 3, 16, 16), 0.5))
    assert torch.equal(asked.pixels[..., 16:], torch.zeros(1, 3, 16, 16))
    assert torch.equal(shown[0, 0], torch.tensor([0.0, 0.0, 1.0, 1.0]).expand(2, 4))
    assert torch.equal(shown[0, 1:, :, :2], torch.full((4, 2, 2), 0.5 / CONTRAST))
    assert torch.equal(shown[0, 1:, :, 2:], torch.zeros(4, 2, 2))


@pytest.mark.parametrize(("weight", "left"), [(0.0, 0.5), (0.25, 0.375), (1.0, 0.0)])
def test_the_mask_s_weight_says_how_much_of_it_is_hidden(weight: float, left: float) -> None:
    shown, (asked,) = answered(shown_picture(picture(0.5), MASK, weight, "Full", INPAINTING))
    torch.testing.assert_close(asked.pixels[..., 16:], torch.full((1, 3, 16, 16), left))
    assert torch.equal(asked.pixels[..., :16], torch.full((1, 3, 16, 16), 0.5))
    # the mask itself is shown whole
    assert torch.equal(shown[0, 0], torch.tensor([0.0, 0.0, 1.0, 1.0]).expand(2, 4))


def test_without_a_mask_all_is_hidden() -> None:
    shown, (asked,) = answered(shown_picture(picture(0.5), None, 1.0, "Full", INPAINTING))
    assert torch.equal(asked.pixels, torch.zeros(1, 3, 16, 32))
    assert torch.equal(shown[:, :1], torch.ones(1, 1, 2, 4))


def test_a_mask_s_finest_lines_are_shown_as_the_nearest_of_their_pixels() -> None:
    lines = torch.zeros(1, 1, 16, 32)
    lines[..., ::8] = 1.0
    shown, _ = answered(shown_picture(picture(0.5), lines, 1.0, "Full", INPAINTING))
    assert torch.equal(shown[:, :1], torch.ones(1, 1, 2, 4))
    moved = torch.roll(lines, 1, dims=3)
    shown, _ = answered(shown_picture(picture(0.5), moved, 1.0, "Full", INPAINTING))
    assert torch.equal(shown[:, :1], torch.zeros(1, 1, 2, 4))


def test_pictures_of_a_batch_share_the_mask() -> None:
    shown, _ = answered(shown_picture(picture(0.5, -0.5), MASK, 1.0, "Full", INPAINTING))
    assert shown.shape == (2, 5, 2, 4)
    assert torch.equal(shown[0, 0], shown[1, 0])
    assert torch.equal(shown[0, 1:], -shown[1, 1:])


def test_an_instruction_model_is_shown_the_picture_s_latents_unscaled() -> None:
    traits = ToyCheckpoint(in_channels=8, latent_scale=0.18215).traits
    shown, (asked,) = answered(shown_picture(picture(0.5), MASK, 1.0, "Full", traits))
    assert torch.equal(asked.pixels, picture(0.5))
    torch.testing.assert_close(shown, torch.full((1, 4, 2, 4), 0.5 / CONTRAST / 0.18215))


@pytest.mark.parametrize("channels", [1, 3, 5, 7, 10, 13])
def test_other_numbers_of_channels_are_refused(channels: int) -> None:
    traits = ToyCheckpoint(in_channels=channels).traits
    message = f"a model of {channels} input channels; allowed: 4, 8 and 9"
    with pytest.raises(BadPlan, match=message):
        answered(shown_nothing(32, 16, "Full", traits))
    with pytest.raises(BadPlan, match=message):
        answered(shown_picture(picture(0.5), MASK, 1.0, "Full", traits))


@pytest.mark.parametrize("channels", [8, 9])
def test_pictures_from_text_show_it_to_every_call_and_image(channels: int) -> None:
    bench = Bench(toy=ToyCheckpoint(in_channels=channels))
    done = bench.run(plan("a cat", "a hen AND a dog:0.5"))
    assert len(done.images) == 2
    assert (done.effects.inpainting_model, done.effects.edit_model) == (
        channels == 9,
        channels == 8,
    )
    for _, step in bench.asked(Predict):
        assert [row.x.shape for row in step.rows] == [(3, channels, 2, 4), (2, channels, 2, 4)]
        for row in step.rows:
            assert torch.equal(row.x[:, 4:5], torch.full_like(row.x[:, :1], channels - 8.0))


def test_a_plain_model_is_neither() -> None:
    effects = Bench(toy=ToyCheckpoint()).run(plan("x")).effects
    assert (effects.inpainting_model, effects.edit_model) == (False, False)


def test_images_shown_the_same_are_the_same_alone_and_in_company() -> None:
    toy = ToyCheckpoint(in_channels=9)
    together = pixels(plan("a cat", "a dog", first_seed=3), toy)
    for i, prompt in enumerate(("a cat", "a dog")):
        (alone,) = pixels(plan(prompt, first_seed=3 + i), ToyCheckpoint(in_channels=9))
        assert abs(together[i] - alone).max() < 1e-5


def test_a_model_of_unknown_channels_ends_the_plan() -> None:
    with pytest.raises(BadPlan, match="5 input channels"):
        Bench(toy=ToyCheckpoint(in_channels=5)).run(plan("x"))
