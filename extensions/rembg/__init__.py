"""Rembg: the background of a picture taken away, by the rembg package and weights found here.

A route of its own, always on for generations that name it, and a step of extras. What is cut out
has the size of the picture; of u2net_cloth_seg it is three pictures one above another, which show
upper body, lower body and whole dresses. What was transparent stays so.
"""

from collections.abc import Hashable, Mapping
from typing import Any

from PIL.Image import Image

from ..protocol import Extension, Hook, Host, Route, Touched, Workshop
from ..wanted import NoPicture, Wanted
from .args import Args, RouteArgs, check
from .cutting import Cut, cut
from .models import Model, find
from .net import Net


def remove_background(workshop: Workshop, args: RouteArgs) -> Mapping[str, Any] | None:
    """`POST /rembg`; null for the model "None".

    Beside the picture stands `warning` where alpha matting was asked for and could not be done.
    Raises BadScriptArgs, Missing, NoPicture and BrokenModel.
    """
    if args.off:
        return None
    picture = args.image if args.input_image is None else args.input_image
    if picture is None:
        raise NoPicture("neither input_image nor image was sent")
    check(args)
    done = _cut(workshop, find(workshop, args.model), picture, args)
    return {"image": done.image, "warning": done.note} if done.note else {"image": done.image}


class _Hook(Hook):
    """Cuts every picture of a job."""

    def __init__(self, host: Host, model: Model, args: Args) -> None:
        self._host, self._model, self._args = host, model, args

    def finish(self, image: Image) -> Touched:
        done = _cut(self._host, self._model, image, self._args)
        told = {"Rembg": self._model.name}
        if done.note:
            told["Rembg alpha matting"] = done.note
        return Touched(done.image, told)


def begin(host: Host, _: Wanted, args: Args) -> Hook:
    """The hook of one job. Raises BadScriptArgs and Missing before anything is drawn."""
    if args.off:
        return Hook()
    check(args)
    return _Hook(host, find(host, args.model), args)


def _cut(workshop: Workshop, model: Model, picture: Image, args: Args) -> Cut:
    key: Hashable = ("rembg", model.base, model.path)
    net: Net = workshop.session(key, (model.path,), lambda: Net(model, workshop.onnx()))
    return cut(net, picture, args)


EXTENSION = Extension(
    title="Rembg",
    modes=("txt2img", "img2img", "extras"),
    args=Args,
    begin=begin,
    routes=(Route(path="/rembg", call=remove_background, args=RouteArgs),),
)
