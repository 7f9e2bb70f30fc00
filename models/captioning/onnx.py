"""The one door to onnxruntime, which is an extra: it may not be installed; torch-free."""

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..errors import CorruptCheckpoint


class NoOnnxruntime(RuntimeError):
    """onnxruntime is not installed."""

    def __init__(self) -> None:
        super().__init__("onnxruntime is not installed; EXTRAS=face ./launch.sh install brings it")


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


class OnnxModel:
    """A model of one float32 input in memory, run on the CPU.

    Its failures are told as those of its file.
    """

    def __init__(self, path: Path) -> None:
        """Read the file. Raises `NoOnnxruntime` and CorruptCheckpoint."""
        runtime = _runtime()
        self._path = path
        self._failures = _failures(runtime)
        options = runtime.SessionOptions()
        # errors alone: what it warns of is nothing that a user can mend
        options.log_severity_level = 3
        try:
            self._session: _Session = runtime.InferenceSession(
                str(path), sess_options=options, providers=["CPUExecutionProvider"]
            )
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
