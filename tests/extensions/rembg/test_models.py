"""Which file a name stands for, and what is said where there is none."""

from pathlib import Path

import pytest

from extensions.protocol import BadScriptArgs, Missing
from extensions.rembg.models import CUSTOM, KNOWN, find
from tests.extensions.rembg.standins import workshop


def files(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")
    return folder


@pytest.mark.parametrize("name", KNOWN)
def test_a_known_model_is_found_in_the_folder_and_where_rembg_keeps_it(
    name: str, tmp_path: Path
) -> None:
    flat, deep = tmp_path / "flat", tmp_path / "deep"
    found = find(workshop(files(flat, f"{name}.onnx")), name)
    assert (found.name, found.base, found.path) == (name, name, flat / f"{name}.onnx")
    below = f"models/{name}/{name}.onnx"
    assert find(workshop(files(deep, below)), name).path == deep / below


@pytest.mark.parametrize(
    ("name", "released"), [(name, other) for name, others in KNOWN.items() for other in others]
)
def test_a_known_model_is_found_under_the_name_that_it_is_handed_out_by(
    name: str, released: str, tmp_path: Path
) -> None:
    shop = workshop(files(tmp_path, f"{released}.onnx"))
    assert find(shop, name).path == tmp_path / f"{released}.onnx"
    with pytest.raises(BadScriptArgs):
        find(shop, released)


def test_of_several_files_the_one_that_rembg_would_take_goes_first(tmp_path: Path) -> None:
    shop = workshop(
        files(tmp_path, "a/u2net.onnx", "u2net.onnx", "models/u2net/u2net.onnx", "u2netp.onnx")
    )
    assert find(shop, "u2net").path == tmp_path / "models" / "u2net" / "u2net.onnx"
    (tmp_path / "models" / "u2net" / "u2net.onnx").unlink()
    assert find(shop, "u2net").path == tmp_path / "u2net.onnx"
    (tmp_path / "u2net.onnx").unlink()
    assert find(shop, "u2net").path == tmp_path / "a" / "u2net.onnx"


def test_any_other_file_is_a_model_by_its_stem(tmp_path: Path) -> None:
    shop = workshop(files(tmp_path, "isnet_small.onnx", "mine/hair v2.onnx"))
    for name, file in (
        ("isnet_small", "isnet_small.onnx"),
        ("isnet_small.onnx", "isnet_small.onnx"),
        ("hair v2", "mine/hair v2.onnx"),
    ):
        found = find(shop, name)
        assert (found.base, found.path) == (CUSTOM, tmp_path / file)


def test_what_is_not_here_is_named_with_its_folder(tmp_path: Path) -> None:
    with pytest.raises(Missing, match="'u2net_human_seg'") as told:
        find(workshop(tmp_path), "u2net_human_seg")
    assert f"put u2net_human_seg.onnx into {tmp_path}" in str(told.value)


@pytest.mark.parametrize(
    "name",
    [
        *("atlascloud", "withoutbg", "sam", "dis_custom", "u2net_custom", "ben_custom", "vitmatte"),
        *("../secret", "../secret.onnx", "/etc/passwd", "U2NET", "u2net\0", "x" * 10_000, ".onnx"),
        *("models/u2net/u2net", " "),
    ],
)
def test_an_unknown_name_is_refused_and_tells_what_is_allowed(name: str, tmp_path: Path) -> None:
    files(tmp_path / "u2net", "own.onnx", "u2net.onnx")
    files(tmp_path, "secret.onnx")
    with pytest.raises(BadScriptArgs, match="allowed are u2net, u2netp, ") as told:
        find(workshop(tmp_path / "u2net"), name)
    assert str(told.value).endswith("bria-rmbg, own")
    assert repr(name)[:80] in str(told.value)
    assert len(str(told.value)) < 500
