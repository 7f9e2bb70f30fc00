"""Pictures from pictures: how far they are noised, how far they are sampled, and from what."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from pipelines.generate import generation
from pipelines.img2img import Start, encode_start
from pipelines.plan import GuidanceSpec, Img2ImgPlan, VaeMethods
from pipelines.samplers import SAMPLERS
from pipelines.schedules import schedule_sigmas
from pipelines.steps import Decode, EncodeImage, Predict
from pipelines.watch import Watch

from .drawn import init, latents_of, redrawing, right_half, shades
from .made import Bench, as_picture, made, named_mean, pixels, recorded, rows, start
from .toy import CONTRAST, ToyCheckpoint, answer, finish, seeds, spec

TABLE = ToyCheckpoint().table


def begun(wanted: Img2ImgPlan, toy: ToyCheckpoint | None = None) -> Start:
    """The latents that the batches of a plan begin with."""
    checkpoint = toy or ToyCheckpoint()
    found: Start = finish(
        encode_start(wanted, checkpoint.traits), lambda step: answer(step, checkpoint)
    )
    return found


def test_the_init_picture_is_encoded() -> None:
    toy = ToyCheckpoint()
    found = begun(redrawing("x", shown=init(200)), toy)
    (asked,) = toy.pictures
    torch.testing.assert_close(asked, torch.full((1, 3, 16, 32), 200 / 127.5 - 1))
    torch.testing.assert_close(found.latents, latents_of(200))
    assert found.mask is None


def test_each_of_several_pictures_is_encoded() -> None:
    found = begun(redrawing("x", "y", shown=init(200, 40)))
    torch.testing.assert_close(found.latents, latents_of(200, 40))


def test_latents_can_be_brought_to_the_size_instead_of_the_picture() -> None:
    picture = init(0, size=(16, 16), resize_latents=True)
    picture.pixels[:, :, 8:] = 255
    found = begun(redrawing("x", shown=picture)).latents
    assert found.shape == (1, 4, 2, 4)
    # bilinear between the two latents' centres
    expected = torch.tensor([-1.0, -0.5, 0.5, 1.0]) / CONTRAST
    torch.testing.assert_close(found[0, 0, 0], expected)


def test_a_kept_fill_changes_nothing() -> None:
    found = begun(redrawing("x", shown=init(200, inpainting=right_half())))
    torch.testing.assert_close(found.latents, latents_of(200))
    assert found.mask is not None
    assert torch.equal(found.mask[0, 0, 0], torch.tensor([0.0, 0.0, 1.0, 1.0]))


def test_the_fill_nothing_empties_the_masked_latents() -> None:
    found = begun(redrawing("x", shown=init(200, inpainting=right_half("nothing"))))
    expected = latents_of(200).clone()
    expected[..., 2:] = 0
    torch.testing.assert_close(found.latents, expected)


def test_a_grey_mask_fills_in_part() -> None:
    found = begun(redrawing("x", shown=init(200, inpainting=right_half("nothing", grey=0.25))))
    torch.testing.assert_close(found.latents[..., 2:], 0.75 * latents_of(200)[..., 2:])


def test_the_fill_noise_is_the_noise_of_the_first_batch_s_seeds() -> None:
    shown = init(200, inpainting=right_half("noise"))
    wanted = redrawing("a", "b", "c", "d", shown=shown, batch_size=2, first_seed=5)
    found = begun(wanted).latents
    assert found.shape == (2, 4, 2, 4)
    for i in range(2):
        torch.testing.assert_close(found[i, ..., :2], latents_of(200)[0, ..., :2])
        torch.testing.assert_close(found[i, ..., 2:], start(5 + i)[0, ..., 2:].float())


def test_the_fill_noise_knows_no_variation_and_no_other_size() -> None:
    shown = init(200, inpainting=right_half("noise"))
    varied = seeds(5, subseed_strength=0.7, resize_from=(64, 64), eta_delta=31337)
    found = begun(redrawing("a", shown=shown, seeds=varied)).latents
    torch.testing.assert_close(found[..., 2:], start(5)[..., 2:].float())


def asked_timesteps(wanted: Img2ImgPlan) -> list[float]:
    return [call[0].timestep for call in rows(wanted)]


@pytest.mark.parametrize(
    ("denoising", "steps", "ran"),
    [(0.75, 20, 16), (0.5, 20, 11), (0.0, 20, 1), (0.3, 4, 2), (1.0, 20, 20), (0.999, 8, 8)],
)
def test_a_share_of_the_steps_is_run_at_the_end_of_the_schedule(
    denoising: float, steps: int, ran: int
) -> None:
    chosen = spec(steps=steps, schedule="karras")
    found = asked_timesteps(redrawing("x", denoising=denoising, sampler=chosen))
    sigmas = schedule_sigmas(chosen, TABLE)[:-1]
    assert found == pytest.approx([TABLE.timestep(sigma) for sigma in sigmas[-ran:]])
    assert len(found) == ran


@pytest.mark.parametrize(
    ("denoising", "length"), [(0.75, 26), (0.5, 40), (0.3, 66), (1.0, 20), (0.9, 22)]
)
def test_all_steps_can_be_run_at_the_end_of_a_longer_schedule(
    denoising: float, length: int
) -> None:
    chosen = spec(steps=20, schedule="karras")
    found = asked_timesteps(redrawing("x", denoising=denoising, sampler=chosen, fix_steps=True))
    sigmas = schedule_sigmas(spec(steps=length, schedule="karras"), TABLE)[:-1]
    assert found == pytest.approx([TABLE.timestep(sigma) for sigma in sigmas[-20:]])


def test_nothing_to_denoise_and_all_steps_gives_the_picture_back() -> None:
    """A schedule without a length has no step to run; the reference decodes what it encoded."""
    wanted = redrawing("x", denoising=0.0, fix_steps=True)
    np.testing.assert_allclose(pixels(wanted), as_picture(latents_of(200)), atol=1e-5)
    assert rows(wanted) == []


def test_progress_counts_the_steps_that_are_run() -> None:
    wanted = redrawing("x", denoising=0.5, sampler=spec(steps=8))
    watch, seen = Watch(batch_count=1, steps=8), []
    toy = ToyCheckpoint(before=lambda _: seen.append(watch.progress()))
    made(wanted, toy, watch)
    assert [now.step for now in seen] == [0, 1, 2, 3, 4]
    assert {now.steps for now in seen} == {5}
    assert watch.progress().done == 1


def first_input(**more: Any) -> Tensor:
    """What the sampler begins with, and the level of its noise."""
    wanted = redrawing("x", first_seed=7, sampler=spec(steps=10, schedule="karras"), **more)
    (row,) = rows(wanted)[0]
    sigma = schedule_sigmas(wanted.sampler, TABLE)[2]
    assert row.timestep == pytest.approx(TABLE.timestep(sigma))
    x: Tensor = row.x * math.sqrt(sigma**2 + 1)
    return (x - latents_of(200)) / sigma


def test_the_picture_is_noised_by_its_seed_s_noise() -> None:
    torch.testing.assert_close(first_input(), start(7).float(), atol=1e-5, rtol=1e-5)


def test_the_noise_can_be_multiplied() -> None:
    found = first_input(noise_multiplier=0.4)
    torch.testing.assert_close(found, 0.4 * start(7).float(), atol=1e-5, rtol=1e-5)


def test_extra_noise_is_of_the_multiplied_noise_and_of_no_level() -> None:
    sigma = schedule_sigmas(spec(steps=10, schedule="karras"), TABLE)[2]
    found = first_input(extra_noise=0.3, noise_multiplier=0.5)
    expected = 0.5 * (1 + 0.3 / sigma) * start(7).float()
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_the_latents_follow_the_ode_from_the_noised_picture() -> None:
    sampler = spec("Heun", steps=80, schedule="karras")
    wanted = redrawing("a cat", first_seed=7, denoising=0.6, sampler=sampler)
    sigma = schedule_sigmas(sampler, TABLE)[80 - 49]
    mean, spread = named_mean("a cat"), ToyCheckpoint().spread
    noised = latents_of(200).double() + start(7) * sigma
    expected = mean + (noised - mean) * (spread / math.hypot(spread, sigma))
    np.testing.assert_allclose(pixels(wanted), as_picture(expected), atol=0.01)


def test_every_image_of_a_batch_can_have_its_own_picture() -> None:
    wanted = redrawing(
        "x", "x", "x", shown=init(200, 40, 128), denoising=0.3, sampler=spec(steps=9)
    )
    together = pixels(wanted)
    for i, shade in enumerate((200, 40, 128)):
        alone = redrawing(
            "x", shown=init(shade), denoising=0.3, first_seed=1 + i, sampler=spec(steps=9)
        )
        np.testing.assert_allclose(together[i], pixels(alone)[0], atol=1e-5)
    assert np.abs(together[0] - together[1]).mean() > 0.05


def test_every_batch_begins_with_the_same_pictures_which_are_encoded_once() -> None:
    wanted = redrawing("x", "x", "x", "x", shown=init(200, 40), batch_size=2, denoising=0.3)
    toy = ToyCheckpoint()
    found = np.stack([image.pixels for image in made(wanted, toy)])
    assert len(toy.pictures) == 1
    for i in range(4):
        alone = redrawing("x", shown=init((200, 40)[i % 2]), denoising=0.3, first_seed=1 + i)
        np.testing.assert_allclose(found[i], pixels(alone)[0], atol=1e-5)


def test_a_last_batch_of_fewer_images_begins_with_the_first_pictures() -> None:
    """As prompts that a script multiplies come: three of them in batches of two."""
    wanted = redrawing("x", "x", "x", shown=init(200, 40), batch_size=2, denoising=0.3)
    alone = redrawing("x", shown=init(200), denoising=0.3, first_seed=3)
    np.testing.assert_allclose(pixels(wanted)[2], pixels(alone)[0], atol=1e-5)
    noised = init(200, inpainting=right_half("noise"))
    assert pixels(redrawing("x", "x", "x", shown=noised, batch_size=2)).shape == (3, 16, 32, 3)


def test_one_picture_serves_every_image() -> None:
    together = pixels(redrawing("a", "b", "c"))
    for i, prompt in enumerate("abc"):
        np.testing.assert_allclose(
            together[i], pixels(redrawing(prompt, first_seed=1 + i))[0], atol=1e-5
        )


@pytest.mark.parametrize(
    "name", [sampler.name for sampler in SAMPLERS if sampler.name != "DPM adaptive"]
)
@pytest.mark.parametrize("fill", ["keep", "nothing"])
def test_batches_change_nothing_but_rounding(name: str, fill: Any) -> None:
    shown = init(200, inpainting=right_half(fill))
    sampler = spec(name, steps=4, eta=1.0)
    prompts = ["x"] * 3
    one, three = (
        pixels(redrawing(*prompts, shown=shown, sampler=sampler, batch_size=size))
        for size in (1, 3)
    )
    np.testing.assert_allclose(one, three, atol=1e-5)
    assert np.abs(one[0] - one[1])[:, 16:].mean() > 0.05


@pytest.mark.parametrize("name", ["Euler a", "DPM++ 2M SDE", "DDIM", "UniPC", "Restart", "LCM"])
def test_a_seed_gives_the_same_picture_at_any_place_of_a_batch(name: str) -> None:
    sampler = spec(name, steps=6, eta=1.0)
    turned = [(5, 6, 7), (7, 5, 6), (6, 7, 5)]
    found: dict[int, list[Any]] = {}
    for order in turned:
        together = pixels(redrawing("x", "x", "x", seeds=seeds(*order), sampler=sampler))
        for place, seed in enumerate(order):
            found.setdefault(seed, []).append(together[place])
    for same in found.values():
        for other in same[1:]:
            np.testing.assert_allclose(other, same[0], atol=1e-5)
    assert np.abs(found[5][0] - found[6][0]).mean() > 0.02


def test_prompts_are_timed_by_the_steps_asked_for_and_not_by_those_run() -> None:
    wanted = redrawing("[cat:dog:0.5]", denoising=0.5, sampler=spec(steps=8), cfg_scale=2.0)
    calls = [call[0].told.context for call in rows(wanted)]
    # five of eight calls are run: the text changes after the fourth of them, and one later
    assert len(calls) == 5
    assert all(torch.equal(each, calls[0]) for each in calls)
    wanted = redrawing("[cat:dog:0.25]", denoising=0.5, sampler=spec(steps=8), cfg_scale=2.0)
    calls = [call[0].told.context for call in rows(wanted)]
    assert [torch.equal(each, calls[0]) for each in calls] == [True] * 3 + [False] * 2


def test_a_share_of_early_calls_is_of_those_run() -> None:
    guidance = GuidanceSpec(scale=3.0, skip_early=0.5)
    wanted = redrawing("x", guidance=guidance, denoising=0.5, sampler=spec(steps=10))
    # six calls: the first four are within half of them
    assert [len(call) for call in rows(wanted)] == [1] * 4 + [2] * 2


def test_the_autoencoders_asked_for_are_used() -> None:
    methods = VaeMethods(decode="Approx NN", encode="TAESD")
    steps = recorded(redrawing("x", vae_methods=methods))
    assert [step.method for step in steps if isinstance(step, EncodeImage)] == ["TAESD"]
    assert [step.method for step in steps if isinstance(step, Decode)] == ["Approx NN"]


def test_stopped_before_its_first_step_the_picture_comes_back() -> None:
    watch = Watch(batch_count=1, steps=4)
    toy = ToyCheckpoint()
    bench = Bench(toy=toy)
    wanted = redrawing("x", shown=init(200, inpainting=right_half("nothing")))

    def answers(step: Any) -> Any:
        watch.skip()
        return bench(step)

    (image,) = finish(generation(wanted, watch), answers).images
    expected = latents_of(200).clone()
    expected[..., 2:] = 0
    np.testing.assert_allclose(image.pixels, as_picture(expected)[0], atol=1e-6)
    assert bench.asked(Predict) == []


def test_an_empty_plan_encodes_nothing() -> None:
    watch = Watch(batch_count=1, steps=4)
    watch.interrupt()
    bench = Bench(toy=ToyCheckpoint())
    assert bench.run(redrawing("x"), watch).images == []
    assert bench.steps == []


def test_shades_are_what_they_say() -> None:
    assert shades(7, 9).tolist()[1][15][31] == [9, 9, 9]
