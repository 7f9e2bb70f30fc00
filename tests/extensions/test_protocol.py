"""What is wanted: fields of the wire as attributes, changed without touching the original."""

import pytest

from extensions.wanted import Wanted

from .fakes import text


def test_fields_are_attributes() -> None:
    wanted = text(steps=9)
    assert (wanted.mode, wanted.steps, wanted.sampler_name) == ("txt2img", 9, "Euler")


def test_a_change_makes_another() -> None:
    wanted = text()
    other = wanted.changed(steps=5, seed=1)
    assert (other.steps, other.seed, other.prompt) == (5, 1, wanted.prompt)
    assert wanted.steps == 4


def test_what_a_request_does_not_have_is_named() -> None:
    with pytest.raises(AttributeError, match="txt2img request has no 'init_images'"):
        Wanted("txt2img", {"steps": 1}).init_images  # noqa: B018
