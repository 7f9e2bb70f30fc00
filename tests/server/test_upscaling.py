"""Upscalers by name: the files of the folders that flags name, run as the options say."""

import base64
import io
import json
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from models.errors import CheckpointNotFound, NoSpandrel, UnsupportedCheckpoint
from models.sessions import SessionCache
from models.upscalers.tiles import Tiling
from pipelines.pictures.upscale import enlarge
from server.app import create_app
from server.library import open_shelves
from server.options import Options, OptionsStore
from server.settings import Settings, parse
from server.tools import Tools, open_tools
from server.upscaling import tiling

from ..models.files import one_tensor
from ..models.upscalers.nets import directly, network, picture, saved

Opened = tuple[Tools, SessionCache, OptionsStore]
FLAGS = (
    ("ESRGAN", "--esrgan-models-path"),
    ("RealESRGAN", "--realesrgan-models-path"),
    ("BSRGAN", "--bsrgan-models-path"),
    ("DAT", "--dat-models-path"),
    ("ScuNET", "--scunet-models-path"),
    ("SwinIR", "--swinir-models-path"),
)


def settings(folder: Path, *flags: str) -> Settings:
    return parse(["--data-dir", str(folder), "--use-cpu", "all", *flags])


def opened(folder: Path, *flags: str) -> Opened:
    given = settings(folder, *flags)
    options, sessions = OptionsStore(given.config_path), SessionCache(1 << 30)
    return open_tools(given, open_shelves(given).library, options, sessions), sessions, options


def compact(path: Path) -> Path:
    return saved(network("Compact"), path)


def run(tools: Tools, name: str, image: Image.Image) -> Image.Image:
    upscaler = tools.upscalers[name]
    assert not isinstance(upscaler, str)
    return upscaler(image, lambda share: None)


@pytest.mark.parametrize(("kind", "flag"), FLAGS)
def test_a_file_in_the_folder_that_a_flag_names(tmp_path: Path, kind: str, flag: str) -> None:
    compact(tmp_path / "elsewhere" / "Ours.pth")
    tools, _, _ = opened(tmp_path, flag, str(tmp_path / "elsewhere"))
    assert list(tools.upscalers) == ["None", "Lanczos", "Nearest", "Ours"]
    image = picture(20, 12)
    made = run(tools, "Ours", image)
    expected = directly(network("Compact"), image)
    assert np.abs(np.asarray(made).astype(int) - np.asarray(expected)).max() <= 1


def test_the_flags_of_upscalers_have_an_effect_and_ldsr_says_why_not(
    capsys: pytest.CaptureFixture[str],
) -> None:
    given = [word for _, flag in (*FLAGS, ("", "--ldsr-models-path")) for word in (flag, "/x")]
    assert parse(given).ignored == ("--ldsr-models-path",)
    with pytest.raises(SystemExit):
        parse(["--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert "folder of the LDSR upscaler (not in effect: it paints with a diffusion model" in text


def test_the_names_follow_the_folders(tmp_path: Path) -> None:
    tools, _, _ = opened(tmp_path)
    assert list(tools.upscalers) == ["None", "Lanczos", "Nearest"]
    folder = tmp_path / "models"
    one = compact(folder / "ESRGAN" / "one.pth")
    compact(folder / "RealESRGAN" / "RealESRGAN_x4plus.pth")
    assert list(tools.upscalers)[3:] == ["one", "R-ESRGAN 4x+"]
    assert len(tools.upscalers) == 5
    assert "one" in tools.upscalers
    assert "RealESRGAN_x4plus" in tools.upscalers
    one.unlink()
    assert "one" not in tools.upscalers
    assert tools.upscalers.get("one") is None


def test_a_file_under_the_name_of_what_needs_none_is_left_out(tmp_path: Path) -> None:
    for name in ("None", "Lanczos", "Latent", "Latent (nearest)"):
        compact(tmp_path / "models" / "ESRGAN" / f"{name}.pth")
    tools, _, _ = opened(tmp_path)
    assert list(tools.upscalers) == ["None", "Lanczos", "Nearest"]
    assert tools.upscalers["Lanczos"] == "Lanczos"
    assert "Latent" not in tools.upscalers


def test_ldsr_is_left_out_with_a_reason(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one_tensor(tmp_path / "models" / "LDSR" / "last.safetensors")
    tools, _, _ = opened(tmp_path)
    assert list(tools.upscalers) == ["None", "Lanczos", "Nearest"]
    assert "LDSR paints with a diffusion model of its own" in capsys.readouterr().out


def test_a_network_is_opened_once_and_anew_when_its_file_has_changed(tmp_path: Path) -> None:
    path = compact(tmp_path / "models" / "ESRGAN" / "one.pth")
    tools, sessions, _ = opened(tmp_path)
    image = picture(12, 12)
    assert sessions.held == 0
    threads = [threading.Thread(target=run, args=(tools, "one", image)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sessions.held == path.stat().st_size
    assert run(tools, "one", image).size == (48, 48)
    saved(network("Compact", upscale=2), path)
    assert run(tools, "one", image).size == (24, 24)
    assert sessions.held == path.stat().st_size


def test_files_that_cannot_be_used_change_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "models" / "ESRGAN"
    one_tensor(folder / "lora.safetensors")
    gone = compact(folder / "gone.pth")
    compact(folder / "sound.pth")
    tools, sessions, _ = opened(tmp_path)
    upscaler = tools.upscalers["gone"]
    assert not isinstance(upscaler, str)
    gone.unlink()
    with pytest.raises(UnsupportedCheckpoint, match=r"lora\.safetensors: is no upscaler"):
        run(tools, "lora", picture(8, 8))
    with pytest.raises(CheckpointNotFound, match=r"gone\.pth: no such file"):
        upscaler(picture(8, 8), lambda share: None)
    with monkeypatch.context() as patch, pytest.raises(NoSpandrel):
        patch.setitem(sys.modules, "spandrel", None)
        run(tools, "sound", picture(8, 8))
    assert sessions.held == 0
    assert run(tools, "sound", picture(8, 8)).size == (32, 32)


@pytest.mark.parametrize(
    ("kind", "changes", "expected"),
    [
        ("ESRGAN", {}, (192, 8)),
        ("RealESRGAN", {"ESRGAN_tile": 64, "ESRGAN_tile_overlap": 16.0}, (64, 16)),
        ("ScuNET", {"ESRGAN_tile": "256"}, (256, 8)),
        ("BSRGAN", {"ESRGAN_tile": 0}, (0, 8)),
        ("DAT", {"DAT_tile": 32, "ESRGAN_tile": 0}, (32, 8)),
        ("SwinIR", {"SWIN_tile": 400, "SWIN_tile_overlap": 0}, (400, 0)),
    ],
)
def test_the_options_say_how_pictures_are_cut(
    kind: str, changes: dict[str, object], expected: tuple[int, int]
) -> None:
    options, _ = Options.defaults().with_overrides(changes)
    assert tiling(kind, options) == Tiling(size=expected[0], overlap=expected[1])


def ticks(tools: Tools, image: Image.Image) -> int:
    seen: list[float] = []
    enlarge(image, 4, tools.upscalers["one"], seen.append)
    return len(seen)


def test_tiles_follow_the_options_and_those_of_a_job(tmp_path: Path) -> None:
    compact(tmp_path / "models" / "ESRGAN" / "one.pth")
    tools, _, options = opened(tmp_path)
    image = picture(200, 40)
    assert ticks(tools, image) == 2
    options.set({"ESRGAN_tile": 64})
    assert ticks(tools, image) == 4
    job, _ = options.current.with_overrides({"ESRGAN_tile": 0})
    assert ticks(tools.under(job), image) == 1
    assert ticks(tools, image) == 4


@pytest.mark.parametrize(
    ("kind", "flags", "expected"),
    [
        ("ESRGAN", "--use-cpu esrgan", ("cpu", False)),
        ("DAT", "--use-cpu esrgan", ("cpu", False)),
        ("SwinIR", "--use-cpu swinir", ("cpu", False)),
        ("SwinIR", "--use-cpu esrgan", ("cuda:0", True)),
        ("RealESRGAN", "--use-cpu sd", ("cuda:0", True)),
        ("ESRGAN", "--use-cpu all", ("cpu", False)),
        ("ESRGAN", "", ("cuda:0", True)),
        ("ESRGAN", "--no-half", ("cuda:0", False)),
        ("ESRGAN", "--precision full", ("cuda:0", False)),
        ("ESRGAN", "--device cuda:1 --use-cpu esrgan", ("cuda:1", True)),
    ],
)
def test_the_flags_say_where_and_how_precisely_it_runs(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    flags: str,
    expected: tuple[str, bool],
) -> None:
    asked = []

    def noted(path: Path, *, device: object, half: bool, turn: object) -> None:
        asked.append((str(device), half))
        raise CheckpointNotFound(path, "noted")

    monkeypatch.setattr("models.upscalers.network.open_upscaler", noted)
    compact(tmp_path / "models" / kind / "one.pth")
    given = parse(["--data-dir", str(tmp_path), "--device-id", "0", *flags.split()])
    library = open_shelves(given).library
    tools = open_tools(given, library, OptionsStore(given.config_path), SessionCache(1))
    with pytest.raises(CheckpointNotFound):
        run(tools, "one", picture(8, 8))
    assert asked == [expected]


@pytest.fixture
def asked(tmp_path: Path) -> Callable[..., tuple[int, dict[str, object]]]:
    saved(network("Compact"), tmp_path / "up" / "Ours.pth")
    app = create_app(settings(tmp_path, "--esrgan-models-path", str(tmp_path / "up")))
    # not entered: no checkpoint is needed
    client = TestClient(app)

    def ask(size: tuple[int, int], **fields: object) -> tuple[int, dict[str, object]]:
        file = io.BytesIO()
        picture(*size).save(file, "PNG")
        image = base64.b64encode(file.getvalue()).decode()
        body = {"image": image, "upscaler_1": "Ours", **fields}
        reply = client.post("/sdapi/v1/extra-single-image", json=body)
        return reply.status_code, json.loads(reply.text)

    return ask


def test_a_client_enlarges_a_picture(
    asked: Callable[..., tuple[int, dict[str, object]]],
) -> None:
    status, reply = asked((40, 24), upscaling_resize=4)
    assert status == 200
    assert "Postprocess upscaler: Ours" in str(reply["html_info"])
    made = Image.open(io.BytesIO(base64.b64decode(str(reply["image"]))))
    expected = np.asarray(directly(network("Compact"), picture(40, 24))).astype(int)
    assert np.abs(np.asarray(made.convert("RGB")) - expected).max() <= 1


def test_a_client_asks_for_too_much(
    asked: Callable[..., tuple[int, dict[str, object]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("models.upscalers.network.MAX_PIXELS", 10_000)
    status, reply = asked((40, 24), upscaling_resize=2)
    assert status == 422
    assert "15360 pixels; allowed are at most 10000" in str(reply)
    status, reply = asked((40, 24), upscaling_resize=1000)
    assert status == 422
