"""The hires fix's way from the first latents to the second pass."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from pipelines.effects import Effects
from pipelines.hires import _enlarged, second_pass
from pipelines.pictures.upscale import Upscaler
from pipelines.plan import GuidanceSpec, HiresPass, SamplerSpec, Txt2ImgPlan, VaeMethods
from pipelines.steps import Decode, Encode, EncodeImage, Offload, Predict, Step, Use
from pipelines.upscalers import LATENT_UPSCALERS, PIXEL_UPSCALERS
from pipelines.watch import Watch

from .made import Bench
from .toy import ToyCheckpoint, answer, choice, plan, spec


def hires_pass(
    upscaler: Upscaler, width: int, height: int, crop: tuple[int, int] | None = None, **more: Any
) -> HiresPass:
    return HiresPass(
        width=width,
        height=height,
        crop=crop or (width, height),
        upscaler=upscaler,
        **{
            "denoising": 0.5,
            "steps": 4,
            "sampler": SamplerSpec(name="Euler", schedule="automatic", steps=4),
            "prompts": ("a",),
            "negative_prompts": ("",),
            "model": choice(),
            **more,
        },
    )


RAMP = torch.arange(8.0).reshape(1, 1, 1, 8).expand(1, 4, 8, 8)


@pytest.mark.parametrize("upscaler", LATENT_UPSCALERS)
def test_latents_are_interpolated(upscaler: str) -> None:
    enlarged = _enlarged(RAMP, hires_pass(upscaler, 128, 96))
    assert enlarged.shape == (1, 4, 12, 16)
    row = enlarged[0, 0, 0]
    assert bool((row.diff() >= -1e-3).all())
    blocks = torch.arange(8.0).repeat_interleave(2)
    assert torch.equal(row, blocks) == upscaler.startswith("Latent (nearest")


def test_what_is_too_much_on_one_side_is_cut_from_its_middle() -> None:
    whole = _enlarged(RAMP, hires_pass("Latent (nearest)", 128, 128))
    cut = _enlarged(RAMP, hires_pass("Latent (nearest)", 128, 128, crop=(72, 128)))
    assert cut.shape == (1, 4, 16, 9)
    assert torch.equal(cut, whole[:, :, :, 3:12])
    flat = _enlarged(RAMP, hires_pass("Latent (nearest)", 128, 128, crop=(128, 64)))
    assert torch.equal(flat, whole[:, :, 4:12])


def steps_of(wanted: HiresPass, latents: Tensor, pixels: Any, **more: Any) -> list[Step]:
    """The steps of a second pass over `latents`, which decode to `pixels`."""
    whole: Txt2ImgPlan = plan("a", hires=wanted, **more)
    (batch,) = whole.batches()
    watch, asked, toy = Watch(batch_count=1, steps=4), [], ToyCheckpoint()
    stepping = second_pass(latents, batch, whole, wanted, watch, Effects())
    try:
        step = next(stepping)
        while True:
            asked.append(step)
            step = stepping.send(pixels if isinstance(step, Decode) else answer(step, toy))
    except StopIteration:
        return asked


@pytest.mark.parametrize("upscaler", PIXEL_UPSCALERS)
def test_pixels_are_decoded_enlarged_and_encoded(upscaler: str) -> None:
    checks = np.zeros((1, 64, 64, 3), np.uint8)
    checks[:, :, 32:] = 200
    asked, away, used, encode, *_ = steps_of(hires_pass(upscaler, 96, 64), RAMP, checks)
    assert isinstance(asked, Decode)
    assert asked.latents is RAMP
    assert isinstance(away, Offload)
    assert isinstance(used, Use)
    assert isinstance(encode, EncodeImage)
    # in [-1, 1], where bytes are 0 to 255
    assert encode.pixels.shape == (1, 3, 64, 96)
    assert encode.pixels[0, 0, 32, 20].item() == -1.0
    assert encode.pixels[0, 0, 32, 75].item() == pytest.approx(200 / 127.5 - 1)


def test_nearest_keeps_its_edges() -> None:
    checks = np.zeros((1, 8, 8, 3), np.uint8)
    checks[:, :, 4:] = 200
    pictures = {}
    for upscaler in ("Nearest", "Lanczos"):
        asked = steps_of(hires_pass(upscaler, 16, 16), RAMP[:, :, :1, :1], checks)
        (encode,) = [step for step in asked if isinstance(step, EncodeImage)]
        shades = ((encode.pixels + 1) * 127.5).round().flatten().tolist()
        pictures[upscaler] = {int(shade) for shade in shades}
    assert pictures["Nearest"] == {0, 200}
    assert len(pictures["Lanczos"]) > 2


def test_the_autoencoders_asked_for_enlarge_the_picture() -> None:
    checks = np.zeros((1, 64, 64, 3), np.uint8)
    methods = VaeMethods(decode="TAESD", encode="Approx NN")
    asked = steps_of(hires_pass("Lanczos", 96, 64), RAMP, checks, vae_methods=methods)
    assert [step.method for step in asked if isinstance(step, Decode | EncodeImage)] == [
        "TAESD",
        "Approx NN",
    ]


def test_without_denoising_the_picture_is_only_enlarged() -> None:
    asked = steps_of(hires_pass("Latent", 128, 96, denoising=0.0), RAMP, None)
    assert [type(step) for step in asked] == [Use]


def bench(wanted: Txt2ImgPlan, **checkpoints: ToyCheckpoint) -> Bench:
    made = Bench(**(checkpoints or {"toy": ToyCheckpoint()}))
    made.run(wanted)
    return made


def test_the_second_pass_runs_the_end_of_a_schedule_that_gives_its_share() -> None:
    wanted = plan(
        "x", sampler=spec(steps=4), hires=hires_pass("Latent", 64, 32, denoising=0.4, steps=6)
    )
    calls = [step.rows[0] for _, step in bench(wanted).asked(Predict)]
    assert len(calls) == 4 + 6
    assert [row.x.shape[2:] for row in calls] == [(2, 4)] * 4 + [(4, 8)] * 6
    # six steps of fifteen, on the model's own sigmas: from 999 down in steps of 71.36
    evenly = [999 - 999 / 14 * i for i in range(9, 15)]
    assert [row.timestep for row in calls[4:]] == pytest.approx(evenly, abs=0.01)


def test_it_can_run_on_another_checkpoint_with_networks_of_its_own() -> None:
    styles = tuple(choice("other", name).networks for name in ("a", "b"))
    wanted = plan(
        "x",
        "y",
        batch_size=1,
        networks=tuple(choice("toy", name).networks for name in ("c", "d")),
        hires=hires_pass(
            "Latent",
            64,
            32,
            prompts=("cat", "dog"),
            negative_prompts=("n", "m"),
            model=choice("other"),
            networks=styles,
        ),
    )
    toy, other = ToyCheckpoint(), ToyCheckpoint(bias=0.5)
    ran = bench(wanted, toy=toy, other=other)
    assert ran.used == ["toy+c", "other+a", "toy+d", "other+b"]
    assert len(toy.calls) == len(other.calls) == 2 * 4 * 2
    assert {call.size for call in toy.calls} == {(4, 2, 4)}
    assert {call.size for call in other.calls} == {(4, 4, 8)}
    # the second pass's prompts are read by its own encoder, and it finishes the picture
    assert [used for used, _ in ran.asked(Encode)] == ["toy+c"] * 2 + ["other+a"] * 2 + [
        "toy+d"
    ] * 2 + ["other+b"] * 2
    words = [ids[1] for ids, _ in other.encoded]
    tokens = other.tokenizer
    assert words == [tokens.id(word) for word in ("n", "cat", "m", "dog")]
    assert (len(toy.decoded), len(other.decoded)) == (0, 2)


def test_the_checkpoint_changes_between_decoding_and_encoding() -> None:
    class Bytes(ToyCheckpoint):
        def decode(self, latents: Tensor) -> Tensor:
            return (super().decode(latents).clamp(-1, 1) * 127.5 + 127.5).to(torch.uint8)

    wanted = plan("x", hires=hires_pass("Lanczos", 64, 32, model=choice("other")))
    ran = bench(wanted, toy=Bytes(), other=Bytes())
    assert [used for used, _ in ran.asked(Decode)] == ["toy", "other"]
    assert [used for used, _ in ran.asked(EncodeImage)] == ["other"]


def test_extra_noise_is_the_second_pass_s() -> None:
    def first_row(extra: float, call: int) -> Tensor:
        wanted = plan("x", hires=hires_pass("Latent", 64, 32), extra_noise=extra)
        return bench(wanted).asked(Predict)[call][1].rows[0].x  # type: ignore[no-any-return]

    assert torch.equal(first_row(0.5, 0), first_row(0.0, 0))
    difference = first_row(0.5, 4) - first_row(0.0, 4)
    plain = first_row(0.25, 4) - first_row(0.0, 4)
    assert float(difference.abs().mean()) > 0.01
    torch.testing.assert_close(difference, 2 * plain, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("weight", [1.0, 0.4])
def test_an_inpainting_model_is_shown_nothing_or_the_first_picture(weight: float) -> None:
    class Bytes(ToyCheckpoint):
        def decode(self, latents: Tensor) -> Tensor:
            return (super().decode(latents).clamp(-1, 1) * 127.5 + 127.5).to(torch.uint8)

    toy = Bytes(in_channels=9)
    guided = GuidanceSpec(scale=2.0, mask_weight=weight)
    ran = bench(plan("x", guidance=guided, hires=hires_pass("Latent", 64, 32)), toy=toy)
    calls = [step.rows[0].x for _, step in ran.asked(Predict)]
    assert [x.shape for x in calls[:4]] == [(1, 9, 2, 4)] * 4
    assert [x.shape for x in calls[4:]] == [(1, 9, 4, 8)] * 4
    for x in calls:
        assert torch.equal(x[:, 4], torch.ones_like(x[:, 4]))
    assert torch.equal(calls[0][:, 5:], torch.zeros(1, 4, 2, 4))
    seen = calls[4][:, 5:]
    assert bool(seen.abs().sum() == 0) == (weight == 1.0)
    if weight < 1:
        # the first pass's picture, as much of it as the mask leaves
        (enlarged, _) = toy.decoded[-2:]
        assert seen.shape[2:] == enlarged.shape[2:]
        shown = toy.pictures[-1]
        assert float(shown.abs().max()) <= 1 - weight + 1e-6
