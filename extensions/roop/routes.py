"""roop by routes of its own: a swap in one picture, and the models there are."""

from collections.abc import Mapping
from typing import Any

from ..protocol import BadScriptArgs, Route, Workshop
from .args import ImageArgs, NoArgs, order_of_image
from .swap import swap
from .swapper import FOLDER


def models(workshop: Workshop, args: NoArgs) -> Mapping[str, Any]:
    """The names of the models there are; without one named, the first is used."""
    return {"models": list(workshop.weights(FOLDER))}


def image(workshop: Workshop, args: ImageArgs) -> Mapping[str, Any]:
    """The target with swapped faces; `info` says in words what became of it.

    Raises BadScriptArgs for a picture that is left out and numbers that are out of bounds.
    """
    order = order_of_image(args)
    if args.source_image is None or args.target_image is None:
        lacking = "source_image" if args.source_image is None else "target_image"
        raise BadScriptArgs(f"{lacking} is missing: a picture in base64, or its address")
    outcome = swap(workshop, args.target_image, order)
    return {"image": outcome.image, "info": outcome.told}


ROUTES = (
    Route(path="/roop/models", call=models, args=NoArgs),
    Route(path="/roop/image", call=image, args=ImageArgs),
)
