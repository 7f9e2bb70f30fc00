"""The one door to onnxruntime, which is an extra: it may not be installed; torch-free."""

import importlib
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from .errors import CorruptCheckpoint
from .onnx_file import read_onnx

_CPU, _CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
_DEVICE = re.compile(r"auto|cuda(?::(\d+))?")
#: severity of what is logged: what it warns of is nothing that a user can mend
_ERRORS_ALONE = 3


class NoOnnxruntime(RuntimeError):
    """onnxruntime is not installed."""

    def __init__(self) -> None:
        super().__init__("onnxruntime is not installed; ./launch.sh install brings it")


class _Slot(Protocol):
    """An input or output: a size that is open is a name, or None."""

    name: str
    shape: Sequence[int | str | None]


class _Session(Protocol):
    """An `onnxruntime.InferenceSession`, as far as it is used."""

    def get_inputs(self) -> Sequence[_Slot]: ...

    def get_outputs(self) -> Sequence[_Slot]: ...

    def run(
        self, output_names: Sequence[str], input_feed: Mapping[str, NDArray[np.float32]]
    ) -> Sequence[NDArray[np.float32]]: ...


def session_options(device: str) -> dict[str, Any]:
    """How sessions are opened: `providers` and `sess_options`, both of the caller's own.

    `device` is torch's name of it, or `auto`; on `cuda` and `auto` the CUDA provider comes before
    the CPU's where onnxruntime has it. All sessions opened so share the threads of `thread_budget`.
    Raises `NoOnnxruntime`.
    """
    runtime = _runtime()
    options = runtime.SessionOptions()
    options.log_severity_level = _ERRORS_ALONE
    if _threads_are_shared(runtime):
        options.use_per_session_threads = False
    else:
        options.intra_op_num_threads = thread_budget()
        options.inter_op_num_threads = 1
    return {"providers": _providers(runtime, device), "sess_options": options}


def thread_budget() -> int:
    """How many threads all sessions together compute with, the one that asks among them.

    All cores of this process but one, which is left to the thread that feeds the device; fewer
    where OMP_NUM_THREADS says so, as it does to torch.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    told = os.environ.get("OMP_NUM_THREADS", "")
    most = int(told) if told.isdecimal() and int(told) > 0 else cores
    return max(1, min(most or 1, (cores or 1) - 1))


def _threads_are_shared(runtime: Any) -> bool:
    """Whether there is one pool of threads for the process; made by who asks first."""
    # of newer versions alone
    make = getattr(runtime, "set_global_thread_pool_sizes", None)
    if make is None:
        return False
    try:
        make(thread_budget(), 1)
    except _failures(runtime) as error:
        # the library holds it, for every app of the process: none can make it anew, nor need to
        return "already" in str(error)
    return True


def _providers(runtime: Any, device: str) -> list[Any]:
    on_gpu = _DEVICE.fullmatch(device)
    if on_gpu is None or _CUDA not in runtime.get_available_providers():
        return [_CPU]
    # CUDA's own libraries lie in packages of their own, where the loader does not look
    preload = getattr(runtime, "preload_dlls", None)
    if preload is not None:
        preload()
    number = on_gpu[1]
    return [_CUDA if number in (None, "0") else (_CUDA, {"device_id": number}), _CPU]


class OnnxModel:
    """A model of one float32 input in memory, run on the CPU.

    Its failures are told as those of its file.
    """

    def __init__(self, path: Path) -> None:
        """Read the file. Raises `NoOnnxruntime` and CorruptCheckpoint."""
        runtime = _runtime()
        self._path = path
        self._failures = _failures(runtime)
        read_onnx(path)
        try:
            self._session: _Session = runtime.InferenceSession(str(path), **session_options("cpu"))
        except self._failures as error:
            raise CorruptCheckpoint(path, f"onnxruntime cannot read it ({error!s:.300})") from error
        if len(self._session.get_inputs()) != 1 or not self._session.get_outputs():
            raise CorruptCheckpoint(path, "not a model of one picture: it has other inputs")

    @property
    def shape(self) -> tuple[int | str | None, ...]:
        """Sizes of the input."""
        return tuple(self._session.get_inputs()[0].shape)

    def run(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """The first output for an input. Raises CorruptCheckpoint."""
        given, wanted = self._session.get_inputs()[0], self._session.get_outputs()[0]
        try:
            return np.asarray(self._session.run([wanted.name], {given.name: values})[0])
        except self._failures as error:
            raise CorruptCheckpoint(
                self._path, f"onnxruntime cannot run it ({error!s:.300})"
            ) from error


def onnx_failures() -> tuple[type[Exception], ...]:
    """What sessions raise: exceptions without a common class. Raises `NoOnnxruntime`."""
    return _failures(_runtime())


def _runtime() -> Any:
    try:
        return importlib.import_module("onnxruntime")
    except ImportError as error:
        raise NoOnnxruntime from error


def _failures(runtime: Any) -> tuple[type[Exception], ...]:
    """What its compiled part raises: exceptions without a common class of their own."""
    state = runtime.capi.onnxruntime_pybind11_state
    own = [each for each in vars(state).values() if isinstance(each, type)]
    raised = [each for each in own if issubclass(each, Exception)]
    return (*raised, ValueError, RuntimeError)
