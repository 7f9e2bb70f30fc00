"""A model of rembg that has been opened, with what its code takes for granted checked."""

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..protocol import Missing
from . import library
from .models import CLOTHES, CUSTOM, Model

_U2NET = (320, 320)
_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""Mean and deviation of the colours that U2Net was trained on."""
_MAX_SIDE = 4096
_CLASSES = 4


class BrokenModel(Missing):
    """A file is no model that cuts pictures out; the text names it."""

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(f"{path.name}: {why}")


class _Flat(Exception):
    """All of a mask is one value, which rembg would divide by 0 to spread it."""

    def __init__(self, value: float) -> None:
        super().__init__(value)
        self.value = value


class Net:
    """For any number of threads, of which one at a time runs it: a run takes hundreds of MB."""

    def __init__(self, model: Model, onnx: Mapping[str, Any]) -> None:
        """Read the file; `onnx` has onnxruntime's `providers` and `sess_options`, to be kept.

        Raises BrokenModel, and Missing where rembg is not installed.
        """
        self._model = model
        kind = _local(library.session_class(model.base), model)
        # an arena keeps all that the largest run took, 1 to 2 GB of ISNet's; without it a run takes
        # a tenth to a third longer, and gives it back
        onnx["sess_options"].enable_cpu_mem_arena = False
        try:
            self._session = kind(
                model.name,
                onnx["sess_options"],
                providers=list(onnx["providers"]),
                model_path=str(model.path),
            )
        except library.failures() as error:
            raise BrokenModel(model.path, f"onnxruntime cannot read it ({error!s:.300})") from error
        self._session.inner_session = _Checked(model, self._session.inner_session)

    def masks(self, picture: Image.Image) -> list[Image.Image]:
        """What belongs to the foreground of a picture (RGB, RGBA): "L", of the picture's size.

        One mask, of `CLOTHES` three. Where the model makes no difference anywhere, all of the
        picture belongs to it or nothing. Raises BrokenModel.
        """
        try:
            # a logit far below 0 is certainty, and no mistake
            with np.errstate(over="ignore"):
                masks: list[Image.Image] = self._session.predict(picture)
        except _Flat as flat:
            sure = flat.value > (0 if self._model.in_logits else 0.5)
            return [Image.new("L", picture.size, 255 if sure else 0)]
        return masks


def _local(base: Any, model: Model) -> Any:
    """A class of rembg that takes the file at hand, in the size that the file has."""

    def download_models(_: Any, *__: Any, **___: Any) -> str:
        return str(model.path)

    def normalize(self: Any, image: Any, mean: Any, std: Any, size: Any) -> Any:
        size = self.inner_session.size or size
        if model.base == CUSTOM and size == _U2NET:
            mean, std = _IMAGENET
        return base.normalize(self, image, mean, std, size)

    own = {"download_models": classmethod(download_models), "normalize": normalize}
    return type(base.__name__, (base,), own)


class _Checked:
    """An onnxruntime session as rembg uses it, of which only the first output is computed."""

    def __init__(self, model: Model, session: Any) -> None:
        """Raises BrokenModel for a model that takes or gives something else than pictures."""
        self._model, self._session = model, session
        self._turn = threading.Lock()
        self._failures = library.failures()
        inputs, outputs = session.get_inputs(), session.get_outputs()
        if len(inputs) != 1 or not outputs:
            names = ", ".join(each.name for each in inputs)
            raise BrokenModel(model.path, f"takes {names or 'nothing'}; one picture is allowed")
        shape, kind = inputs[0].shape, inputs[0].type
        told = f"takes {kind} {list(shape)}"
        if kind != "tensor(float)" or len(shape) != 4:
            raise BrokenModel(model.path, f"{told}; tensor(float) [1, 3, height, width] is allowed")
        if not (_fits(shape[0], 1) and _fits(shape[1], 3)):
            raise BrokenModel(model.path, f"{told}; [1, 3, height, width] is allowed")
        sides = [each for each in shape[2:] if isinstance(each, int)]
        if any(not 1 <= side <= _MAX_SIDE for side in sides):
            raise BrokenModel(model.path, f"{told}; sides of 1 to {_MAX_SIDE} are allowed")
        #: width and height where the file has both
        self.size = (sides[1], sides[0]) if len(sides) == 2 else None
        self._first = outputs[0].name

    def get_inputs(self) -> Any:
        """Its inputs, of which rembg asks the name."""
        return self._session.get_inputs()

    def run(
        self, _: object, feed: Mapping[str, NDArray[np.float32]]
    ) -> Sequence[NDArray[np.float32]]:
        """The first output: [1, classes, height, width]."""
        try:
            with self._turn:
                outs = self._session.run([self._first], feed)
        except self._failures as error:
            raise BrokenModel(
                self._model.path, f"onnxruntime cannot run it ({error!s:.300})"
            ) from error
        out = np.asarray(outs[0], dtype=np.float32)
        classes = _CLASSES if self._model.base == CLOTHES else 1
        if out.ndim != 4 or out.shape[0] != 1 or out.shape[1] < classes or min(out.shape[2:]) < 2:
            allowed = f"[1, {classes}, height, width] is allowed"
            raise BrokenModel(self._model.path, f"gives {list(out.shape)}; {allowed}")
        if not np.isfinite(out).all():
            raise BrokenModel(self._model.path, "gives what is not a number")
        if classes == 1:
            low, high = out[:, 0].min(), out[:, 0].max()
            if low == high:
                raise _Flat(float(low))
        return (out,)


def _fits(given: object, size: int) -> bool:
    """Whether a file takes a size: it has that very one, or leaves it open by a name or None."""
    return not isinstance(given, int) or given == size
