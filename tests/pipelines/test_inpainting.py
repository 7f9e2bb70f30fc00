"""Pictures repainted in part, and models that are shown what they are to repaint."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from pipelines.generate import Generated
from pipelines.pictures.soft import SoftInpainting
from pipelines.plan import GuidanceSpec, Refining
from pipelines.samplers import SAMPLERS
from pipelines.steps import EncodeImage, Predict

from .drawn import init, latents_of, redrawing, right_half
from .made import Bench, as_picture, made, pixels, rows, start
from .toy import CONTRAST, ToyCheckpoint, choice, spec

KEPT = as_picture(latents_of(200))[0, :, :16]


@pytest.mark.parametrize("sampler", SAMPLERS, ids=lambda sampler: sampler.name)
def test_what_is_not_masked_is_kept_exactly(sampler: Any) -> None:
    chosen = spec(sampler.name, steps=6, schedule=sampler.default_schedule or "automatic", eta=1.0)
    wanted = redrawing("x", "y", shown=init(200, inpainting=right_half()), sampler=chosen)
    for found in pixels(wanted):
        np.testing.assert_array_equal(found[:, :16], KEPT)
        assert np.abs(found[:, 16:] - KEPT).mean() > 0.05


def test_every_picture_of_a_batch_keeps_its_own_part() -> None:
    wanted = redrawing("x", "x", shown=init(200, 40, inpainting=right_half()))
    found = pixels(wanted)
    np.testing.assert_array_equal(found[0, :, :16], KEPT)
    np.testing.assert_array_equal(found[1, :, :16], as_picture(latents_of(40))[0, :, :16])


def test_what_is_filled_is_what_is_noised() -> None:
    """With empty latents under the mask the first input is their noise alone."""
    sampler = spec(steps=10, schedule="karras")

    def first(fill: Any) -> tuple[Tensor, float]:
        shown = init(200, inpainting=right_half(fill))
        (row,) = rows(redrawing("x", shown=shown, sampler=sampler, first_seed=7))[0]
        sigma = float(ToyCheckpoint().table.sigma(np.array([row.timestep]))[0])
        return row.x * (sigma**2 + 1) ** 0.5, sigma

    noise = start(7).float()
    for fill, masked in (("keep", latents_of(200)), ("nothing", 0), ("noise", noise)):
        x, sigma = first(fill)
        torch.testing.assert_close(
            x[..., 2:], (masked + noise * sigma)[..., 2:], atol=1e-4, rtol=1e-4
        )
        torch.testing.assert_close(
            x[..., :2], (latents_of(200) + noise * sigma)[..., :2], atol=1e-4, rtol=1e-4
        )


SOFT = SoftInpainting(schedule_bias=1.0, preservation_strength=0.5, contrast_boost=4.0)


def test_soft_inpainting_keeps_the_latents_it_began_and_ended_with() -> None:
    shown = init(200, 40, inpainting=right_half("nothing", soft=SOFT))
    images = made(redrawing("x", "y", "z", "w", shown=shown, batch_size=2))
    for i, image in enumerate(images):
        assert image.latents is not None
        first, last = image.latents
        assert first.shape == last.shape == (4, 2, 4)
        assert first.dtype == np.float32
        expected = latents_of((200, 40)[i % 2])[0].clone()
        expected[..., 2:] = 0
        np.testing.assert_allclose(first, expected.numpy(), atol=1e-6)
        np.testing.assert_allclose(as_picture(torch.from_numpy(last)[None])[0], image.pixels)


def test_one_picture_for_all_is_what_each_began_with() -> None:
    shown = init(200, inpainting=right_half(soft=SOFT))
    for image in made(redrawing("x", "y", shown=shown)):
        assert image.latents is not None
        np.testing.assert_allclose(image.latents[0], latents_of(200)[0].numpy(), atol=1e-6)


@pytest.mark.parametrize("inpainting", [None, right_half()])
def test_other_pictures_keep_no_latents(inpainting: Any) -> None:
    (image,) = made(redrawing("x", shown=init(200, inpainting=inpainting)))
    assert image.latents is None


def test_soft_inpainting_blends_by_the_noise_level_and_not_at_the_end() -> None:
    hard, soft = (
        pixels(redrawing("x", shown=init(200, inpainting=right_half(soft=chosen, grey=0.5))))[0]
        for chosen in (None, SOFT)
    )
    np.testing.assert_allclose(soft[:, :16], hard[:, :16], atol=1e-4)
    assert np.abs(soft[:, 16:] - hard[:, 16:]).mean() > 0.02


def ran(wanted: Any, toy: ToyCheckpoint) -> tuple[Generated, list[tuple[Any, ...]], list[Tensor]]:
    """What came of a plan, the rows of its calls, and the pictures that were encoded."""
    bench = Bench(toy=toy)
    done = bench.run(wanted)
    return done, [step.rows for _, step in bench.asked(Predict)], toy.pictures


def test_an_inpainting_model_is_shown_mask_and_picture() -> None:
    shown = init(200, inpainting=right_half())
    wanted = redrawing("x", "y", shown=shown, cfg_scale=2.0)
    done, calls, pictures = ran(wanted, ToyCheckpoint(in_channels=9))
    assert done.effects.inpainting_model
    level = 200 / 127.5 - 1
    # the init picture, and the same with its masked part hidden
    assert len(pictures) == 2
    torch.testing.assert_close(pictures[1][..., :16], torch.full((1, 3, 16, 16), level))
    assert torch.equal(pictures[1][..., 16:], torch.zeros(1, 3, 16, 16))
    for call in calls:
        for row in call:
            assert row.x.shape == (2, 9, 2, 4)
            mask = torch.tensor([0.0, 0.0, 1.0, 1.0]).expand(2, 2, 4)
            assert torch.equal(row.x[:, 4], mask)
            torch.testing.assert_close(
                row.x[:, 5:, :, :2], latents_of(200)[..., :2].expand(2, -1, -1, -1)
            )
            assert torch.equal(row.x[:, 5:, :, 2:], torch.zeros(2, 4, 2, 2))


@pytest.mark.parametrize("channels", [8, 9])
def test_a_last_batch_of_fewer_images_is_shown_as_many_pictures(channels: int) -> None:
    wanted = redrawing("x", "y", "z", shown=init(200, 40), batch_size=2)
    _, calls, _ = ran(wanted, ToyCheckpoint(in_channels=channels))
    assert [row.x.shape[0] for row in calls[0]] == [2]
    assert [row.x.shape[0] for row in calls[-1]] == [1]
    assert torch.equal(calls[-1][0].x[:, -4:], calls[0][0].x[:1, -4:])


def test_without_a_mask_an_inpainting_model_is_shown_nothing_of_the_picture() -> None:
    _, calls, pictures = ran(redrawing("x"), ToyCheckpoint(in_channels=9))
    assert torch.equal(pictures[1], torch.zeros(1, 3, 16, 32))
    assert torch.equal(calls[0][0].x[:, 4], torch.ones(1, 2, 4))


def test_the_mask_s_weight_reaches_what_is_shown() -> None:
    guidance = GuidanceSpec(scale=1.0, mask_weight=0.25)
    wanted = redrawing("x", shown=init(255, inpainting=right_half()), guidance=guidance)
    _, _, pictures = ran(wanted, ToyCheckpoint(in_channels=9))
    torch.testing.assert_close(pictures[1][..., 16:], torch.full((1, 3, 16, 16), 0.75))


def test_an_enlarged_latent_is_shown_enlarged() -> None:
    picture = init(200, size=(16, 8), resize_latents=True)
    _, calls, _ = ran(redrawing("x", shown=picture), ToyCheckpoint(in_channels=9))
    assert calls[0][0].x.shape == (1, 9, 2, 4)


@pytest.mark.parametrize(("image_scale", "count"), [(None, 2), (1.0, 2), (1.5, 3), (0.0, 3)])
def test_an_instruction_model_is_guided_by_the_picture_too(
    image_scale: float | None, count: int
) -> None:
    guidance = GuidanceSpec(scale=4.0, image_scale=image_scale)
    toy = ToyCheckpoint(in_channels=8, latent_scale=0.25)
    done, calls, _ = ran(redrawing("x", guidance=guidance), toy)
    assert done.effects.edit_model
    assert {len(call) for call in calls} == {count}
    for row in calls[0][:2]:
        torch.testing.assert_close(row.x[:, 4:], latents_of(200) / 0.25)
    if count == 3:
        assert torch.equal(calls[0][2].x[:, 4:], torch.zeros(1, 4, 2, 4))


def test_a_plain_model_knows_no_image_scale() -> None:
    guidance = GuidanceSpec(scale=4.0, image_scale=1.5)
    done, calls, _ = ran(redrawing("x", guidance=guidance), ToyCheckpoint())
    assert {len(call) for call in calls} == {2}
    assert not done.effects.edit_model


def test_a_refiner_is_shown_what_it_needs_and_guided_as_it_can_be() -> None:
    """From a plain model to one of instructions, to which the picture is shown then."""
    guidance = GuidanceSpec(scale=4.0, image_scale=1.5)
    toy, other = ToyCheckpoint(), ToyCheckpoint(in_channels=8)
    bench = Bench(toy=toy, other=other)
    refiner = Refining(model=choice("other"), at=0.5, by_steps=True)
    done = bench.run(
        redrawing("x", guidance=guidance, refiner=refiner, sampler=spec(steps=8), denoising=0.75)
    )
    calls = [(used, len(step.rows)) for used, step in bench.asked(Predict)]
    # seven calls, four of which are before half of them
    assert calls == [("toy", 2)] * 4 + [("other", 3)] * 3
    assert done.effects.refined == {0}
    assert not done.effects.edit_model, "told of the model that the pass began on"
    assert [used for used, _ in bench.asked(EncodeImage)] == ["toy", "other"]


def test_the_kept_part_stays_over_a_change_of_models() -> None:
    refiner = Refining(model=choice("other"), at=0.5, by_steps=True)
    wanted = redrawing("x", shown=init(200, inpainting=right_half()), refiner=refiner)
    bench = Bench(toy=ToyCheckpoint(), other=ToyCheckpoint(bias=1.0))
    (image,) = bench.run(wanted).images
    np.testing.assert_array_equal(image.pixels[:, :16], KEPT)
    (plain,) = made(redrawing("x", shown=init(200, inpainting=right_half())))
    assert (image.pixels - plain.pixels)[:, 16:].mean() > 0.5 * CONTRAST


def test_the_model_sees_the_kept_part_at_its_noise_level_on_time_steps() -> None:
    """What it sees of the kept part is the picture in its scale, with no noise on it at all."""
    wanted = redrawing("x", shown=init(200, inpainting=right_half()), sampler=spec("DDIM", steps=6))
    for call in rows(wanted):
        torch.testing.assert_close(call[0].x[..., :2], latents_of(200)[..., :2])


def test_batches_of_latent_noise_begin_with_the_first_batch_s() -> None:
    shown = init(200, inpainting=right_half("noise"))
    sampler = spec(steps=10, schedule="karras")
    calls = rows(redrawing("a", "b", shown=shown, batch_size=1, first_seed=5, sampler=sampler))
    sigma = float(ToyCheckpoint().table.sigma(np.array([calls[0][0].timestep]))[0])
    fill = start(5).float()
    for index, call in enumerate((calls[0], calls[len(calls) // 2])):
        x = call[0].x * (sigma**2 + 1) ** 0.5
        expected = fill + start(5 + index).float() * sigma
        torch.testing.assert_close(x[..., 2:], expected[..., 2:], atol=1e-4, rtol=1e-4)
