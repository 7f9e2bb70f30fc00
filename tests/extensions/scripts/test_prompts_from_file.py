"""Prompts from file: what a line may say, and how all of them are told."""

import pytest

from extensions.protocol import BadScriptArgs
from extensions.scripts.prompts_from_file import EXTENSION

from ..fakes import FakeHost, text


def _run(host: FakeHost, lines: str, *first: object, **changes: object) -> list[object]:
    wanted = text(**{"prompt": "", **changes})
    given = [*first, *(False, False, "start")[len(first) :], lines]
    host.run(EXTENSION, wanted, *given)
    return [each.prompt for each in host.wanted]


def test_each_line_is_a_prompt_before_or_after_the_requests_own() -> None:
    assert _run(FakeHost(), "a cat\n\n  a dog \r\n") == ["a cat", "a dog"]
    assert _run(FakeHost(), "a cat", prompt="at sea") == ["a cat at sea"]
    assert _run(FakeHost(), "a cat", False, False, "end", prompt="at sea") == ["at sea a cat"]


def test_a_line_may_set_fields() -> None:
    host = FakeHost()
    line = (
        '--prompt "a red" car --negative_prompt blue sky --width 96 --cfg_scale 3.5 --tiling true'
    )
    host.run(EXTENSION, text(negative_prompt="bad", tiling=None), prompt_txt=line)
    (wanted,) = host.wanted
    assert wanted.prompt == "a red car a cat"
    assert wanted.negative_prompt == "blue sky bad"
    assert (wanted.width, wanted.height, wanted.cfg_scale, wanted.tiling) == (96, 64, 3.5, True)


def test_models_samplers_and_styles_are_named_as_elsewhere() -> None:
    host = FakeHost()
    line = "--sd_model second --sampler_name 'EULER A' --styles bright --outpath_samples /etc"
    host.run(EXTENSION, text(override_settings={"eta_ddim": 1}), prompt_txt=line)
    (wanted,) = host.wanted
    assert wanted.override_settings == {
        "eta_ddim": 1,
        "sd_model_checkpoint": "second.safetensors",
    }
    assert (wanted.sampler_name, wanted.styles) == ("Euler a", ("bright",))


@pytest.mark.parametrize(
    "line",
    [
        "a dog --steps 3",
        "--steps three",
        "--steps",
        "--what 3",
        '--prompt "open',
        "--sd_model missing",
        "--cfg_scale",
    ],
)
def test_a_line_that_is_no_list_of_options_is_a_prompt(line: str) -> None:
    assert _run(FakeHost(), line) == [line]


def test_the_seed_may_go_up_line_by_line() -> None:
    host = FakeHost()
    _run(host, "a\nb\nc", True, batch_size=2, n_iter=3)
    assert [each.seed for each in host.wanted] == [7, 13, 19]
    random = FakeHost()
    _run(random, "a\nb", False, True, seed=-1)
    assert random.wanted[0].seed == random.wanted[1].seed >= 0
    left = FakeHost()
    _run(left, "a\nb", seed=-1)
    assert [each.seed for each in left.wanted] == [-1, -1]


def test_all_lines_are_told_as_the_request() -> None:
    host = FakeHost()
    wanted = text(prompt="", negative_prompt="bad", restore_faces=None, styles=None)
    drawn = host.run(EXTENSION, wanted, True, False, "start", "a\n--prompt b --steps 9 --width 80")
    assert len(drawn.images) == len(drawn.infotexts) == 2
    assert drawn.all_prompts == ("a", "b")
    assert drawn.all_negative_prompts == ("bad",)
    assert (drawn.seed, drawn.all_seeds) == (9, (9,))
    assert (drawn.subseed, drawn.all_subseeds) == (-1, (-1,))
    assert drawn.info["steps"] == 4
    assert drawn.info["width"] == 64
    assert drawn.info["restore_faces"] is None
    assert drawn.info["sd_model_name"] is None
    assert drawn.info["styles"] == []
    assert drawn.index_of_first_image == 0


def test_an_interrupt_ends_it_after_the_line() -> None:
    host = FakeHost(stop_after=2)
    assert len(_run(host, "a\nb\nc")) == 2


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (" \n\n", "prompt_txt is empty"),
        ("a\n" * 1025, "lines: 1025; allowed are 1 to 1024"),
        ("--n_iter 1000000000", "n_iter of all lines: 1000000000"),
        ("--n_iter -5", "n_iter of all lines: -5"),
        ("fine\n--steps 0", "steps 0: at least 1"),
    ],
)
def test_bad_lines_are_refused_before_anything_is_drawn(lines: str, said: str) -> None:
    host = FakeHost()
    with pytest.raises(BadScriptArgs, match=said):
        _run(host, lines)
    assert host.wanted == []


def test_an_unknown_place_is_named() -> None:
    with pytest.raises(BadScriptArgs, match="prompt_position 'middle': allowed are start, end"):
        _run(FakeHost(), "a", False, False, "middle")
