"""Guidance by what a model is shown beside the latents: inpainting's and instructions' channels."""

import math
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from pipelines.denoiser import Denoiser
from pipelines.effects import Effects
from pipelines.guidance import Guidance, Mixer, Part, Timeline
from pipelines.steps import Conditioning, Denoise, DenoiseApart, Predict

from .toy import finish, sd1_table

DENOISER = Denoiser(table=sd1_table(), prediction="epsilon")
SIGMA = 0.5
#: images of two kinds
X = torch.linspace(-3, 3, 32).reshape(2, 4, 2, 2)
SHOWN = torch.stack([torch.full((4, 2, 2), 10.0), torch.full((4, 2, 2), 30.0)])


def saying(number: float) -> Timeline:
    return Timeline((99,), (Conditioning(torch.full((1, 77, 3), number)),))


def by_context(step: Any) -> tuple[Tensor, ...]:
    """A model whose noise is its context's number and the mean of what it is shown."""
    return tuple(
        row.x[:, :4] * 0
        + row.told.context[:, 0, 0].view(-1, 1, 1, 1)
        + row.x[:, 4:].mean((1, 2, 3), keepdim=True)
        for row in step.rows
    )


def mixed(
    images: Sequence[Sequence[tuple[float, float]]] = (((2.0, 1.0),), ((3.0, 1.0),)),
    *,
    scale: float = 4.0,
    shown: Tensor = SHOWN,
    step: Denoise | DenoiseApart | None = None,
    call: int = 1,
    **more: Any,
) -> tuple[Tensor, Tensor, Predict]:
    """The guided and the unconditional latents of one call, and the rows it asked for."""
    guidance = Guidance(
        conds=tuple(tuple(Part(saying(n), w) for n, w in image) for image in images),
        unconds=tuple(saying(-1.0) for _ in images),
        scale=scale,
        shown=shown,
        **{"calls": 10, **more},
    )
    asked: list[Predict] = []

    def answers(wanted: Any) -> tuple[Tensor, ...]:
        asked.append(wanted)
        return by_context(wanted)

    mixer = Mixer(guidance, DENOISER, torch.device("cpu"))
    wish = step or Denoise(X[: len(images)], SIGMA)
    found = finish(mixer.mix(wish, call, Effects()), answers)
    return found.denoised, found.uncond, asked[0]


def test_what_is_shown_stands_behind_the_scaled_latents_unscaled() -> None:
    _, _, step = mixed()
    for row in step.rows:
        assert row.x.shape == (2, 8, 2, 2)
        torch.testing.assert_close(row.x[:, :4], X / math.hypot(1, SIGMA))
        assert torch.equal(row.x[:, 4:], SHOWN)


def test_one_thing_can_be_shown_to_all_images() -> None:
    _, _, step = mixed(shown=SHOWN[:1])
    for row in step.rows:
        assert torch.equal(row.x[:, 4:], SHOWN[:1].expand(2, -1, -1, -1))


def test_every_part_of_an_image_is_shown_its_own() -> None:
    _, _, step = mixed([[(2.0, 1.0), (4.0, 0.5)], [(3.0, 1.0)]])
    cond, uncond = step.rows
    assert cond.x[:, 4:].mean((1, 2, 3)).tolist() == [10.0, 10.0, 30.0]
    assert uncond.x[:, 4:].mean((1, 2, 3)).tolist() == [10.0, 30.0]


def expected(image: int, scale: float, image_scale: float) -> Tensor:
    """Equation 3 of https://arxiv.org/abs/2211.09800, written out for `mixed`'s numbers."""
    x, prompt, picture = X[image], (2.0, 3.0)[image], (10.0, 30.0)[image]
    neither, only_picture, both = (
        x - SIGMA * noise for noise in (-1.0, -1.0 + picture, prompt + picture)
    )
    return neither + image_scale * (only_picture - neither) + scale * (both - only_picture)


@pytest.mark.parametrize(("scale", "image_scale"), [(7.5, 1.5), (1.0, 2.0), (4.0, 0.0), (0.0, 3.0)])
def test_instructions_and_picture_guide_apart(scale: float, image_scale: float) -> None:
    found, base, step = mixed(scale=scale, image_scale=image_scale)
    cond, uncond, blind = step.rows
    assert torch.equal(cond.x, uncond.x)
    assert torch.equal(blind.x[:, :4], uncond.x[:, :4])
    assert torch.equal(blind.x[:, 4:], torch.zeros_like(SHOWN))
    assert torch.equal(blind.told.context, uncond.told.context)
    for image in range(2):
        torch.testing.assert_close(found[image], expected(image, scale, image_scale))
    torch.testing.assert_close(base[0], X[0] - SIGMA * 9.0)


def test_without_an_image_scale_the_picture_guides_as_the_prompts_do() -> None:
    found, _, step = mixed(scale=5.0)
    assert len(step.rows) == 2
    torch.testing.assert_close(found[1], expected(1, 5.0, 1.0))


@pytest.mark.parametrize(
    "more",
    [
        {"scale": 1.0},
        {"s_min_uncond": 9.0, "s_min_uncond_all": True},
        {"skip_early": 0.5},
    ],
    ids=["scale 1", "small sigma", "early"],
)
def test_nothing_is_left_out_where_the_picture_guides_by_itself(more: dict[str, Any]) -> None:
    found, _, step = mixed(image_scale=1.5, **more)
    assert len(step.rows) == 3
    torch.testing.assert_close(found[0], expected(0, more.get("scale", 4.0), 1.5))


def test_apart_the_picture_guides_as_well() -> None:
    wish = DenoiseApart(X, SIGMA, 0.5)
    found, base, step = mixed(scale=6.0, image_scale=1.5, step=wish)
    assert len(step.rows) == 3
    torch.testing.assert_close(found[1], expected(1, 3.0, 1.5))
    torch.testing.assert_close(base[1], X[1] - SIGMA * 29.0)


def test_the_parts_of_a_composition_guide_beside_the_picture() -> None:
    parts = [(2.0, 1.0), (5.0, -0.5)]
    found, base, _ = mixed([parts], image_scale=2.0, shown=SHOWN[:1])
    seeing, neither = X[0] - SIGMA * 9.0, X[0] + SIGMA
    wanted = seeing + sum(4.0 * w * ((X[0] - SIGMA * (n + 10)) - seeing) for n, w in parts)
    torch.testing.assert_close(found[0], wanted + seeing - neither)
    torch.testing.assert_close(base[0], seeing)
