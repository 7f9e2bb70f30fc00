"""Lets torchvision be imported beside a torch that its compiled part was not built for.

Its wheels are built for CUDA. On a CPU build of torch, or on one of another CUDA, its library
cannot be loaded, and importing it fails where it describes operators that are then unknown;
diffusers and transformers, which import it where it is installed, fail with it. Nothing here calls
those operators: that they are declared is enough.

This runs when it is imported, and must do so before diffusers, transformers and spandrel.
"""

from importlib.util import find_spec
from pathlib import Path

import torch

_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)


def _declared() -> torch.library.Library | None:
    """The operators, declared where torchvision is here without them; to be kept alive."""
    spec = find_spec("torchvision")
    if spec is None or spec.origin is None:
        return None
    for compiled in Path(spec.origin).parent.glob("_C*.so"):
        try:
            torch.ops.load_library(compiled)  # type: ignore[no-untyped-call]
        except OSError:
            continue
        return None
    library = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
    for schema in _SCHEMAS:
        library.define(schema)  # type: ignore[no-untyped-call]
    return library


DECLARED = _declared()
"""None where torchvision is whole, or not installed."""
