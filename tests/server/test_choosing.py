"""Which model a request means, and what is said where it cannot be had."""

from dataclasses import replace
from pathlib import Path

import pytest

from server import translate
from server.choosing import model_choice, told_ignored
from server.errors import ApiError
from server.options import Options
from server.schemas.txt2img import Txt2ImgRequest

from .fakes import FakeCatalog, library
from .wire import CIRCLES, SQUARES

OPTIONS = replace(Options.defaults(), sd_model_checkpoint=CIRCLES.title)


def warnings(folder: Path, **overrides: object) -> tuple[str, ...]:
    request = Txt2ImgRequest(override_settings=overrides)
    return translate.txt2img(
        request, OPTIONS, library(FakeCatalog(CIRCLES, SQUARES), folder)
    ).warnings


def refused(folder: Path, **overrides: object) -> str:
    """The text of a refusal in strict mode."""
    with pytest.raises(ApiError) as caught:
        warnings(folder, darkroom_strict_overrides=True, **overrides)
    assert caught.value.status == 422
    return str(caught.value)


def test_what_cannot_be_honoured_is_told(tmp_path: Path) -> None:
    assert warnings(tmp_path, sd_model_checkpoint="nope") == (
        f"unknown checkpoint 'nope': used {CIRCLES.title}",
    )
    assert warnings(tmp_path, sd_vae="nope.pt") == (
        "unknown VAE 'nope.pt': used the checkpoint's own",
    )
    assert warnings(tmp_path, nope=1) == ("unknown setting 'nope' ignored",)


def test_strict_overrides_are_refused_by_name_with_what_there_is(tmp_path: Path) -> None:
    assert refused(tmp_path, sd_model_checkpoint="nope") == (
        f"sd_model_checkpoint cannot be 'nope'; there are {CIRCLES.title}, {SQUARES.title}"
    )
    assert refused(tmp_path, sd_vae="nope.pt") == (
        "sd_vae cannot be 'nope.pt'; there are Automatic, None"
    )
    assert refused(tmp_path, nope=1, more=2) == (
        "override_settings: unknown settings 'nope', 'more'"
    )


@pytest.mark.parametrize(
    "overrides",
    [{}, {"sd_model_checkpoint": SQUARES.name}, {"sd_vae": "None"}, {"sd_vae": "Automatic"}],
)
def test_strict_overrides_that_can_be_honoured_are(
    tmp_path: Path, overrides: dict[str, object]
) -> None:
    assert warnings(tmp_path, darkroom_strict_overrides=True, **overrides) == ()


def test_the_setting_of_the_server_makes_every_request_strict(tmp_path: Path) -> None:
    strict = replace(OPTIONS, darkroom_strict_overrides=True)
    request = Txt2ImgRequest(override_settings={"sd_model_checkpoint": "nope"})
    with pytest.raises(ApiError, match="cannot be 'nope'"):
        translate.txt2img(request, strict, library(FakeCatalog(CIRCLES), tmp_path))
    lax = Txt2ImgRequest(
        override_settings={"sd_model_checkpoint": "nope", "darkroom_strict_overrides": False}
    )
    assert translate.txt2img(lax, strict, library(FakeCatalog(CIRCLES), tmp_path)).warnings


def test_a_refusal_is_short_however_much_there_is(tmp_path: Path) -> None:
    many = [replace(CIRCLES, name=f"{n}", path=Path(f"/{n}"), sha256=None) for n in range(50)]
    overridden = replace(OPTIONS, sd_model_checkpoint="x" * 60_000)
    with pytest.raises(ApiError) as caught:
        model_choice(
            overridden, OPTIONS, library(FakeCatalog(*many), tmp_path), tiling=False, strict=True
        )
    assert len(str(caught.value)) < 1000
    assert str(caught.value).endswith("18, 19 and 30 more")


def test_a_model_that_the_settings_miss_is_no_refusal_where_nothing_is_strict(
    tmp_path: Path,
) -> None:
    missing = replace(OPTIONS, sd_model_checkpoint="gone.safetensors")
    choice, told = model_choice(
        missing, missing, library(FakeCatalog(SQUARES), tmp_path), tiling=False
    )
    assert choice.checkpoint == SQUARES
    assert told == (f"unknown checkpoint 'gone.safetensors': used {SQUARES.title}",)
    assert told_ignored((), strict=True) == ()


@pytest.mark.parametrize(
    "name",
    ["../../x", "/etc/passwd", "..\\x", "x\0", "\N{FULLWIDTH FULL STOP}\N{FULLWIDTH FULL STOP}/x"],
)
def test_a_network_named_by_a_path_is_not_there(tmp_path: Path, name: str) -> None:
    (tmp_path / "x.safetensors").write_bytes(b"x")
    request = Txt2ImgRequest(prompt=f"a <lora:{name}:1>")
    made = translate.txt2img(request, OPTIONS, library(FakeCatalog(CIRCLES), tmp_path))
    assert made.plan.networks == ((),)
    assert made.warnings == (f"lora not found: {name}",)
