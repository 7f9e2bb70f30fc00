"""Files of upscalers and face tools are listed by kind, and none is opened."""

import os
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from models.tool_files import ENDINGS, ToolFiles


def put(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def names(tools: ToolFiles) -> list[str]:
    return [file.name for file in tools.files()]


def test_each_kind_has_its_endings(tmp_path: Path) -> None:
    endings = ("pth", "pt", "ckpt", "onnx", "safetensors", "txt")
    put(tmp_path, *(f"x.{ending}" for ending in endings))
    assert names(ToolFiles("ESRGAN", [tmp_path])) == ["x.pt", "x.pth", "x.safetensors"]
    assert names(ToolFiles("roop", [tmp_path])) == ["x.onnx", "x.pth"]
    assert names(ToolFiles("u2net", [tmp_path])) == ["x.onnx"]
    assert all(ending.startswith(".") for kind in ENDINGS.values() for ending in kind)


def test_files_are_listed_as_they_are_now(tmp_path: Path) -> None:
    tools = ToolFiles("ESRGAN", [tmp_path / "a", tmp_path / "b"])
    assert names(tools) == []
    put(tmp_path, "b/4x.pth", "a/v10.pth", "a/v2.pth", "a/deep/x.pth")
    assert names(tools) == ["v2.pth", "v10.pth", "deep/x.pth", "4x.pth"]
    (tmp_path / "a" / "v2.pth").unlink()
    assert names(tools) == ["v10.pth", "deep/x.pth", "4x.pth"]


def test_a_name_is_a_path_below_the_folder_or_a_file_name_or_a_stem(tmp_path: Path) -> None:
    put(tmp_path, "x.pth", "deep/x.pth", "deep/y.pth", "deep/x")
    tools = ToolFiles("ESRGAN", [tmp_path])
    for asked, wanted in (
        ("deep/x.pth", "deep/x.pth"),
        ("x.pth", "x.pth"),
        ("x", "x.pth"),
        ("y", "deep/y.pth"),
        ("y.pth", "deep/y.pth"),
    ):
        file = tools.find(asked)
        assert file is not None
        assert file.name == wanted
        assert file.path == tmp_path / wanted


@pytest.mark.parametrize("name", ["../x", "", "/etc/passwd", "X", "deep", "a\0", "..", "./x.pth"])
def test_no_name_leads_to_what_is_not_listed(tmp_path: Path, name: str) -> None:
    put(tmp_path, "in/x.pth", "x.pth")
    assert ToolFiles("ESRGAN", [tmp_path / "in"]).find(name) is None


def test_a_file_that_has_gone_is_not_found(tmp_path: Path) -> None:
    put(tmp_path, "far/x.pth")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "x.pth").symlink_to(tmp_path / "far" / "x.pth")
    tools = ToolFiles("ESRGAN", [tmp_path / "in"])
    assert tools.find("x") is not None
    (tmp_path / "far" / "x.pth").unlink()
    with capture_logs():
        assert tools.find("x") is None
        assert tools.files() == ()


def test_what_is_no_file_costs_one_warning(tmp_path: Path) -> None:
    put(tmp_path, "x.pth")
    os.mkfifo(tmp_path / "pipe.pth")
    os.link(tmp_path / "x.pth", os.fsencode(tmp_path) + b"/\xff.pth")
    tools = ToolFiles("ESRGAN", [tmp_path])
    with capture_logs() as logs:
        assert names(tools) == names(tools) == ["x.pth"]
    assert sorted(log["reason"] for log in logs) == ["its name is not UTF-8", "no such file"]
