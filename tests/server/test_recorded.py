"""Every recorded answer of webui v1.10.1 again: equal, or a row of docs/deviations.md."""

import hashlib
import os
import shlex
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from safetensors import safe_open
from safetensors.torch import save_file

from server.app import create_app
from server.services import Services
from server.settings import parse

from . import recordings
from .recordings import LIVE, Recording, deviations, differences
from .wire import DATA

MODELS = DATA / "reference-models"
#: the flags of the recordings
FLAGS = """--port 7861 --server-name 127.0.0.1 --nowebui --api --no-half --no-half-vae
 --skip-python-version-check --skip-torch-cuda-test --skip-prepare-environment
 --skip-version-check --no-download-sd-model --opt-sdp-no-mem-attention --use-cpu all"""
USERS = ("--api-auth", "user:secret,bob:pw1")

SWITCH = (
    "post_options_switch_model get_options_after_switch txt2img_after_switch"
    " post_options_switch_back"
)
STORIES = (
    SWITCH,
    "post_options_vae txt2img_with_vae_option post_options_vae_none txt2img_with_vae_none"
    " post_options_vae_auto",
    "txt2img_override_no_restore get_options_after_no_restore post_options_undo",
    "err_options_bad_type options_after_bad_type err_options_restore_clip",
    "err_txt2img_override_unknown_model after_override_unknown_model_options_ckpt",
    "err_txt2img_clip_skip_99 post_interrupt_idle post_skip_idle progress_after_idle_interrupt"
    " txt2img_after_idle_interrupt",
    "post_create_embedding post_create_embedding_exists",
    "post_unload_checkpoint err_options_restricted_key get_options_after_unload"
    " txt2img_after_unload post_reload_checkpoint",
)
"""Recordings that follow from one another; each story leaves the server as it found it."""

GUARDED = tuple(name for name in recordings.names() if name.startswith("auth_"))
IDLE = ("get_progress", "get_progress_skip_current_image")
STOPPING = ("ui_server_stop",)
TOLD = {name for story in STORIES for name in story.split()}
ALONE = sorted({*recordings.names()} - LIVE - TOLD - {*GUARDED, *IDLE, *STOPPING})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with the models of the recordings, or others of their names."""
    data = tmp_path_factory.mktemp("recorded")
    for kind in ("Stable-diffusion", "Lora"):
        (data / "models" / kind).mkdir(parents=True)
        for file in (MODELS / kind).iterdir():
            (data / "models" / kind / file.name).symlink_to(file)
    (data / "models" / "tiny-clip").symlink_to(MODELS / "tiny-clip")
    (data / "embeddings").mkdir()
    for file in (MODELS / "embeddings").iterdir():
        (data / "embeddings" / file.name).symlink_to(file)
    (data / "styles.csv").symlink_to(MODELS / "styles.csv")
    checkpoints = data / "models" / "Stable-diffusion"
    with safe_open(MODELS / "Stable-diffusion" / "tiny-vpred.safetensors", "pt") as weights:
        tensors = {name: weights.get_tensor(name) for name in weights.keys()}  # noqa: SIM118
    for name in ("tiny-other", "tiny-inpainting"):
        save_file(tensors, checkpoints / f"{name}.safetensors", metadata={"name": name})
        (checkpoints / f"{name}.yaml").symlink_to(MODELS / "Stable-diffusion" / "tiny-vpred.yaml")
    (data / "models" / "VAE").mkdir()
    part = "first_stage_model."
    vae = {name.removeprefix(part): each for name, each in tensors.items() if name.startswith(part)}
    save_file(vae, data / "models" / "VAE" / "tiny-alt.vae.safetensors")
    return data


@pytest.fixture(scope="module")
def served(folder: Path) -> Iterator[TestClient]:
    """The server as the recorded one was started, every checkpoint hashed as there."""
    checkpoint = folder / "models" / "Stable-diffusion" / "tiny-sd15.safetensors"
    argv = [*shlex.split(FLAGS), "--data-dir", str(folder), "--ckpt", str(checkpoint)]
    app = create_app(parse([*argv, "--gradio-allowed-path", str(folder)]))
    services: Services = app.state.services
    for info in services.library.checkpoints.checkpoints():
        services.library.checkpoints.hash(info)
    for network in services.library.networks.networks():
        services.library.networks.hash(network)
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


@pytest.fixture(scope="module")
def alike(folder: Path) -> dict[str, str]:
    """The data folder, and the hashes of the files that are others here."""
    texts = {str(folder): "/data"}
    for listed in recordings.read("get_sd_models").answer:
        ours = sha256(
            folder / "models" / "Stable-diffusion" / f"{listed['model_name']}.safetensors"
        )
        texts |= {ours: listed["sha256"], ours[:10]: listed["sha256"][:10]}
    theirs = recordings.read("txt2img_with_vae_option").answer["info"]
    vae = sha256(folder / "models" / "VAE" / "tiny-alt.vae.safetensors")
    texts[vae[:10]] = theirs.partition('"sd_vae_hash": "')[2][:10]
    return texts


@pytest.fixture(scope="module")
def allowed() -> dict[str, recordings.Deviation]:
    """The rows of docs/deviations.md."""
    return deviations()


class Replay:
    """Replays recordings and says of each what differs."""

    def __init__(self, alike: dict[str, str], allowed: dict[str, recordings.Deviation]) -> None:
        self._alike = alike
        self._allowed = allowed

    def check(self, client: TestClient, name: str) -> None:
        """The answer is the recorded one, or differs in just what its row says."""
        recording: Recording = recordings.read(name)
        response = recording.ask(client)
        found = differences(recording, response, self._alike)
        row = self._allowed.get(name)
        wanted = set(row.parts) if row else set()
        status = row.status if row else recording.status
        what = f"{name}: {response.status_code} {response.text[:600]}\n  not {recording.status} "
        assert (response.status_code, found) == (status, wanted), what + str(recording.answer)[:600]


@pytest.fixture(scope="module")
def replay(alike: dict[str, str], allowed: dict[str, recordings.Deviation]) -> Replay:
    """Compares with the recordings."""
    return Replay(alike, allowed)


@pytest.mark.parametrize("name", ALONE)
def test_one_answer(name: str, served: TestClient, replay: Replay) -> None:
    replay.check(served, name)


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.split()[0])
def test_answers_that_follow_from_one_another(
    story: str, served: TestClient, replay: Replay, folder: Path
) -> None:
    try:
        for name in story.split():
            replay.check(served, name)
    finally:
        services: Services = served.app.state.services  # type: ignore[attr-defined]
        changed = services.options.current.as_wire().keys()
        services.options.set(dict.fromkeys(changed))
        (folder / "embeddings" / "made.pt").unlink(missing_ok=True)


@pytest.mark.parametrize("name", GUARDED)
def test_answers_of_a_guarded_server(
    name: str, folder: Path, replay: Replay, tmp_path: Path
) -> None:
    argv = ["--data-dir", str(tmp_path), "--models-dir", str(folder / "models")]
    replay.check(TestClient(create_app(parse([*argv, *USERS]))), name)


@pytest.mark.parametrize("name", IDLE)
def test_answers_of_a_server_that_has_done_nothing(
    name: str, replay: Replay, tmp_path: Path
) -> None:
    replay.check(TestClient(create_app(parse(["--data-dir", str(tmp_path)]))), name)


@pytest.mark.parametrize("name", STOPPING)
def test_answers_of_a_server_that_may_be_stopped(
    name: str, replay: Replay, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raised: list[int] = []
    monkeypatch.setattr(signal, "raise_signal", raised.append)
    client = TestClient(create_app(parse(["--data-dir", str(tmp_path), "--api-server-stop"])))
    replay.check(client, name)
    assert raised == [signal.SIGINT]


def test_every_row_is_a_recording(allowed: dict[str, recordings.Deviation]) -> None:
    assert sorted(allowed.keys() - {*recordings.names()}) == []
    assert sorted(allowed.keys() & LIVE) == []


def sha256(path: Path) -> str:
    with open(os.path.realpath(path), "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
