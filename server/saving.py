"""Pictures on disk: where they may lie, their numbers, and files that are whole or not there.

Only folders within the data folder are written to; what a client names outside of it is not.
"""

import os
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from . import naming
from .imagecodec import Encoding, encode, extension
from .naming import Facts
from .option_table import defaults
from .options import Options
from .settings import Settings

_TRIES = 500
_MIB = 2**20
_REPLACE = "Replace"
_PNG_MODES = frozenset({"1", "L", "LA", "P", "RGB", "RGBA"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """How one picture is to be kept.

    `outdir` is the setting that names its folder. `prefix` stands before the number of grids,
    `suffix` behind the name; a `short` name is a number alone.
    """

    outdir: str
    format: str
    infotext: str | None
    prefix: str = ""
    suffix: str = ""
    short: bool = False
    grid: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Shelf:
    """The folders of a server, under the settings of one job."""

    settings: Settings
    options: Options

    def folder(self, outdir: str) -> tuple[Path, tuple[str, ...]]:
        """The folder that the setting `outdir` names, or its default and why it is not the other.

        Refused are folders outside the data folder, and those that models are read from.
        """
        data, asked = self.settings.data_path, str(getattr(self.options, outdir))
        path = Path(os.path.normpath(data / asked))
        if "\0" not in asked and path.is_relative_to(data) and not self._is_read(path):
            return path, ()
        usual = str(defaults()[outdir])
        told = f"{outdir} {asked!r:.80} is no folder for pictures: saved in {usual}"
        return data / usual, (told,)

    def _is_read(self, path: Path) -> bool:
        """Whether models are read from there; a folder that holds all data does not count."""
        settings = self.settings
        read = (settings.models_path, settings.embeddings_dir, settings.lora_dir)
        return any(
            path.is_relative_to(each)
            for each in (*read, settings.cache_path)
            if not settings.data_path.is_relative_to(each)
        )

    def put(self, image: Image.Image, facts: Facts, wanted: Wanted) -> tuple[str, ...]:
        """Write a picture under the next free name, and say what went otherwise.

        Raises:
            OSError: it cannot be written; nothing is left half written.
            BadImageFormat: a format that we do not write.
        """
        options = self.options
        folder, warnings = self.folder(wanted.outdir)
        if options.grid_save_to_dirs if wanted.grid else options.save_to_dirs:
            pattern = options.directories_filename_pattern or "[prompt_words]"
            folder = folder.joinpath(*naming.folders(pattern, facts))
        encoding = Encoding(
            format=wanted.format, quality=options.jpeg_quality, lossless=options.webp_lossless
        )
        ending = extension(image, encoding)
        noted = wanted.infotext if options.enable_pnginfo else None
        data = encode(image, noted, encoding)
        folder.mkdir(parents=True, exist_ok=True)
        path = self._write(folder, self._name(facts, wanted), wanted.prefix, ending, data)
        if options.export_for_4chan and ending not in ("jpg", "jpeg"):
            self._put_copy(image, noted, path, len(data))
        if options.save_txt and wanted.infotext is not None:
            text = f"{wanted.infotext}\n".encode(errors="replace")
            write_whole(path.with_name(f"{path.stem}.txt"), text)
        return warnings

    def put_original(self, image: Image.Image, name: str) -> tuple[str, ...]:
        """Write an init picture under its own name, unless it is there; else as `put`.

        It keeps the infotext that it came with.
        """
        folder, warnings = self.folder("outdir_init_images")
        path = folder / f"{name}.png"
        if not path.exists():
            text = image.info.get("parameters") if self.options.enable_pnginfo else None
            if image.mode not in _PNG_MODES:
                image = image.convert("RGB")
            folder.mkdir(parents=True, exist_ok=True)
            write_whole(path, encode(image, text if isinstance(text, str) else None, Encoding()))
        return warnings

    def _name(self, facts: Facts, wanted: Wanted) -> str:
        if wanted.short:
            return wanted.suffix
        usual = "[seed]" if self.options.save_to_dirs else "[seed]-[prompt_spaces]"
        pattern = self.options.samples_filename_pattern or usual
        return naming.name(pattern, facts) + wanted.suffix

    def _write(self, folder: Path, name: str, prefix: str, ending: str, data: bytes) -> Path:
        """The file, under its number and `name`, or under `name` alone where settings say."""
        if self.options.save_images_add_number or not name:
            behind = f"-{name}" if name else ""
            return _write_numbered(folder, prefix, f"{behind}.{ending}", data)
        path = folder / f"{name}.{ending}"
        if self.options.save_images_replace_action == _REPLACE:
            write_whole(path, data)
            return path
        others = (folder / f"{name}-{number}.{ending}" for number in range(1, _TRIES))
        return _write_first((path, *others), data)

    def _put_copy(self, image: Image.Image, noted: str | None, path: Path, size: int) -> None:
        """A JPEG beside a picture that is too large for some, in bytes or in pixels."""
        options, longest = self.options, max(image.size)
        side = options.target_side_length
        if longest <= side and size <= options.img_downscale_threshold * _MIB:
            return
        if longest > side > 0:
            width, height = (max(round(each * side / longest), 1) for each in image.size)
            image = image.resize((width, height), Image.Resampling.LANCZOS)
        copy = Encoding(format="jpg", quality=options.jpeg_quality)
        write_whole(path.with_name(f"{path.stem}.jpg"), encode(image, noted, copy))


def write_whole(path: Path, data: bytes) -> None:
    """Write a file so that a reader, or a crash, finds all of it, or what was there. `OSError`."""
    temporary = path.with_name(f".{uuid.uuid4().hex}.tmp")
    _finish(temporary, path, data)


def _write_numbered(folder: Path, prefix: str, behind: str, data: bytes) -> Path:
    """The file under one more than the highest number there is.

    Its number is claimed by the temporary file's name, also against other servers; who has claimed
    it looks again, since another may have finished in between.
    """
    before, digits = (f"{prefix}-", 4) if prefix else ("", 5)
    number = _next_number(folder, before)
    for _ in range(_TRIES):
        stem = f"{before}{number:0{digits}}"
        temporary = folder / f"{stem}.tmp"
        try:
            temporary.open("xb").close()
        except FileExistsError:
            number += 1
            continue
        if _is_free(folder, stem, temporary.name):
            path = folder / f"{stem}{behind}"
            _finish(temporary, path, data)
            return path
        temporary.unlink()
        number += 1
    raise FileExistsError(f"no number is free in {folder}")


def _next_number(folder: Path, before: str) -> int:
    """One more than the highest number of a file, finished or begun."""
    heads = (
        name.removeprefix(before).partition(".")[0].partition("-")[0]
        for name in os.listdir(folder)
        if name.startswith(before)
    )
    return max((int(head) for head in heads if _is_number(head)), default=-1) + 1


def _is_free(folder: Path, stem: str, claim: str) -> bool:
    named = (f"{stem}-", f"{stem}.")
    return not any(name.startswith(named) and name != claim for name in os.listdir(folder))


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < 16


def _write_first(paths: Sequence[Path], data: bytes) -> Path:
    """The file under the first of these names that is free."""
    for path in paths:
        try:
            path.open("xb").close()
        except FileExistsError:
            continue
        write_whole(path, data)
        return path
    raise FileExistsError(f"no name like {paths[0].name} is free in {paths[0].parent}")


def _finish(temporary: Path, path: Path, data: bytes) -> None:
    try:
        temporary.write_bytes(data)
        temporary.replace(path)
    except OSError:
        # once it is renamed its old name may be another's claim, so that only a failure removes it
        temporary.unlink(missing_ok=True)
        raise
