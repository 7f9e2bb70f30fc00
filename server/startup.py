"""What must be right before the server starts: folders, files and the port. Quick, no torch."""

import errno
import socket
import ssl
import tempfile
from pathlib import Path

from .settings import Settings

_BACKLOG = 2048


class StartError(Exception):
    """A reason not to start; the message is one line for the user."""


def prepare_folders(settings: Settings) -> None:
    """Create the data folders; raises StartError if a folder is missing or cannot be written."""
    for flag, given in (
        ("--ckpt-dir", settings.ckpt_dir),
        ("--models-dir", settings.models_dir),
        ("--vae-dir", settings.vae_dir),
    ):
        if given is not None and not given.is_dir():
            raise StartError(f"{flag} {given}: no such folder")
    _create(settings.data_path, settings.cache_path, settings.config_path.parent)
    for folder in dict.fromkeys((settings.data_path, settings.config_path.parent)):
        _probe(folder)
    _create(settings.embeddings_dir, settings.lora_dir)
    if settings.models_dir is None:
        # a tree given by --models-dir belongs to somebody else and may be read-only
        _create(*settings.checkpoint_dirs, *settings.vae_dirs)


def check_files(settings: Settings) -> None:
    """Raise StartError if a file named on the command line is missing or unusable."""
    for flag, given in (
        ("--ckpt", settings.ckpt),
        ("--vae-path", settings.vae_path),
        ("--tls-keyfile", settings.tls_keyfile),
        ("--tls-certfile", settings.tls_certfile),
    ):
        if given is not None and not given.is_file():
            raise StartError(f"{flag} {given}: no such file")
    if settings.tls_certfile is not None:
        _check_certificate(settings.tls_certfile, settings.tls_keyfile)


def _check_certificate(certificate: Path, key: Path | None) -> None:
    try:
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(certificate, key)
    except OSError as error:
        raise StartError(f"--tls-certfile {certificate}: {error}") from None


def open_socket(host: str, port: int) -> socket.socket:
    """Return a socket that listens on `host` and `port`.

    It listens at once, so that of two servers started together one is refused here; callers that
    come before the routes exist wait. Raises StartError if the address cannot be had.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except socket.gaierror as error:
        raise StartError(f"--server-name {host}: {error.strerror}") from None
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise StartError(_refusal(host, port, error)) from None
    return listener


def _refusal(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {port} on {host} is in use; choose another with --port"
    if error.errno == errno.EACCES:
        return f"port {port} needs privileges; choose one above 1023 with --port"
    return f"cannot listen on {host} port {port}: {error.strerror}"


def _create(*folders: Path) -> None:
    for folder in folders:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StartError(f"cannot create the folder {folder}: {error.strerror}") from None


def _probe(folder: Path) -> None:
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise StartError(f"the folder {folder} cannot be written: {error.strerror}") from None
