import json
import shlex
from dataclasses import fields
from pathlib import Path

import pytest

from server.flags import FLAGS, Flag, Kind
from server.settings import REDACTED, ROOT, Settings, parse

WEBUI = json.loads((Path(__file__).parents[1] / "data" / "webui_flags.json").read_text("utf-8"))


def refusal(capsys: pytest.CaptureFixture[str], *argv: str, args: str = "") -> str:
    with pytest.raises(SystemExit) as stop:
        parse(argv, {"COMMANDLINE_ARGS": args})
    captured = capsys.readouterr()
    assert stop.value.code == 2
    assert captured.out == ""
    assert captured.err.count("\n") == 1, "one line"
    return captured.err.removeprefix("darkroom: ").rstrip("\n")


def spelling(flag: Flag) -> list[str]:
    value = {Kind.SWITCH: [], Kind.INTEGER: ["3"]}.get(flag.kind, ["all"])
    if flag.choices:
        value = [flag.choices[-1]]
    if flag.name in ("--api-auth", "--gradio-auth"):
        value = ["user:password"]
    if flag.name == "--device":
        value = ["cuda:1"]
    if flag.name == "--device-id":
        value = ["1"]
    return [flag.name, *value]


def test_the_table_fits_the_fields() -> None:
    names = {field.name for field in fields(Settings)} - {"accepted", "ignored"}
    assert {flag.dest for flag in FLAGS if flag.used} == names
    assert len({flag.dest for flag in FLAGS}) == len(FLAGS)


@pytest.mark.parametrize(
    "flag",
    [flag for flag in FLAGS if "tls" not in flag.name and flag.name != "--gradio-auth-path"],
    ids=lambda flag: flag.dest,
)
def test_every_flag_is_read_into_a_value_of_its_kind(flag: Flag) -> None:
    settings = parse(spelling(flag))
    value = getattr(settings, flag.dest) if flag.used else settings.accepted[flag.dest]
    expected: dict[Kind, object] = {
        Kind.SWITCH: True,
        Kind.INTEGER: 3,
        Kind.PATH: Path.cwd() / "all",
        Kind.PATHS: (Path.cwd() / "all",),
        Kind.WORDS: ("all",),
        Kind.TEXT: spelling(flag)[-1],
    }
    assert value == expected[flag.kind]


@pytest.mark.parametrize("dest", WEBUI)
def test_every_flag_of_the_webui_is_understood_and_reported(dest: str) -> None:
    assert dest in parse([]).cmd_flags()


def test_cmd_flags_are_json() -> None:
    flags = parse(["--use-cpu", "all", "--port", "81"]).cmd_flags()
    assert json.loads(json.dumps(flags)) == flags
    assert (flags["use_cpu"], flags["port"], flags["ckpt"]) == (["all"], 81, None)
    assert flags["lora_dir"] == str(ROOT / "data" / "models" / "Lora")
    assert flags["gradio_queue"] is True


def test_secrets_are_not_reported() -> None:
    settings = parse(
        shlex.split(
            "--api-auth ann:hush1 --gradio-auth bob:hush2 --ngrok hush3"
            " --tls-keyfile hush4 --tls-certfile cert"
        )
    )
    flags = settings.cmd_flags()
    assert "hush" not in json.dumps(flags)
    assert flags["api_auth"] == flags["gradio_auth"] == flags["ngrok"] == REDACTED
    assert parse([]).cmd_flags()["api_auth"] is None
    assert settings.credentials == (("ann", "hush1"), ("bob", "hush2"))


def test_users_may_stand_in_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    users = tmp_path / "users"
    users.write_text("ann:1, bob:2\n\ncy:3:4\n", "utf-8")
    settings = parse(["--gradio-auth-path", str(users), "--api-auth", "dan:5"])
    assert settings.credentials == (("dan", "5"), ("ann", "1"), ("bob", "2"), ("cy", "3:4"))
    assert settings.cmd_flags()["gradio_auth_path"] == REDACTED
    users.write_text("ann", "utf-8")
    told = refusal(capsys, "--gradio-auth-path", str(users))
    assert told == "--gradio-auth-path: the form is user:password[,user:password]"
    assert "No such file" in refusal(capsys, "--gradio-auth-path", str(tmp_path / "none"))


def test_a_pattern_of_origins_is_checked(capsys: pytest.CaptureFixture[str]) -> None:
    assert refusal(capsys, "--cors-allow-origins-regex", "[").startswith(
        "--cors-allow-origins-regex: unterminated"
    )


def test_the_users_own_command_line() -> None:
    settings = parse(shlex.split("-f --port 80 --api --xformers"))
    assert (settings.port_number, settings.host, settings.api) == (80, "127.0.0.1", True)
    assert settings.ignored == ("--xformers",)


@pytest.mark.parametrize(
    ("line", "host", "port"),
    [
        ("", "127.0.0.1", 7860),
        ("--nowebui", "127.0.0.1", 7861),
        ("--listen", "0.0.0.0", 7860),
        ("--listen --server-name ::1 --port=9000 --nowebui", "::1", 9000),
        ("--port 0", "127.0.0.1", 0),
    ],
)
def test_the_address(line: str, host: str, port: int) -> None:
    settings = parse(shlex.split(line))
    assert (settings.host, settings.port_number) == (host, port)


def test_folders_follow_the_data_folder(tmp_path: Path) -> None:
    settings = parse(["--data-dir", str(tmp_path)])
    assert settings.models_path == tmp_path / "models"
    assert settings.checkpoint_dirs == (tmp_path / "models" / "Stable-diffusion",)
    assert settings.vae_dirs == (tmp_path / "models" / "VAE",)
    assert settings.lora_dir == tmp_path / "models" / "Lora"
    assert settings.embeddings_dir == tmp_path / "embeddings"
    assert settings.config_path == tmp_path / "config.json"
    assert settings.styles_file == (tmp_path / "styles.csv", tmp_path / "styles_integrated.csv")
    assert settings.cache_path.parent == tmp_path
    assert settings.accepted["hypernetwork_dir"] == tmp_path / "models" / "hypernetworks"


def test_folders_can_be_moved_one_by_one(tmp_path: Path) -> None:
    settings = parse(
        shlex.split(
            "--models-dir /m --ckpt-dir /c --vae-dir /v --lora-dir /l --embeddings-dir /e"
            " --esrgan-models-path /x --ui-settings-file /u.json --styles-file /a --styles-file /b"
        )
    )
    assert settings.checkpoint_dirs == (Path("/c"), Path("/m/Stable-diffusion"))
    assert settings.vae_dirs == (Path("/v"), Path("/m/VAE"))
    assert (settings.lora_dir, settings.embeddings_dir) == (Path("/l"), Path("/e"))
    assert settings.esrgan_models_path == Path("/x")
    assert settings.gfpgan_models_path == Path("/m/GFPGAN")
    assert settings.config_path == Path("/u.json")
    assert settings.styles_file == (Path("/a"), Path("/b"))


def test_paths_are_the_callers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/ann")
    settings = parse(["--ckpt", "x/../a b.safetensors", "--data-dir", "~/data"])
    assert settings.ckpt == tmp_path / "a b.safetensors"
    assert settings.data_path == Path("/home/ann/data")


@pytest.mark.parametrize(
    ("line", "device"),
    [
        ("", "auto"),
        ("--use-cpu all", "cpu"),
        ("--use-cpu sd esrgan --no-half", "cpu"),
        ("--use-cpu esrgan", "auto"),
        ("--device-id 1", "cuda:1"),
        ("--device-id 1 --use-cpu all", "cpu"),
        ("--device cuda:0 --use-cpu all", "cuda:0"),
    ],
)
def test_the_device(line: str, device: str) -> None:
    assert parse(shlex.split(line)).torch_device == device


@pytest.mark.parametrize(
    ("line", "upscalers", "faces"),
    [
        ("", "auto", "auto"),
        ("--use-cpu sd", "auto", "auto"),
        ("--use-cpu ESRGAN sd", "cpu", "auto"),
        ("--device-id 1 --use-cpu gfpgan", "cuda:1", "cpu"),
        ("--use-cpu all", "cpu", "cpu"),
        ("--device cuda:0 --use-cpu all", "cuda:0", "cuda:0"),
    ],
)
def test_the_device_of_a_part(line: str, upscalers: str, faces: str) -> None:
    settings = parse(shlex.split(line))
    assert (settings.device_for("esrgan"), settings.device_for("gfpgan")) == (upscalers, faces)


@pytest.mark.parametrize(
    ("given", "path"), [("", ""), ("sd", "/sd"), ("/sd/", "/sd"), ("/", ""), ("a/b", "/a/b")]
)
def test_subpath(given: str, path: str) -> None:
    assert parse([f"--subpath={given}"]).root_path == path


@pytest.mark.parametrize(
    ("given", "hint"),
    [
        ("--medvrm", "unknown flag --medvrm; did you mean --medvram?"),
        ("--prot=80", "unknown flag --prot; did you mean --port?"),
        ("--no_half", "unknown flag --no_half; did you mean --no-half?"),
        ("--skip-load", "unknown flag --skip-load; did you mean --skip-load-model-at-start?"),
        ("--LISTEN", "unknown flag --LISTEN; did you mean --listen?"),
        ("--zzzzzz", "unknown flag --zzzzzz; --help lists the flags"),
        ("-x", "unknown flag -x; --help lists the flags"),
    ],
)
def test_a_misspelt_flag_is_named_with_the_right_one(
    given: str, hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert refusal(capsys, "--api", given, "5") == hint


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--port eighty", "--port: 'eighty' is not a whole number"),
        ("--port 70000", "--port 70000: allowed are 0 to 65535"),
        ("--port", "--port: expected one argument"),
        ("--max-queue 0", "--max-queue 0: the least is 1"),
        ("--timeout-keep-alive -1", "--timeout-keep-alive -1: the least is 0"),
        ("--tls-keyfile k.pem", "--tls-keyfile and --tls-certfile go together"),
        ("--device tpu", "device tpu: allowed are auto, cpu, cuda, cuda:N"),
        ("--ckpt ''", "--ckpt: '' is not a path"),
        ("stray", "unexpected 'stray': a flag starts with --"),
    ],
)
def test_a_bad_value_is_one_line(
    line: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert refusal(capsys, *shlex.split(line)) == message


@pytest.mark.parametrize("text", ["hush", ":hush", ",", ""])
def test_malformed_credentials_are_refused_and_not_printed(
    text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    message = refusal(capsys, f"--api-auth={text}")
    assert message == "--api-auth: the form is user:password[,user:password]"


def test_several_users_may_call() -> None:
    assert parse(["--api-auth", "ann:a, bob:"]).credentials == (("ann", "a"), ("bob", ""))


def test_commandline_args_stand_before_the_command_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    environ = {"COMMANDLINE_ARGS": "--port 1 --ckpt '/a b' --xformers"}
    settings = parse(["--port", "2"], environ)
    assert (settings.port, settings.ckpt) == (2, Path("/a b"))
    assert refusal(capsys, args='--port "') == "COMMANDLINE_ARGS: No closing quotation"


def test_help_names_every_flag_in_groups(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "90")
    with pytest.raises(SystemExit) as stop:
        parse(["--help"])
    text = capsys.readouterr().out
    assert stop.value.code == 0
    assert [flag.name for flag in FLAGS if flag.name not in text] == []
    groups = [line for line in text.splitlines() if line.endswith(":") and line[0].isupper()]
    assert groups == [
        "Server:",
        "Who may call:",
        "Folders and files:",
        "Checkpoint, precision and memory:",
        "Darkroom's own:",
        "Accepted, without effect here:",
    ]
