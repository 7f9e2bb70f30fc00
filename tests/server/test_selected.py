"""Which scripts a request names, by titles in any case, and what is said of unknown ones."""

import pytest

from extensions.binding import MissingScriptArgs
from extensions.protocol import BadScriptArgs
from extensions.scripts import loopback, prompt_matrix
from extensions.wanted import Mode
from server.errors import ApiError
from server.schemas.generation import GenerationRequest
from server.schemas.img2img import Img2ImgRequest
from server.schemas.txt2img import Txt2ImgRequest
from server.selected import hooks, selected


def _request(mode: Mode = "txt2img", **fields: object) -> GenerationRequest:
    kind = Txt2ImgRequest if mode == "txt2img" else Img2ImgRequest
    return kind.model_validate(fields)


def test_a_script_comes_with_its_arguments() -> None:
    args = [True, False, "positive", "space", 4]
    found = selected("txt2img", _request(script_name="PROMPT Matrix", script_args=args))
    assert found is not None
    assert found.script is prompt_matrix.EXTENSION
    assert found.args == prompt_matrix.Args(
        put_at_start=True, variations_delimiter="space", margin_size=4
    )


def test_arguments_may_be_left_out() -> None:
    found = selected("img2img", _request("img2img", script_name="loopback"))
    assert found is not None and found.args == loopback.Args()


@pytest.mark.parametrize("title", [None, "", "None", "string"])
def test_no_script_is_none(title: str | None) -> None:
    assert selected("txt2img", _request(script_name=title)) is None


@pytest.mark.parametrize("title", ["nope script", "loopback", "Sampler", "roop"])
def test_a_title_that_is_not_there_is_told(title: str) -> None:
    with pytest.raises(ApiError) as caught:
        selected("txt2img", _request(script_name=title))
    body = caught.value.body
    assert (caught.value.status, body["detail"]) == (422, f"Script '{title}' not found")
    assert body["errors"].startswith("there are: Prompt matrix, ")


def test_bad_arguments_are_told() -> None:
    with pytest.raises(MissingScriptArgs):
        selected("txt2img", _request(script_name="x/y/z plot", script_args=[1]))
    sent = ["x", 0.5, "Linear", "None"]
    with pytest.raises(BadScriptArgs, match="Loopback: loops 'x'"):
        selected("img2img", _request("img2img", script_name="loopback", script_args=sent))


@pytest.mark.parametrize(
    "sent",
    [
        {},
        {"refiner": {"args": [False, "", 0.5, 1, 2]}, "HYPERTILE": {}},
        {"Seed": [1], "comments": None, "Soft Inpainting": {"args": "x"}, "sampler": 5},
    ],
)
def test_stock_scripts_are_known_and_ignored(sent: dict[str, object]) -> None:
    assert hooks("txt2img", sent) == ()


@pytest.mark.parametrize(
    ("title", "said"),
    [
        ("nope", "Script 'nope' not found"),
        ("loopback", "Script 'loopback' not found"),
        ("X/Y/Z plot", "Cannot have a selectable script in the always on scripts params"),
    ],
)
def test_other_titles_are_refused(title: str, said: str) -> None:
    with pytest.raises(ApiError) as caught:
        hooks("txt2img", {title: {"args": []}})
    assert (caught.value.status, caught.value.body["detail"]) == (422, said)
