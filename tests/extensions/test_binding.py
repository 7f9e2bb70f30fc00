"""Arguments by place and by name, their types, and what is said of wrong ones."""

from dataclasses import dataclass
from typing import Any

import pytest

from extensions.binding import MissingScriptArgs, bind, describe
from extensions.protocol import BadScriptArgs, Extension, arg
from extensions.scripts import sd_upscale, xyz_plot

from .fakes import NAMES


@dataclass(frozen=True, slots=True, kw_only=True)
class Args:
    note: str = arg("<p>", "")
    on: bool = arg(True, "On")
    count: int = arg(4, "Count", minimum=1, maximum=9, step=2)
    share: float = arg(0.5, "Share")
    word: str = arg("a", "Word", lambda mode, names: ("a", "b"))
    words: tuple[str, ...] = arg(("x", "y"), "Words")
    either: int | str = arg("none", "Either")


SAMPLE = Extension(title="Sample", modes=("txt2img",), args=Args)


def bound(*sent: Any) -> Args:
    args: Args = bind(SAMPLE, sent)
    return args


def test_a_list_is_in_the_order_of_the_fields() -> None:
    args = bound("", False, 2, 0.25, "b", ["z"], 3)
    assert args == Args(on=False, count=2, share=0.25, word="b", words=("z",), either=3)


def test_names_leave_the_others_at_their_defaults() -> None:
    assert bind(SAMPLE, {"count": 7}) == Args(count=7)
    assert bind(SAMPLE, []) == Args()
    assert bind(SAMPLE, {}) == Args()


def test_null_is_the_default_and_a_note_is_not_read() -> None:
    assert bound(17, None, None, None, None, None, None) == Args()


def test_what_is_too_much_is_ignored() -> None:
    assert bound("", True, 4, 0.5, "a", [], "none", 1, 2, 3) == Args(words=())


@pytest.mark.parametrize(
    ("field", "sent", "read"),
    [
        ("on", "yes", True),
        ("on", 0, False),
        ("on", "False", False),
        ("count", "12", 12),
        ("count", 3.0, 3),
        ("count", "-3", -3),
        ("share", 1, 1),
        ("share", "0.5", 0.5),
        ("word", 5, "5"),
        ("words", "left, right", ("left", "right")),
        ("words", [1, "b"], ("1", "b")),
        ("either", "fill", "fill"),
        ("either", 2, 2),
        ("either", 2.0, 2),
    ],
)
def test_values_are_read_leniently(field: str, sent: object, read: object) -> None:
    value = getattr(bind(SAMPLE, {field: sent}), field)
    assert value == read
    assert type(value) is type(read)


@pytest.mark.parametrize(
    ("field", "sent", "said"),
    [
        ("on", "maybe", "Sample: on 'maybe': allowed is true or false"),
        ("on", [], "Sample: on []: allowed is true or false"),
        ("count", "two", "Sample: count 'two': allowed is a whole number"),
        ("count", 2.5, "Sample: count 2.5: allowed is a whole number"),
        ("count", True, "Sample: count True: allowed is a whole number"),
        ("count", "9" * 5000, "allowed is a whole number"),
        ("share", "nan", "Sample: share 'nan': allowed is a number"),
        ("share", float("inf"), "allowed is a number"),
        ("share", 10**400, "allowed is a number"),
        ("share", {}, "Sample: share {}: allowed is a number"),
        ("word", ["a"], "Sample: word ['a']: allowed is text"),
        ("words", 5, "Sample: words 5: allowed is a list of texts"),
        ("words", [[]], "allowed is a list of texts"),
        ("either", [], "allowed is a whole number"),
        ("colour", 1, "Sample has no argument 'colour': allowed are note, on, count"),
    ],
)
def test_a_wrong_value_is_named(field: str, sent: object, said: str) -> None:
    with pytest.raises(BadScriptArgs) as caught:
        bind(SAMPLE, {field: sent})
    assert said in str(caught.value)
    assert len(str(caught.value)) < 300


def test_a_list_that_ends_early_is_told_as_the_reference_tells_it() -> None:
    with pytest.raises(MissingScriptArgs) as caught:
        bind(xyz_plot.EXTENSION, [1])
    assert str(caught.value) == (
        "Script.run() missing 17 required positional arguments: 'x_values', 'x_values_dropdown', "
        "'y_type', 'y_values', 'y_values_dropdown', 'z_type', 'z_values', 'z_values_dropdown', "
        "'draw_legend', 'include_lone_images', 'include_sub_grids', 'no_fixed_seeds', "
        "'vary_seeds_x', 'vary_seeds_y', 'vary_seeds_z', 'margin_size', and 'csv_mode'"
    )


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        (["", 16, "Lanczos"], "missing 1 required positional argument: 'scale_factor'"),
        (["", 16], "missing 2 required positional arguments: 'upscaler_index' and 'scale_factor'"),
    ],
)
def test_one_or_two_missing_arguments(sent: list[object], said: str) -> None:
    with pytest.raises(MissingScriptArgs, match=said):
        bind(sd_upscale.EXTENSION, sent)


def test_what_is_always_on_takes_a_list_that_ends_early() -> None:
    assert bound("", False) == Args(on=False)


def test_arguments_are_described_with_what_there_is() -> None:
    described = list(describe(SAMPLE, "txt2img", NAMES))
    assert described[2] == {
        "label": "Count",
        "value": 4,
        "minimum": 1,
        "maximum": 9,
        "step": 2,
        "choices": None,
    }
    assert described[4]["choices"] == ["a", "b"]
    assert described[5]["value"] == ["x", "y"]
    upscalers = list(describe(sd_upscale.EXTENSION, "img2img", NAMES))[2]["choices"]
    assert upscalers == ["None", "Lanczos", "Nearest"]
