"""What onnxruntime raises, for extensions that use it."""

import importlib


def onnx_errors() -> tuple[type[Exception], ...]:
    """The exceptions of its compiled part, which have no common class. Raises ImportError."""
    state = importlib.import_module("onnxruntime.capi.onnxruntime_pybind11_state")
    own = [each for each in vars(state).values() if isinstance(each, type)]
    return tuple(each for each in own if issubclass(each, Exception))
