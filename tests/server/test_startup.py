import socket
import threading
from pathlib import Path

import pytest

from server.settings import Settings, parse
from server.startup import StartError, check_files, open_socket, prepare_folders


def settings_at(data: Path, *argv: str) -> Settings:
    return parse(["--data-dir", str(data), *argv])


def test_the_data_folders_are_made_as_the_webui_lays_them_out(tmp_path: Path) -> None:
    data = tmp_path / "a b" / "data"
    prepare_folders(settings_at(data))
    made = {str(path.relative_to(data)) for path in data.rglob("*")}
    assert made == {
        "cache",
        "embeddings",
        "models",
        "models/Lora",
        "models/Stable-diffusion",
        "models/VAE",
    }


def test_folders_that_are_there_stay_as_they_are(tmp_path: Path) -> None:
    kept = tmp_path / "models" / "Stable-diffusion" / "mine.safetensors"
    kept.parent.mkdir(parents=True)
    kept.write_bytes(b"weights")
    prepare_folders(settings_at(tmp_path))
    prepare_folders(settings_at(tmp_path))
    assert kept.read_bytes() == b"weights"


def test_nothing_is_made_in_a_models_tree_of_another_program(tmp_path: Path) -> None:
    tree = tmp_path / "webui" / "models"
    tree.mkdir(parents=True)
    prepare_folders(settings_at(tmp_path / "data", "--models-dir", str(tree), "--lora-dir", "l"))
    assert list(tree.iterdir()) == []
    assert not (tmp_path / "data" / "models").exists()


@pytest.mark.parametrize("flag", ["--ckpt-dir", "--models-dir", "--vae-dir"])
def test_a_folder_that_is_not_there_is_named(flag: str, tmp_path: Path) -> None:
    missing = tmp_path / "not mounted"
    with pytest.raises(StartError) as refusal:
        prepare_folders(settings_at(tmp_path, flag, str(missing)))
    assert str(refusal.value) == f"{flag} {missing}: no such folder"


@pytest.mark.parametrize("flag", ["--ckpt", "--vae-path"])
def test_a_file_that_is_not_there_is_named(flag: str, tmp_path: Path) -> None:
    missing = tmp_path / "x.safetensors"
    with pytest.raises(StartError) as refusal:
        check_files(settings_at(tmp_path, flag, str(missing)))
    assert str(refusal.value) == f"{flag} {missing}: no such file"
    missing.touch()
    check_files(settings_at(tmp_path, flag, str(missing)))


def test_a_data_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    data = tmp_path / "file" / "data"
    with pytest.raises(StartError) as refusal:
        prepare_folders(settings_at(data))
    assert str(refusal.value) == f"cannot create the folder {data}: Not a directory"


def test_a_read_only_data_folder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # root may write where the mode forbids it, so the file system's refusal is played
    def refuse(**where: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    with pytest.raises(StartError) as refusal:
        prepare_folders(settings_at(tmp_path))
    assert str(refusal.value) == f"the folder {tmp_path} cannot be written: Read-only file system"


def test_the_socket_listens_at_once() -> None:
    with open_socket("127.0.0.1", 0) as listener:
        address = listener.getsockname()
        accepted = threading.Thread(target=lambda: listener.accept()[0].close())
        accepted.start()
        with socket.create_connection(address, timeout=5):
            accepted.join(5)
        assert not accepted.is_alive()


def test_a_port_in_use_is_named() -> None:
    with open_socket("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(StartError) as refusal:
            open_socket("127.0.0.1", port)
    expected = f"port {port} on 127.0.0.1 is in use; choose another with --port"
    assert str(refusal.value) == expected
    with open_socket("127.0.0.1", port):
        pass


def test_a_port_that_needs_privileges_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    class Guarded(socket.socket):
        def bind(self, address: object) -> None:
            raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("socket.socket", Guarded)
    with pytest.raises(StartError, match=r"^port 80 needs privileges; choose one above 1023"):
        open_socket("127.0.0.1", 80)


def test_an_address_of_another_machine_is_named() -> None:
    with pytest.raises(StartError) as refusal:
        open_socket("192.0.2.1", 7860)
    expected = "cannot listen on 192.0.2.1 port 7860: Cannot assign requested address"
    assert str(refusal.value) == expected
