"""img2img alternative test: what it overrides, and the noise it asks for."""

import pytest

from extensions.protocol import BadScriptArgs
from extensions.scripts.img2img_alternative import EXTENSION
from extensions.wanted import Inversion

from ..fakes import FakeHost, image


def test_it_draws_from_found_noise() -> None:
    host = FakeHost()
    wanted = image(sampler_name="DPM++ 2M", negative_prompt="bad")
    host.run(EXTENSION, wanted, None, True, True, "a dog", "", True, 6, True, 1.5, 0.25, True)
    (asked,) = host.wanted
    assert asked.inversion == Inversion(
        prompt="a dog",
        negative_prompt="",
        steps=6,
        cfg_scale=1.5,
        randomness=0.25,
        sigma_adjustment=True,
    )
    assert (asked.sampler_name, asked.prompt, asked.negative_prompt) == ("Euler", "a dog", "")
    assert (asked.steps, asked.denoising_strength) == (6, 1.0)
    assert host.extra[0] == {
        "Decode prompt": "a dog",
        "Decode negative prompt": "",
        "Decode CFG scale": 1.5,
        "Decode steps": 6,
        "Randomness": 0.25,
        "Sigma Adjustment": True,
    }


def test_nothing_is_overridden_that_is_not_asked_for() -> None:
    host = FakeHost()
    names = ("sampler", "prompt", "steps", "strength")
    host.run(EXTENSION, image(sampler_name="Euler a"), **{f"override_{n}": False for n in names})
    (asked,) = host.wanted
    assert (asked.sampler_name, asked.prompt) == ("Euler a", "a cat")
    assert (asked.steps, asked.denoising_strength) == (4, 0.5)
    assert asked.inversion.steps == 50


@pytest.mark.parametrize(
    ("named", "said"),
    [
        ({"st": 10**9}, "st 1000000000: allowed are 1 to 1000"),
        ({"randomness": 1.5}, "randomness 1.5: allowed are 0 to 1"),
        ({"cfg": 1e30}, r"cfg 1e\+30"),
    ],
)
def test_bad_arguments_are_named(named: dict[str, object], said: str) -> None:
    with pytest.raises(BadScriptArgs, match=said):
        FakeHost().run(EXTENSION, image(), **named)
