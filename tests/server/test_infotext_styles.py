import pytest

from server.infotext import parse
from server.infotext_styles import without_styles
from server.styles import Style, apply

STYLES = {
    style.name: style
    for style in (
        Style("Wrap", "photo of {prompt}, detailed", "blurry, lowres"),
        Style("Append", "oil painting, vivid", "photo"),
        Style("Negative", "", "(bad anatomy:1.3), text"),
        Style("Empty", "", ""),
        Style("Divider", " ", ""),
    )
}
ANY = "Apply if any"


def told(
    prompt: str, negative: str = "", *, setting: str = ANY, hires: tuple[str, str] = ("", "")
) -> dict[str, object]:
    fields: dict[str, object] = {"Prompt": prompt, "Negative prompt": negative}
    if hires != ("", ""):
        fields |= {"Hires prompt": hires[0], "Hires negative prompt": hires[1]}
    return without_styles(fields, STYLES, setting)


@pytest.mark.parametrize(
    ("names", "prompt", "negative"),
    [
        (["Wrap"], "1 girl", "bad"),
        (["Append"], "1 girl", ""),
        (["Negative"], "a cat", "dog"),
        (["Wrap", "Append"], "a cat", "x"),
        (["Append", "Wrap"], "a cat", ""),
        (["Append"], "", ""),
    ],
)
def test_styles_that_were_added_are_found_again(
    names: list[str], prompt: str, negative: str
) -> None:
    added = [STYLES[name] for name in names]
    found = told(
        apply([style.prompt for style in added], prompt),
        apply([style.negative_prompt for style in added], negative),
    )
    assert found == {"Prompt": prompt, "Negative prompt": negative, "Styles array": names}


def test_a_style_must_fit_both_prompts() -> None:
    assert told("photo of a cat, detailed", "x") == {
        "Prompt": "photo of a cat, detailed",
        "Negative prompt": "x",
    }
    assert "Styles array" not in told("a cat")


def test_the_setting_says_whether_they_are_looked_for_and_told() -> None:
    prompt, negative = "a cat, oil painting, vivid", "photo"
    assert told(prompt, negative, setting="Ignore")["Prompt"] == prompt
    assert told(prompt, negative, setting="Discard") == {"Prompt": "a cat", "Negative prompt": ""}
    assert told("a cat", setting="Apply")["Styles array"] == []


def test_hires_prompts_keep_all_texts_unless_their_styles_are_the_same() -> None:
    prompt, negative = "a cat, oil painting, vivid", "photo"
    kept = told(prompt, negative, hires=("a dog", ""))
    assert (kept["Prompt"], kept["Hires prompt"]) == (prompt, "a dog")
    same = told(prompt, negative, hires=("a dog, oil painting, vivid", ""))
    assert (same["Prompt"], same["Hires prompt"]) == ("a cat", "a dog")
    assert same["Hires negative prompt"] == ""
    plain = told("a cat", "n1", hires=("a dog", "n2"))
    assert (plain["Hires prompt"], plain["Hires negative prompt"]) == ("a dog", "n2")


def test_the_parser_takes_styles_out_before_it_looks_for_emphasis_and_adds_hypernetworks() -> None:
    styles = {"Sharp": Style("Sharp", "{prompt}, (sharp:1.2)", "")}
    text = "a cat, (sharp:1.2)\nSteps: 4, Seed: 1, Hypernet: h, Hypernet strength: 0.5"
    plain = parse(text, styles, ANY)
    assert plain["Prompt"] == "a cat<hypernet:h:0.5>"
    assert plain["Styles array"] == ["Sharp"]
    assert "Emphasis" not in plain
    assert parse(text)["Emphasis"] == "Original"
    assert parse(text)["Prompt"] == "a cat, (sharp:1.2)<hypernet:h:0.5>"
