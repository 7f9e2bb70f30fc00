"""The noise behind a picture, found by sampling backwards."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from pipelines.guidance import Guidance, Part, Timeline
from pipelines.inversion import found_noise
from pipelines.plan import GuidanceSpec, Inversion
from pipelines.schedules import schedule_sigmas
from pipelines.steps import Conditioning, Encode, Predict
from pipelines.tables import TableRule
from pipelines.watch import Watch

from .drawn import init, redrawing
from .made import Bench, as_picture, named_mean, pixels
from .toy import ToyCheckpoint, Words, answer, finish, spec

GENERATOR = torch.Generator().manual_seed(4)
LATENTS = torch.randn((2, 4, 2, 4), generator=GENERATOR) * 0.5
FRESH = torch.randn((2, 4, 2, 4), generator=GENERATOR)
HIGH = ToyCheckpoint().table.high


def inversion(**changes: Any) -> Inversion:
    own: dict[str, Any] = {
        "prompt": "a cat",
        "negative_prompt": "bad",
        "steps": 20,
        "scale": 1.0,
        "randomness": 0.0,
        "sigma_adjustment": False,
    }
    return Inversion(**{**own, **changes})


def found(
    wanted: Inversion, toy: ToyCheckpoint | None = None, watch: Watch | None = None
) -> tuple[Tensor, list[float]]:
    """The noise, and the time steps the model was asked at."""
    checkpoint, asked = toy or ToyCheckpoint(), []
    context = torch.zeros(1, 77, 3)
    timeline = Timeline((999,), (Conditioning(context),))
    guidance = Guidance(
        conds=((Part(timeline, 1.0),),) * 2, unconds=(timeline,) * 2, scale=1.0, calls=wanted.steps
    )

    def answers(step: Any) -> Any:
        assert isinstance(step, Predict)
        asked.append(step.rows[0].timestep)
        return answer(step, checkpoint)

    stepping = found_noise(
        LATENTS,
        FRESH,
        wanted,
        TableRule(),
        guidance,
        checkpoint.traits,
        watch or Watch(batch_count=1, steps=1),
    )
    return finish(stepping, answers), asked


def unit(noise: Tensor) -> Tensor:
    """What the noise is of, before the latents are taken off."""
    return noise + LATENTS / HIGH


def exact() -> Tensor:
    """Where the probability-flow ODE takes the latents at the highest sigma."""
    toy = ToyCheckpoint()
    mean = float(toy.mean(torch.zeros(1, 77, 3)))
    return mean + (LATENTS - mean) * (math.hypot(toy.spread, HIGH) / toy.spread)


@pytest.mark.parametrize("prediction", ["epsilon", "v"])
def test_the_latents_are_followed_up_to_the_highest_sigma(prediction: Any) -> None:
    wanted = inversion(steps=999, sigma_adjustment=True)
    noise, _ = found(wanted, ToyCheckpoint(prediction=prediction))
    torch.testing.assert_close(unit(noise) * HIGH, exact(), atol=0.6, rtol=0.06)


def test_more_steps_come_closer() -> None:
    errors = [
        float(
            (unit(found(inversion(steps=steps, sigma_adjustment=True))[0]) * HIGH - exact()).norm()
        )
        for steps in (50, 200, 800)
    ]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < errors[0] / 4


def test_the_noise_has_unit_size() -> None:
    noise, _ = found(inversion())
    assert float(unit(noise).std()) == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("adjusted", [False, True])
def test_a_share_of_it_can_be_fresh(adjusted: bool) -> None:
    plain = unit(found(inversion(sigma_adjustment=adjusted))[0])
    for share in (0.25, 1.0):
        noise, _ = found(inversion(sigma_adjustment=adjusted, randomness=share))
        mixed = ((1 - share) * plain + share * FRESH) / math.hypot(share, 1 - share)
        torch.testing.assert_close(unit(noise), mixed, atol=1e-5, rtol=1e-5)


def test_the_model_is_asked_at_the_sigma_that_is_gone_to_or_left() -> None:
    table = ToyCheckpoint().table
    upwards = schedule_sigmas(spec(steps=20), table)[::-1]
    timesteps = [table.timestep(sigma) for sigma in upwards[1:]]
    assert found(inversion())[1] == pytest.approx(timesteps)
    # from no noise at all there is nothing to go away from
    assert found(inversion(sigma_adjustment=True))[1] == pytest.approx(timesteps[:-1])


def test_it_is_a_pass_of_its_own() -> None:
    watch, seen = Watch(batch_count=1, steps=1), []
    toy = ToyCheckpoint(before=lambda _: seen.append(watch.progress()))
    found(inversion(steps=6), toy, watch)
    assert [now.step for now in seen] == list(range(6))
    assert {now.steps for now in seen} == {6}
    assert watch.progress().done == 1


def test_a_stop_is_heeded_before_the_next_call() -> None:
    watch = Watch(batch_count=1, steps=1)
    toy = ToyCheckpoint(before=lambda call: watch.skip() if call == 3 else None)
    _, asked = found(inversion(steps=9), toy, watch)
    assert len(asked) == 3


def test_sampling_from_it_gives_the_picture_back() -> None:
    """Found and sampled under one prompt, from the highest sigma down."""
    sampler = spec("Euler", steps=400)
    wanted = inversion(steps=400, sigma_adjustment=True, negative_prompt="")
    picture = init(90)
    picture.pixels[:, :, 16:] = 160
    plan = redrawing(
        "a cat", shown=picture, denoising=1.0, fix_steps=False, sampler=sampler, inversion=wanted
    )
    shown = torch.from_numpy(picture.pixels).permute(0, 3, 1, 2) / 127.5 - 1
    expected = as_picture(ToyCheckpoint().encode_image(shown))
    np.testing.assert_allclose(pixels(plan), expected, atol=0.05)
    fresh = redrawing("a cat", shown=picture, denoising=1.0, sampler=sampler)
    assert np.abs(pixels(fresh) - expected).mean() > 0.1


def test_another_prompt_moves_the_picture_by_the_difference_of_the_two() -> None:
    sampler = spec("Euler", steps=400)
    wanted = inversion(steps=400, sigma_adjustment=True)
    same, other = (
        pixels(redrawing(prompt, denoising=1.0, sampler=sampler, inversion=wanted)).mean()
        for prompt in ("a cat", "a hen")
    )
    moved = 0.4 * (named_mean("a hen") - named_mean("a cat"))
    assert other - same == pytest.approx(moved, rel=0.1)


def test_its_prompts_and_scale_are_its_own() -> None:
    bench = Bench(toy=ToyCheckpoint())
    guidance = GuidanceSpec(scale=5.0, skip_early=1.0)
    wanted = inversion(prompt="found", negative_prompt="lost", steps=3, scale=2.0)
    bench.run(redrawing("drawn", guidance=guidance, sampler=spec(steps=4), inversion=wanted))
    words = [step.texts[0][0].ids[1] for _, step in bench.asked(Encode)]
    assert words == [Words().id(word) for word in ("lost", "found", "bad", "drawn")]
    rows = [len(step.rows) for _, step in bench.asked(Predict)]
    # three calls of both parts, then four that skip the unconditional one
    assert rows == [2] * 3 + [1] * 4


def test_every_image_is_found_its_own_noise() -> None:
    sampler = spec("Euler", steps=6)
    wanted = inversion(steps=6, randomness=0.5, sigma_adjustment=True)
    plan = redrawing("x", "x", shown=init(200, 40), sampler=sampler, inversion=wanted)
    together = pixels(plan)
    for i, shade in enumerate((200, 40)):
        alone = redrawing(
            "x", shown=init(shade), sampler=sampler, inversion=wanted, first_seed=1 + i
        )
        np.testing.assert_allclose(together[i], pixels(alone)[0], atol=1e-5)
