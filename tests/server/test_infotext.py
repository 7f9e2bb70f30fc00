"""Generation parameters, written and read, against recordings of the reference."""

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server import infotext

from .wire import recorded


@pytest.mark.parametrize(
    "name",
    [
        "pnginfo_hires__hr_prompt.0.png",
        "pnginfo_prompt__newline.0.png",
        "pnginfo_ti__safetensors.0.png",
        "pnginfo_sampler__euler.0.png",
        "err_pnginfo_no_meta",
    ],
)
def test_parses_as_the_reference(name: str) -> None:
    answer = recorded(name)["response"]
    assert list(infotext.parse(answer["info"]).items()) == list(answer["parameters"].items())


def test_fields_are_put_in_order_and_quoted() -> None:
    fields = {
        "Version": "v1.10.1",
        "TI hashes": "tinyemb: fb3a, other: 11",
        "Note": 'say "é", twice',
        "Seed": 5,
        "VAE": None,
        "Steps": 4,
        "Lucky": "Lucky",
        "CFG scale": 7.0,
    }
    assert infotext.write("a cat\nin a hat", "dogs", fields) == (
        "a cat\nin a hat\nNegative prompt: dogs\n"
        'Steps: 4, CFG scale: 7.0, Seed: 5, TI hashes: "tinyemb: fb3a, other: 11", '
        'Note: "say \\"é\\", twice", Lucky, Version: v1.10.1'
    )


def test_empty_prompts_leave_the_settings_alone() -> None:
    assert infotext.write("", "", {"Steps": 1, "Seed": 2}) == "Steps: 1, Seed: 2"


def parsed(text: str) -> dict[str, Any]:
    """What `text` says beyond what an empty text says."""
    silent = infotext.parse("")
    return {k: v for k, v in infotext.parse(text).items() if k not in silent or v != silent[k]}


def test_reads_back_what_was_written() -> None:
    text = infotext.write(
        "a, cat", "b: dog", {"Steps": 4, "Size": "64x96", "Note": "x: 1,\n2", "Seed": 3}
    )
    assert parsed(text) == {
        "Steps": "4",
        "Size-1": "64",
        "Size-2": "96",
        "Note": "x: 1,\n2",
        "Seed": "3",
        "Prompt": "a, cat",
        "Negative prompt": "b: dog",
    }


def test_a_short_last_line_belongs_to_the_prompt() -> None:
    assert parsed("a cat\nSteps: 1, Seed: 2") == {"Prompt": "a cat\nSteps: 1, Seed: 2"}


def test_negative_prompt_runs_over_lines() -> None:
    text = "\n a \n\nb\nNegative prompt: c \n d\nSteps: 1, Seed: 2, CFG scale: 3"
    assert (parsed(text)["Prompt"], parsed(text)["Negative prompt"]) == ("a\n\nb", "c\nd")


def test_emphasis_is_named_where_the_prompt_has_any() -> None:
    assert parsed("a (cat:1.2)")["Emphasis"] == "Original"
    assert "Emphasis" not in parsed(r"a \(cat\) (dog:1.0)")


def test_hypernetwork_becomes_a_tag() -> None:
    text = "cat\nSteps: 1, Seed: 2, Hypernet: lines, Hypernet strength: 0.5"
    assert parsed(text)["Prompt"] == "cat<hypernet:lines:0.5>"


@pytest.mark.parametrize(
    ("version", "implied"),
    [
        ("v1.5.2", {"Old prompt editing timelines", "Pad conds v0", "Downcast alphas_cumprod",
                    "Refiner switch by sampling steps"}),
        ("v1.7.0", {"Downcast alphas_cumprod", "Refiner switch by sampling steps"}),
        ("v1.7.0-225-gabc", {"Refiner switch by sampling steps"}),
        ("v1.10.1", set()),
        ("dev", set()),
    ],
)  # fmt: skip
def test_old_versions_imply_old_behaviour(version: str, implied: set[str]) -> None:
    text = f"[a:b:1]\nSteps: 1, Sampler: DDIM, Refiner: x, Version: {version}"
    assert {key for key, value in parsed(text).items() if value is True} == implied


@pytest.mark.parametrize(
    "text",
    ["a" * 10**5, "a:" * 10**5, 'ab:"' * 10**5, 'ab:"\\",' * 10**5, ": :" * 10**5,
     'ab: "' + '\\"' * 10**5, "ab" * 10**5 + ":", "\\" * 10**5, "Steps: 1, " * 10**4],
    ids=range(9),
)  # fmt: skip
def test_hostile_texts_take_linear_time(text: str) -> None:
    started = time.perf_counter()
    infotext.parse(text)
    once = time.perf_counter() - started
    assert once < 2


@given(st.text(st.sampled_from('aB1:, "\\\n-x([')))
def test_any_text_is_read_without_failing(text: str) -> None:
    fields = infotext.parse(text)
    assert isinstance(fields["Prompt"], str)
    str(fields).encode()


def test_quoted_half_surrogates_do_not_survive() -> None:
    value = infotext.parse('aa: "\\ud800", bb: 1, cc: 2')["aa"]
    assert value == "?"


def test_novelai_settings_become_an_infotext() -> None:
    settings = {"uc": "bad", "steps": 28, "sampler": "k_euler", "scale": 11.0, "seed": 7}
    assert infotext.from_novelai("cat", settings, (512, 768)) == (
        "cat\nNegative prompt: bad\nSteps: 28, Sampler: Euler, CFG scale: 11.0, Seed: 7, "
        "Size: 512x768, Clip skip: 2, ENSD: 31337"
    )
