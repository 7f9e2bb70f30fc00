"""Whole generations of SDXL and SD2 against loops by hand over diffusers' scheduler.

The loops encode with transformers' own forwards and pass diffusers' own arguments; they share with
the code under test the loaded modules alone, which tests/models/families compares one by one.
"""

from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import pytest
import torch
from diffusers import EulerDiscreteScheduler
from torch import Tensor
from transformers import CLIPTextModelWithProjection

from models.families import Checkpoint
from pipelines.generate import generation
from pipelines.plan import Encoding, GuidanceSpec, Refining
from pipelines.steps import Step, Use

from ..models.families.tiny_xl import write_tiny
from ..models.families.variants import load_path
from .made import watching
from .toy import answer, choice, finish, plan, seeds, spec

# diffusers' scheduler converts tensors in a way that numpy will not take for ever
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

#: with four steps the time steps are whole numbers, where both ways of interpolating agree
STEPS = 4
WIDTH, HEIGHT = 64, 48
PROMPT = "a red circle, blue"
START, END = 49406, 49407


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Loads a kind of tiny checkpoint, once."""

    @cache
    def load(kind: str, seed: int = 0) -> Checkpoint:
        folder = tmp_path_factory.mktemp(kind)
        path = write_tiny(folder / f"{kind}.safetensors", kind, seed=seed, dtype=torch.float32)
        return load_path(path)

    return load


class Carried:
    """Carries out a plan by real checkpoints, without an engine; keeps the latents decoded."""

    def __init__(self, **checkpoints: Checkpoint) -> None:
        self.checkpoints = checkpoints
        self.used = ""
        self.pixels = torch.empty(0)

    def __call__(self, step: Step) -> Any:
        if isinstance(step, Use):
            self.used = step.choice.checkpoint.name
            return self.checkpoints[self.used].traits
        found: Any = answer(step, self.checkpoints[self.used])
        return found

    @torch.inference_mode()
    def run(self, prompt: str, negative: str, **more: Any) -> Tensor:
        """The picture [H,W,3], not yet bytes."""
        settings: dict[str, Any] = {
            "negative": negative,
            "sampler": spec("Euler", steps=STEPS),
            "seeds": seeds(5),
            "width": WIDTH,
            "height": HEIGHT,
            "guidance": GuidanceSpec(scale=4.0),
        }
        wanted = plan(prompt, checkpoint=next(iter(self.checkpoints)), **settings | more)
        (image,) = finish(generation(wanted, watching(wanted)), self).images
        return torch.from_numpy(image.pixels)


@dataclass(frozen=True, kw_only=True)
class Hand:
    """One model's conditioning, as its authors' code passes it to diffusers' UNet."""

    checkpoint: Checkpoint
    negative_zeros: bool = False
    crop: tuple[int, int] = (0, 0)
    scores: tuple[float, float] = (2.5, 6.0)

    def told(self, text: str, *, negative: bool) -> dict[str, Any]:
        """Keyword arguments of the UNet for a text."""
        words = self.checkpoint.traits.tokenizer.encode(text)
        states, pooled = [], None
        for encoder in self.checkpoint.encoders:
            pad = 0 if self._open(encoder.module) else END
            ids = torch.tensor([[START, *words, END, *[pad] * (75 - len(words))]])
            output = encoder.module(input_ids=ids, output_hidden_states=True)
            if self.checkpoint.traits.sizes is None:  # SD2: its last layer is not loaded at all
                states.append(output.last_hidden_state)
            else:
                states.append(output.hidden_states[-2])
            if isinstance(encoder.module, CLIPTextModelWithProjection):
                pooled = output.text_embeds
        context = torch.cat(states, dim=-1)
        zeros = negative and self.negative_zeros and not text
        if self.checkpoint.traits.sizes is None:
            return {"encoder_hidden_states": context}
        assert pooled is not None
        last = [self.scores[0 if negative else 1]]
        if self.checkpoint.traits.sizes == "sizes":
            last = [float(HEIGHT), float(WIDTH)]
        numbers = torch.tensor([[HEIGHT, WIDTH, *self.crop, *last]])
        added = {"text_embeds": pooled * (0 if zeros else 1), "time_ids": numbers}
        return {"encoder_hidden_states": context * (not zeros), "added_cond_kwargs": added}

    def _open(self, module: Any) -> bool:
        return bool(module.config.hidden_act == "gelu")


@torch.inference_mode()
def by_hand(
    hands: list[Hand],
    prompt: str,
    negative: str,
    *,
    scale: float = 4.0,
    shown: Tensor | None = None,
) -> Tensor:
    """Euler over `hands`, one for each step; the picture of the first one's VAE."""
    traits = hands[0].checkpoint.traits
    scheduler = EulerDiscreteScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type="epsilon" if traits.prediction == "epsilon" else "v_prediction",
        timestep_spacing="linspace",
    )
    scheduler.set_timesteps(STEPS)
    noise = torch.randn((1, 4, HEIGHT // 8, WIDTH // 8), generator=torch.Generator().manual_seed(5))
    x = noise * scheduler.init_noise_sigma
    for hand, t in zip(hands, scheduler.timesteps, strict=True):
        seen = scheduler.scale_model_input(x, t)
        if shown is not None:
            seen = torch.cat([seen, shown], dim=1)
        unet = hand.checkpoint.unet
        cond, uncond = (
            unet(seen, t, **hand.told(text, negative=which), return_dict=False)[0]
            for text, which in ((prompt, False), (negative, True))
        )
        x = scheduler.step(uncond + scale * (cond - uncond), t, x, return_dict=False)[0]
    vae = hands[0].checkpoint.vae
    pixels: Tensor = vae.decode(x / traits.latent_scale, return_dict=False)[0]
    return pixels[0].permute(1, 2, 0)


def close(found: Tensor, expected: Tensor) -> None:
    """Equal to rounding, and no picture of nothing."""
    assert expected.std() > 0.05
    torch.testing.assert_close(found, expected, atol=2e-3, rtol=1e-3)


@pytest.mark.parametrize("negative", ["", "blurry"])
@pytest.mark.parametrize("kind", ["sdxl", "sdxl-v", "ssd-1b"])
def test_sdxl(tiny: Any, kind: str, negative: str) -> None:
    model = tiny(kind)
    found = Carried(base=model).run(PROMPT, negative)
    hand = Hand(checkpoint=model, negative_zeros=True)
    close(found, by_hand([hand] * STEPS, PROMPT, negative))


def test_sdxl_s_crop_is_told(tiny: Any) -> None:
    model = tiny("sdxl")
    found = Carried(base=model).run(PROMPT, "", encoding=Encoding(crop=(16, 200)))
    hand = Hand(checkpoint=model, negative_zeros=True, crop=(16, 200))
    close(found, by_hand([hand] * STEPS, PROMPT, ""))
    assert not torch.allclose(found, Carried(base=model).run(PROMPT, ""), atol=2e-3)


def test_the_refiner_takes_over(tiny: Any) -> None:
    base, refiner = tiny("sdxl"), tiny("refiner")
    encoding = Encoding(scores=(1.0, 9.0))
    refining = Refining(model=choice("refiner"), at=0.5, by_steps=True)
    carried = Carried(base=base, refiner=refiner)
    found = carried.run(PROMPT, "", encoding=encoding, refiner=refining)
    first = Hand(checkpoint=base, negative_zeros=True)
    second = Hand(checkpoint=refiner, negative_zeros=True, scores=(1.0, 9.0))
    # the last model in use decodes, as in the reference
    expected = by_hand([first, first, second, second], PROMPT, "")
    swapped = replace(first, checkpoint=replace(base, vae=refiner.vae))
    last = by_hand([swapped, swapped, second, second], PROMPT, "")
    assert not torch.allclose(expected, last, atol=2e-3)
    close(found, last)


def test_an_sdxl_inpainting_model_is_shown_that_all_is_to_be_painted(tiny: Any) -> None:
    model = tiny("sdxl-inpainting")
    grey = torch.zeros(1, 3, HEIGHT, WIDTH)
    with torch.inference_mode():
        latents = model.vae.encode(grey).latent_dist.mean * model.traits.latent_scale
    shown = torch.cat([torch.ones(1, 1, HEIGHT // 8, WIDTH // 8), latents], dim=1)
    hand = Hand(checkpoint=model, negative_zeros=True)
    found = Carried(base=model).run(PROMPT, "blurry")
    close(found, by_hand([hand] * STEPS, PROMPT, "blurry", shown=shown))


@pytest.mark.parametrize("prediction", ["epsilon", "v"])
@pytest.mark.parametrize("negative", ["", "blurry"])
def test_sd2(tiny: Any, prediction: Any, negative: str) -> None:
    loaded = tiny("sd2")
    model = replace(loaded, traits=replace(loaded.traits, prediction=prediction))
    found = Carried(base=model).run(PROMPT, negative)
    close(found, by_hand([Hand(checkpoint=model)] * STEPS, PROMPT, negative))
