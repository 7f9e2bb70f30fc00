"""The command line, read once into a frozen `Settings` (standard library only).

`launch.sh --help` runs this module before anything is installed.
"""

import argparse
import difflib
import os
import re
import shlex
import sys
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Literal, NoReturn

from .flags import FLAGS, Flag, Kind

ROOT = Path(__file__).resolve().parent.parent
REDACTED = "(not shown)"

_USAGE = """./launch.sh [flags]             install if need be, then start the server
       ./launch.sh test [pytest args]  run the tests
       ./launch.sh install             install and stop"""
_NOTE = """PYTHON=, VENV= and TORCH_INDEX_URL= choose the interpreter, the environment and the index
that torch comes from; EXTRAS= names extras of pyproject.toml in place of face,upscalers (roop,
rembg and face restoration; upscaler files). Flags in COMMANDLINE_ARGS stand before those of the
command line."""


class BadSettings(ValueError):
    """A command line that cannot be followed; the message is one line for the user."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Every flag with a meaning here, typed and named as its webui flag; paths are absolute."""

    port: int | None
    listen: bool
    server_name: str | None
    api: bool
    nowebui: bool
    subpath: str | None
    tls_keyfile: Path | None
    tls_certfile: Path | None
    timeout_keep_alive: int
    loglevel: str | None
    api_log: bool
    api_server_stop: bool
    api_auth: str | None
    gradio_auth: str | None
    gradio_auth_path: Path | None
    cors_allow_origins: str | None
    cors_allow_origins_regex: str | None
    freeze_settings: bool
    freeze_settings_in_sections: str | None
    freeze_specific_settings: str | None
    hide_ui_dir_config: bool
    no_prompt_history: bool
    data_dir: Path
    models_dir: Path | None
    ckpt_dir: Path | None
    vae_dir: Path | None
    lora_dir: Path
    lyco_dir_backcompat: Path
    embeddings_dir: Path
    esrgan_models_path: Path
    realesrgan_models_path: Path
    gfpgan_models_path: Path
    codeformer_models_path: Path
    bsrgan_models_path: Path
    dat_models_path: Path
    ldsr_models_path: Path
    scunet_models_path: Path
    swinir_models_path: Path
    ui_settings_file: Path
    styles_file: tuple[Path, ...]
    ckpt: Path | None
    vae_path: Path | None
    no_half: bool
    no_half_vae: bool
    precision: str
    medvram: bool
    medvram_sdxl: bool
    lowvram: bool
    use_cpu: tuple[str, ...]
    device_id: str | None
    no_hashing: bool
    skip_load_model_at_start: bool
    disable_nan_check: bool
    extensions_dir: Path | None
    extensions: str | None
    disable_all_extensions: bool
    disable_extra_extensions: bool
    no_background_hashing: bool
    device: str | None
    max_batch: int
    batching: Literal["on", "off"]
    cuda_graphs: Literal["on", "off"]
    compile: bool
    max_queue: int
    allow_pickle: bool
    old_sampler_names: bool
    accepted: Mapping[str, object]
    """The flags without a meaning here, by destination."""
    ignored: tuple[str, ...]
    """Those that the command line gave and that have no effect, as written."""

    @property
    def host(self) -> str:
        """Address to listen on; this machine alone unless asked, even with --nowebui."""
        return self.server_name or ("0.0.0.0" if self.listen else "127.0.0.1")

    @property
    def port_number(self) -> int:
        """Port to listen on."""
        if self.port is not None:
            return self.port
        return 7861 if self.nowebui else 7860

    @property
    def root_path(self) -> str:
        """`--subpath` with one leading slash and no trailing one; empty without it."""
        trimmed = (self.subpath or "").strip("/")
        return f"/{trimmed}" if trimmed else ""

    @property
    def credentials(self) -> tuple[tuple[str, str], ...]:
        """The user and password pairs of the flags; empty means that anybody may call.

        Raises `BadSettings` for a file of them that cannot be read; `parse` has tried.
        """
        sources = (
            ("--api-auth", self.api_auth),
            ("--gradio-auth", self.gradio_auth),
            ("--gradio-auth-path", _content(self.gradio_auth_path)),
        )
        return tuple(
            pair for flag, text in sources if text is not None for pair in _credentials(flag, text)
        )

    @property
    def torch_device(self) -> str:
        """The device of the models that paint, as `device_for` has it."""
        return self.device_for("sd")

    def device_for(self, part: str) -> str:
        """`cpu`, `cuda`, `cuda:N`, or `auto`: the GPU where there is one.

        `part` is a name that `--use-cpu` may list: "sd", "esrgan", "gfpgan", ...
        """
        if self.device is not None:
            return self.device
        if {"all", part} & set(self.use_cpu):
            return "cpu"
        return "auto" if self.device_id is None else f"cuda:{self.device_id}"

    @property
    def data_path(self) -> Path:
        """The folder of options, outputs, caches and, by default, models."""
        return self.data_dir

    @property
    def models_path(self) -> Path:
        """The folder that holds `Stable-diffusion`, `VAE`, `Lora`, ..."""
        return self.models_dir or self.data_dir / "models"

    @property
    def checkpoint_dirs(self) -> tuple[Path, ...]:
        """The folders scanned for checkpoints, `--ckpt-dir` first."""
        return (*_given(self.ckpt_dir), self.models_path / "Stable-diffusion")

    @property
    def vae_dirs(self) -> tuple[Path, ...]:
        """The folders scanned for VAEs, `--vae-dir` first."""
        return (*_given(self.vae_dir), self.models_path / "VAE")

    @property
    def config_path(self) -> Path:
        """The file that options are kept in."""
        return self.ui_settings_file

    @property
    def cache_path(self) -> Path:
        """The folder of what can be computed again, such as checkpoint hashes."""
        return self.data_dir / "cache"

    def cmd_flags(self) -> dict[str, object]:
        """Return every flag by destination as JSON-ready values, with secrets left out."""
        return {flag.dest: self._shown(flag) for flag in FLAGS}

    def _shown(self, flag: Flag) -> object:
        value: object = getattr(self, flag.dest) if flag.used else self.accepted[flag.dest]
        if flag.secret and value:
            return REDACTED
        if isinstance(value, tuple):
            return [str(part) for part in value]
        return str(value) if isinstance(value, Path) else value


def parse(argv: Sequence[str], environ: Mapping[str, str] | None = None) -> Settings:
    """Read a command line, with `COMMANDLINE_ARGS` of `environ` before it.

    Raises SystemExit: 0 after `--help`, 2 after one line on stderr for a line it cannot follow.
    """
    try:
        return _read(argv, environ or {})
    except BadSettings as error:
        print(f"darkroom: {error}", file=sys.stderr)  # noqa: T201 -- logging is not set up yet
        raise SystemExit(2) from None


def _read(argv: Sequence[str], environ: Mapping[str, str]) -> Settings:
    try:
        words = [*shlex.split(environ.get("COMMANDLINE_ARGS", "")), *argv]
    except ValueError as error:
        raise BadSettings(f"COMMANDLINE_ARGS: {error}") from None
    namespace, rest = _parser().parse_known_args(words)
    _refuse_unknown(rest)
    given: dict[str, object] = vars(namespace)
    values = {flag.dest: _value(flag, given.get(flag.dest)) for flag in FLAGS}
    values["data_dir"] = values["data_dir"] or ROOT / "data"
    homes = {"data": str(values["data_dir"])}
    homes["models"] = str(values["models_dir"] or Path(homes["data"]) / "models")
    for flag in FLAGS:
        if flag.home and not values[flag.dest]:
            paths = tuple(Path(home.format(**homes)) for home in flag.home.split())
            values[flag.dest] = paths if flag.kind is Kind.PATHS else paths[0]
    idle = [flag for flag in FLAGS if not flag.used]
    # argparse leaves objects; that every row of the table fits its field is a test.
    settings = Settings(
        **{flag.dest: values[flag.dest] for flag in FLAGS if flag.used},  # type: ignore[arg-type]
        accepted=MappingProxyType({flag.dest: values[flag.dest] for flag in idle}),
        ignored=tuple(
            flag.name
            for flag in FLAGS
            if not (flag.used and flag.effective) and flag.dest in given and flag.name != "-f"
        ),
    )
    _check(settings)
    return settings


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise BadSettings(message.removeprefix("argument "))


class _Formatter(argparse.HelpFormatter):
    def _fill_text(self, text: str, width: int, indent: str) -> str:
        # the default breaks flags at their hyphens
        return textwrap.fill(
            text, width, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False
        )


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="launch.sh",
        usage=_USAGE,
        description="Flags are those of the webui; a value follows its flag, or an equals sign.",
        epilog=_NOTE,
        formatter_class=_Formatter,
        allow_abbrev=False,
        argument_default=argparse.SUPPRESS,
    )
    groups: dict[str, argparse._ArgumentGroup] = {}
    for flag in FLAGS:
        if not flag.used:
            _add(parser, flag, help_text=argparse.SUPPRESS)
            continue
        if flag.group not in groups:
            groups[flag.group] = parser.add_argument_group(flag.group)
        _add(groups[flag.group], flag, help_text=flag.help)
    idle = ", ".join(flag.name for flag in FLAGS if not flag.used)
    parser.add_argument_group("Accepted, without effect here", idle)
    return parser


def _add(target: argparse._ActionsContainer, flag: Flag, *, help_text: str) -> None:
    name, dest = flag.name, flag.dest
    choices = flag.choices or None
    match flag.kind:
        case Kind.SWITCH:
            target.add_argument(name, dest=dest, action="store_true", help=help_text)
        case Kind.INTEGER:
            target.add_argument(name, dest=dest, type=_integer, metavar="N", help=help_text)
        case Kind.PATH:
            target.add_argument(name, dest=dest, type=_path, metavar="PATH", help=help_text)
        case Kind.PATHS:
            target.add_argument(
                name, dest=dest, type=_path, action="append", metavar="PATH", help=help_text
            )
        case Kind.WORDS:
            target.add_argument(
                name, dest=dest, nargs="+", type=str.lower, metavar="PART", help=help_text
            )
        case Kind.TEXT:
            metavar = None if choices else "TEXT"
            target.add_argument(name, dest=dest, choices=choices, metavar=metavar, help=help_text)


def _integer(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None


def _path(text: str) -> Path:
    if not text or "\0" in text:
        raise argparse.ArgumentTypeError(f"{text!r} is not a path")
    # normalised but not resolved: a link in a models folder keeps the name its owner gave it
    return Path(os.path.abspath(Path(text).expanduser()))


def _value(flag: Flag, given: object) -> object:
    if given is None:
        return flag.default if flag.kind is not Kind.PATHS else ()
    return tuple(given) if isinstance(given, list) else given


def _refuse_unknown(rest: Sequence[str]) -> None:
    unknown = [word.partition("=")[0] for word in rest if word.startswith("-") and word != "-"]
    if unknown:
        raise BadSettings("; ".join(_unknown(name) for name in dict.fromkeys(unknown)))
    if rest:
        raise BadSettings(f"unexpected {rest[0]!r}: a flag starts with --")


def _unknown(name: str) -> str:
    names = [flag.name for flag in FLAGS]
    longer = [known for known in names if len(name) > 3 and known.startswith(name)]
    near = longer or difflib.get_close_matches(name.replace("_", "-").lower(), names, n=1)
    hint = f"did you mean {near[0]}?" if near else "--help lists the flags"
    return f"unknown flag {name}; {hint}"


def _check(settings: Settings) -> None:
    if settings.port is not None and not 0 <= settings.port <= 65535:
        raise BadSettings(f"--port {settings.port}: allowed are 0 to 65535")
    for name, value, least in (
        ("--max-batch", settings.max_batch, 1),
        ("--max-queue", settings.max_queue, 1),
        ("--timeout-keep-alive", settings.timeout_keep_alive, 0),
    ):
        if value < least:
            raise BadSettings(f"{name} {value}: the least is {least}")
    if (settings.tls_keyfile is None) != (settings.tls_certfile is None):
        raise BadSettings("--tls-keyfile and --tls-certfile go together")
    kind, _, number = settings.torch_device.partition(":")
    if kind not in {"auto", "cpu", "cuda"} or (number and not number.isdecimal()):
        raise BadSettings(f"device {settings.torch_device}: allowed are auto, cpu, cuda, cuda:N")
    if settings.cors_allow_origins_regex is not None:
        _check_pattern(settings.cors_allow_origins_regex)
    # reads them, and so finds what is wrong with them
    _ = settings.credentials


def _check_pattern(text: str) -> None:
    try:
        re.compile(text)
    except (re.error, OverflowError, RecursionError) as error:
        raise BadSettings(f"--cors-allow-origins-regex: {error}") from None


def _credentials(flag: str, text: str) -> list[tuple[str, str]]:
    parts = (part.strip() for line in text.splitlines() for part in line.split(","))
    pairs = [part.partition(":") for part in parts if part]
    if not pairs or not all(user and separator for user, separator, _ in pairs):
        raise BadSettings(f"{flag}: the form is user:password[,user:password]")
    return [(user, password) for user, _, password in pairs]


def _content(path: Path | None) -> str | None:
    try:
        return None if path is None else path.read_text("utf-8")
    except (OSError, ValueError) as error:
        raise BadSettings(f"--gradio-auth-path {path}: {error}") from None


def _given(path: Path | None) -> Iterable[Path]:
    return () if path is None else (path,)


if __name__ == "__main__":
    parse(sys.argv[1:], os.environ)
