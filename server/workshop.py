"""What the server lends to extensions: files, sessions, faces, upscalers, restorers, threads."""

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

from PIL import Image

from extensions.protocol import BadScriptArgs, Host, Missing, Workshop
from extensions.wanted import Pictures, Wanted
from models.errors import CheckpointError
from models.onnx import NoOnnxruntime, session_options
from models.tool_files import ToolFiles
from pipelines.pictures.upscale import Tick, enlarge, unwatched
from pipelines.watch import Watch

from .heavy import heavy
from .names import names, why_no_restorer
from .options import Options
from .services import Services


class Hurry(Exception):
    """Raised by the tick of an upscaler: the job is to stop, and what is quick will do."""


_PART = "roop"
"""What `--use-cpu` calls the sessions of extensions."""
_QUICK = "Lanczos"


def workshop(services: Services, options: Options) -> Workshop:
    """What an extension may borrow that no job runs for."""
    return Workshop(**lent(services, options))


def host(
    services: Services,
    options: Options,
    watch: Watch,
    *,
    check: Callable[[Wanted], None],
    generate: Callable[[Wanted, Mapping[str, object]], Pictures],
    describe: Callable[[Pictures, Mapping[str, object]], str],
) -> Host:
    """What an extension may ask for within the job of `watch`; how it draws is for the caller."""

    def stopped() -> bool:
        return watch.interrupted or watch.cancelled

    def tick(share: float) -> None:
        if watch.stopping or watch.cancelled:
            raise Hurry

    def find_checkpoint(name: str) -> str | None:
        found = services.library.checkpoints.closest(name)
        return None if found is None else found.name

    return Host(
        **lent(services, options, tick),
        expect=watch.expect_plans,
        check=check,
        generate=generate,
        describe=describe,
        stopped=stopped,
        skipped=lambda: watch.progress().skipped,
        find_checkpoint=find_checkpoint,
    )


def lent(services: Services, options: Options, tick: Tick = unwatched) -> dict[str, Any]:
    """The fields of a `Workshop`; `tick` is told how far an upscaler is."""
    device = services.settings.device_for(_PART)

    def session(key: Hashable, files: Sequence[Path], open: Callable[[], Any]) -> Any:
        # what is opened may import what the device room imports too
        heavy()
        with _missing():
            return services.sessions.get(key, files, open)

    def onnx() -> Mapping[str, Any]:
        with _missing():
            return session_options(str(heavy().torch_device(device)))

    def faces(image: Image.Image) -> Sequence[Any]:
        with _missing():
            return services.tools.faces(image)

    def upscale(image: Image.Image, name: str, scale: float) -> Image.Image:
        with _missing():
            return _upscale(services, image, name, scale, tick)

    def restore(image: Image.Image, name: str, weight: float) -> Image.Image:
        with _missing():
            return _restored(services, image, name, weight, tick)

    return {
        "options": MappingProxyType(options.as_wire()),
        "names": names(services.library, services.tools),
        "folder": lambda kind: _files(services, kind).folder,
        "weights": lambda kind: _weights(services, kind),
        "session": session,
        "onnx": onnx,
        "faces": faces,
        "upscale": upscale,
        "restore": restore,
        "beside": services.workers.beside,
    }


@contextmanager
def _missing() -> Iterator[None]:
    """What the models room says of files and packages, as extensions know it."""
    try:
        yield
    except (CheckpointError, NoOnnxruntime) as error:
        raise Missing(str(error)) from error


def _files(services: Services, kind: str) -> ToolFiles:
    found = services.library.tools.get(kind)
    if found is None:
        there = ", ".join(services.library.tools)
        raise KeyError(f"no kind of weights {kind!r}: there are {there}")
    return found


def _weights(services: Services, kind: str) -> Mapping[str, Path]:
    return MappingProxyType({file.name: file.path for file in _files(services, kind).files()})


def _upscale(
    services: Services, image: Image.Image, name: str, scale: float, tick: Tick
) -> Image.Image:
    upscaler = services.tools.upscalers.get(name)
    if upscaler is None:
        there = ", ".join(services.tools.upscalers)
        raise BadScriptArgs(f"upscaler {name!r:.80}: allowed are {there}")
    try:
        return enlarge(image, scale, upscaler, tick)
    except Hurry:
        return enlarge(image, scale, _QUICK)


def _restored(
    services: Services, image: Image.Image, name: str, weight: float, tick: Tick
) -> Image.Image:
    restorer = services.tools.restorers.get(name)
    if restorer is None:
        raise Missing(f"{why_no_restorer(name, services.library)}; faces are left as they are")
    try:
        return restorer(image, weight, tick)
    except Hurry:
        return image
