"""What is kept of a picture that is repainted in part."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from pipelines.blend import Blend
from pipelines.denoiser import Denoiser
from pipelines.effects import Effects
from pipelines.guidance import Guidance, Part, Timeline, blended
from pipelines.guided import Course, Lead, guided
from pipelines.pictures.soft import SoftInpainting
from pipelines.plan import SamplerSpec
from pipelines.sample import Pass, sample
from pipelines.samplers import SAMPLERS
from pipelines.steps import Conditioning, Denoise, DenoiseApart, Predict, Step, Stepping
from pipelines.watch import Watch

from .toy import ToyCheckpoint, answer, finish, seeds, spec

GENERATOR = torch.Generator().manual_seed(3)
INIT = torch.randn((1, 4, 4, 4), generator=GENERATOR)
LATENTS = torch.randn((1, 4, 4, 4), generator=GENERATOR) * 2
#: left half kept, and one column of neither
MASK = torch.tensor([0.0, 0.0, 0.25, 1.0]).expand(1, 1, 4, 4)
KEPT, MIXED, NEW = slice(0, 2), 2, 3


def test_the_mask_says_how_much_is_new() -> None:
    found = Blend(init=INIT, mask=MASK).at(LATENTS, 3.0)
    assert torch.equal(found[..., KEPT], INIT[..., KEPT])
    assert torch.equal(found[..., NEW], LATENTS[..., NEW])
    torch.testing.assert_close(found[..., MIXED], 0.25 * LATENTS[..., MIXED] + 0.75 * INIT[..., 2])


def test_the_kept_part_is_brought_to_the_latents_scale() -> None:
    found = Blend(init=INIT, mask=MASK).at(LATENTS, 3.0, scale=5.0)
    assert torch.equal(found[..., KEPT], 5 * INIT[..., KEPT])
    assert torch.equal(found[..., NEW], LATENTS[..., NEW])


def test_a_pass_ends_with_the_kept_part_unless_the_pictures_are_blended() -> None:
    hard, soft = Blend(init=INIT, mask=MASK), Blend(init=INIT, mask=MASK, soft=SoftInpainting())
    assert torch.equal(hard.result(LATENTS), hard.at(LATENTS, 1.0))
    assert torch.equal(soft.result(LATENTS), LATENTS)


def softly(mask: float, sigma: float, **numbers: float) -> tuple[Tensor, Any]:
    """A soft blend under one grey, and the same by hand, one place after another."""
    soft = SoftInpainting(**numbers)
    found = Blend(init=INIT, mask=torch.full((1, 1, 4, 4), mask), soft=soft).at(LATENTS, sigma)
    share = mask ** (sigma**soft.schedule_bias * soft.preservation_strength)
    old, new = (x[0].double().numpy().reshape(4, 16) for x in (INIT, LATENTS))
    expected = np.empty((4, 16))
    for place in range(16):
        a, b = old[:, place], new[:, place]
        direction = a * (1 - share) + b * share
        power = soft.contrast_boost
        lengths = np.linalg.norm(a) ** power * (1 - share) + np.linalg.norm(b) ** power * share
        unit = direction / (np.linalg.norm(direction) + 1e-5)
        expected[:, place] = unit * lengths ** (1 / power)
    return found, expected.reshape(1, 4, 4, 4)


@pytest.mark.parametrize("mask", [0.0, 0.1, 0.5, 0.9, 1.0])
@pytest.mark.parametrize(
    "numbers",
    [
        {},
        {"schedule_bias": 0.0, "preservation_strength": 1.0},
        {"schedule_bias": 2.0, "preservation_strength": 0.25, "contrast_boost": 1.0},
        {"contrast_boost": 8.0},
    ],
)
def test_a_soft_blend_mixes_directions_and_lengths_apart(
    mask: float, numbers: dict[str, float]
) -> None:
    for sigma in (0.1, 1.0, 14.6):
        found, expected = softly(mask, sigma, **numbers)
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-4, atol=1e-5)


def test_a_soft_blend_keeps_and_repaints_at_the_mask_s_ends() -> None:
    torch.testing.assert_close(softly(0.0, 2.0)[0], INIT, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(softly(1.0, 2.0)[0], LATENTS, atol=1e-4, rtol=1e-4)


def test_much_noise_preserves_and_little_repaints() -> None:
    kept = [float((softly(0.5, sigma)[0] - INIT).norm()) for sigma in (14.0, 4.0, 1.0, 0.1)]
    assert kept == sorted(kept)
    assert kept[0] < kept[-1] / 5
    torch.testing.assert_close(softly(0.5, 1e-6)[0], LATENTS, atol=1e-3, rtol=1e-3)


def test_a_preservation_of_nothing_repaints_all() -> None:
    found = softly(0.0, 2.0, preservation_strength=0.0)[0]
    torch.testing.assert_close(found, LATENTS, atol=1e-4, rtol=1e-4)


def test_vanished_latents_do_not_divide_by_nothing() -> None:
    nothing = torch.zeros(1, 4, 4, 4)
    found = Blend(init=nothing, mask=MASK, soft=SoftInpainting()).at(nothing, 1.0)
    assert torch.equal(found, nothing)


@pytest.mark.parametrize("kind", [Denoise(LATENTS, 2.0), DenoiseApart(LATENTS, 2.0, 0.5)])
def test_blended_before_the_model_sees_the_kept_part_in_its_scale(
    kind: Denoise | DenoiseApart,
) -> None:
    blend = Blend(init=INIT, mask=MASK)
    seen, change = blended(kind, blend, kind.sigma, before=True)
    assert type(seen) is type(kind)
    assert seen.sigma == 2.0
    torch.testing.assert_close(seen.x[..., KEPT], INIT[..., KEPT] * math.sqrt(5))
    assert torch.equal(seen.x[..., NEW], LATENTS[..., NEW])
    assert change is not None
    torch.testing.assert_close(seen.x + change, LATENTS)


def test_nothing_is_blended_before_otherwise() -> None:
    step = Denoise(LATENTS, 2.0)
    assert blended(step, None, step.sigma, before=True) == (step, None)
    assert blended(step, Blend(init=INIT, mask=MASK), step.sigma, before=False) == (step, None)


def answered(sigma: float, *, before: bool, blend: Blend) -> tuple[Tensor, Tensor, Watch]:
    """A sampler's answer, and the model's noise and input behind it, without guidance."""
    toy, watch = ToyCheckpoint(), Watch(batch_count=1, steps=1)
    context = torch.zeros(1, 77, 3)
    timeline = Timeline((9,), (Conditioning(context),))
    guidance = Guidance(conds=((Part(timeline, 1.0),),), unconds=(timeline,), scale=1.0, calls=1)

    def guide(traits: Any) -> Stepping[Guidance]:
        yield from ()
        return guidance

    def sampling() -> Any:
        return (yield Denoise(LATENTS, sigma))

    from_traits = denoiser_of(toy)
    course = Course(
        lead=Lead(guide=guide),
        denoiser=lambda traits: from_traits,
        order=1,
        blend=blend,
        on_timesteps=before,
    )
    noises: list[Tensor] = []

    def answers(step: Step) -> Any:
        assert isinstance(step, Predict)
        noises.extend([*answer(step, toy), step.rows[0].x])
        return noises[:1]

    found = finish(guided(sampling(), course, toy.traits, watch, Effects()), answers)
    return found, noises[0], watch


def denoiser_of(toy: ToyCheckpoint) -> Any:
    return Denoiser(table=toy.table, prediction=toy.prediction)


def test_the_answer_of_a_sampler_on_sigmas_is_blended() -> None:
    found, noise, watch = answered(2.0, before=False, blend=Blend(init=INIT, mask=MASK))
    assert torch.equal(found[..., KEPT], INIT[..., KEPT])
    torch.testing.assert_close(found[..., NEW], (LATENTS - 2 * noise)[..., NEW])
    assert torch.equal(watch.denoised, found)


def test_on_time_steps_the_answer_carries_the_noise_that_the_model_saw() -> None:
    found, noise, watch = answered(2.0, before=True, blend=Blend(init=INIT, mask=MASK))
    # the sampler reads the noise from its own latents and the answer
    torch.testing.assert_close((LATENTS - found) / 2.0, noise, atol=1e-5, rtol=1e-5)
    assert torch.equal(watch.denoised, found)
    # and nothing but what the model saw was blended: the answer is not
    assert not torch.allclose(found[..., KEPT], INIT[..., KEPT], atol=0.1)


def test_a_soft_blend_goes_by_each_call_s_noise_level() -> None:
    blend = Blend(init=INIT, mask=MASK, soft=SoftInpainting())
    for sigma in (0.2, 5.0):
        found, noise, _ = answered(sigma, before=False, blend=blend)
        torch.testing.assert_close(found, blend.at(LATENTS - sigma * noise, sigma))


def sampled(chosen: SamplerSpec, blend: Blend | None, last: int = 6) -> Tensor:
    """A pass over `INIT` from the middle of its schedule."""
    toy = ToyCheckpoint()
    context = toy.encode_tokens(torch.full((1, 77), 5), 1)
    timeline = Timeline((999,), (Conditioning(context),))

    def guide(traits: Any) -> Stepping[Guidance]:
        yield from ()
        return Guidance(conds=((Part(timeline, 1.0),),), unconds=(timeline,), scale=1.0, calls=last)

    wanted = Pass(
        spec=chosen,
        seeds=seeds(1),
        width=32,
        height=32,
        latents=INIT,
        last_steps=last,
        blend=blend,
    )
    watch = Watch(batch_count=1, steps=1)
    stepping = sample(wanted, Lead(guide=guide), toy.traits, watch, Effects())
    found: Tensor = finish(stepping, lambda step: answer(step, toy))
    return found


@pytest.mark.parametrize("sampler", SAMPLERS, ids=lambda sampler: sampler.name)
def test_every_sampler_keeps_what_is_not_repainted_exactly(sampler: Any) -> None:
    chosen = spec(sampler.name, steps=9, schedule=sampler.default_schedule or "automatic", eta=1.0)
    found = sampled(chosen, Blend(init=INIT, mask=MASK))
    assert torch.equal(found[..., KEPT], INIT[..., KEPT])
    assert float((found - INIT)[..., NEW].abs().mean()) > 0.3


def test_the_rest_is_drawn_as_without_a_mask() -> None:
    """The toy's places know nothing of one another."""
    whole = sampled(spec("Euler", steps=9), None)
    found = sampled(spec("Euler", steps=9), Blend(init=INIT, mask=MASK))
    torch.testing.assert_close(found[..., NEW], whole[..., NEW])


def test_soft_inpainting_leaves_traces_everywhere() -> None:
    soft = Blend(init=INIT, mask=MASK, soft=SoftInpainting())
    found = sampled(spec("Euler", steps=9), soft)
    whole = sampled(spec("Euler", steps=9), None)
    torch.testing.assert_close(found[..., NEW], whole[..., NEW], atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(found[..., KEPT], INIT[..., KEPT], atol=1e-3, rtol=1e-3)
    hard = sampled(spec("Euler", steps=9), Blend(init=INIT, mask=MASK))
    assert float((found - hard)[..., MIXED].abs().mean()) > 0.1
