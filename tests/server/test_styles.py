"""Prompt styles from csv files."""

from pathlib import Path

import pytest
from structlog.testing import capture_logs

from server.styles import Style, apply, chosen, list_styles, read_styles

from .wire import recorded


def test_columns_comments_and_the_byte_order_mark(tmp_path: Path) -> None:
    file = tmp_path / "styles.csv"
    file.write_text(
        "\ufeffname,prompt,negative_prompt\n"
        'wrap,"photo of {prompt}, sharp",\n'
        "# a comment,x,y\n"
        '"two\nlines","a, b","c"\n'
        "short\n"
        "wrap,again,again\n",
        "utf-8",
    )
    assert read_styles([file]) == {
        "wrap": Style("wrap", "again", "again"),
        "two\nlines": Style("two\nlines", "a, b", "c"),
        "short": Style("short", "", ""),
    }


def test_old_files_and_several_files(tmp_path: Path) -> None:
    (tmp_path / "a1.csv").write_text("name,text\nold,words\n", "utf-8")
    (tmp_path / "a2.csv").write_text("name,prompt\nnew,others\n", "utf-8")
    found = read_styles([tmp_path / "a*.csv", tmp_path / "none.csv"])
    assert [style.prompt for style in found.values()] == ["words", "others"]


def test_patterns_match_files_and_brackets_are_themselves(tmp_path: Path) -> None:
    for name in ("b1.csv", "b2.csv", "b33.csv", "b[1].csv"):
        (tmp_path / name).write_text(f"name,prompt\n{name},x\n", "utf-8")
    (tmp_path / "b4.csv").mkdir()
    for pattern, names in (
        ("b?.csv", ["b1.csv", "b2.csv"]),
        ("b*.csv", ["b1.csv", "b2.csv", "b33.csv", "b[1].csv"]),
        ("b[1].csv", ["b[1].csv"]),
        ("c*.csv", []),
    ):
        assert list(read_styles([tmp_path / pattern])) == names
    assert read_styles([tmp_path / "nowhere" / "*.csv"]) == {}


def test_dividers_stand_before_each_of_several_files(tmp_path: Path) -> None:
    (tmp_path / "styles.csv").write_text("name,prompt\na,1\nb,2\n", "utf-8")
    more = tmp_path / "more.csv"
    files = [tmp_path / "styles.csv", tmp_path / "sty*.csv", more]
    assert list(list_styles(files)) == ["a", "b"], "one file, named twice"
    more.write_text("name,prompt\na,3\nc,4\n", "utf-8")
    listed = list_styles(files)
    assert [(name, style and style.prompt) for name, style in listed.items()] == [
        ("---------------- STYLES ----------------", None),
        ("a", "3"),
        ("b", "2"),
        ("----------------- MORE -----------------", None),
        ("c", "4"),
    ]
    assert list(read_styles(files)) == ["a", "b", "c"]


def test_styles_are_those_of_the_reference(reference_models: Path) -> None:
    listed = list_styles([reference_models / "styles.csv"])
    ours = [
        {"name": name, "prompt": style.prompt, "negative_prompt": style.negative_prompt}
        for name, style in listed.items()
        if style is not None
    ]
    assert ours == recorded("get_prompt_styles")["response"]


def test_a_file_that_cannot_be_read_costs_a_warning(tmp_path: Path) -> None:
    (tmp_path / "bad.csv").write_bytes(b"name,prompt\n\xff\xfe,x\n")
    with capture_logs() as logs:
        assert read_styles([tmp_path / "bad.csv"]) == {}
    assert logs[0]["event"] == "styles not read"


@pytest.mark.parametrize(
    ("texts", "prompt", "wanted"),
    [
        ([], " a ", " a "),
        (["b"], " a ", "a, b"),
        (["b", "c"], "a", "a, b, c"),
        (["", " "], "a", "a"),
        (["b"], "", "b"),
        (["x {prompt} y {prompt}"], "a", "x a y a"),
        (["b", "x {prompt}"], "a", "x a, b"),
    ],
)
def test_texts_are_added_in_order(texts: list[str], prompt: str, wanted: str) -> None:
    assert apply(texts, prompt) == wanted


def test_unknown_names_are_left_out() -> None:
    one = Style("one", "a", "b")
    assert chosen(["None", "one", "two", "one"], {"one": one}) == [one, one]
