"""The routes: which models there are, and a swap in one picture."""

from typing import Any

import pytest
from PIL import Image

from extensions.protocol import BadScriptArgs
from extensions.roop import EXTENSION
from extensions.roop.args import ImageArgs, NoArgs

from .workshop import Fake, face

SOURCE, TARGET = (40, 40), (64, 64)
RED = (250, 10, 20)
ROUTES = {each.path: each for each in EXTENSION.routes}


def fake() -> Fake:
    return Fake({SOURCE: [face(20, 20, RED)], TARGET: [face(20, 32), face(44, 32)]})


def swapped(**fields: Any) -> tuple[Image.Image, str]:
    args = ImageArgs(
        source_image=Image.new("RGB", SOURCE), target_image=Image.new("RGB", TARGET), **fields
    )
    reply = ROUTES["/roop/image"].call(fake().workshop(), args)
    assert reply is not None
    return reply["image"], reply["info"]


def test_models_are_told_by_their_files_names() -> None:
    assert ROUTES["/roop/models"].call(fake().workshop(), NoArgs()) == {
        "models": ["inswapper_128.onnx"]
    }
    nothing = Fake({}, files={}).workshop()
    assert ROUTES["/roop/models"].call(nothing, NoArgs()) == {"models": []}


def test_a_picture_is_swapped_and_what_became_of_it_told() -> None:
    image, info = swapped()
    assert (image.getpixel((20, 32)), image.getpixel((44, 32))) == (RED, (0, 0, 0))
    assert info == "face 0 swapped by inswapper_128.onnx; safety not checked"
    image, info = swapped(face_index=[1, 7])
    assert (image.getpixel((20, 32)), image.getpixel((44, 32))) == ((0, 0, 0), RED)
    assert info.endswith("no face 7 of 2")


def test_an_unknown_model_leaves_the_picture() -> None:
    image, info = swapped(model="../evil.onnx")
    assert image.getpixel((20, 32)) == (0, 0, 0)
    assert info.startswith("not swapped: no such model '../evil.onnx'")


def test_pictures_must_be_there() -> None:
    call = ROUTES["/roop/image"].call
    with pytest.raises(BadScriptArgs, match="source_image is missing"):
        call(fake().workshop(), ImageArgs())
    with pytest.raises(BadScriptArgs, match="target_image is missing"):
        call(fake().workshop(), ImageArgs(source_image=Image.new("RGB", SOURCE)))
    with pytest.raises(BadScriptArgs, match="restorer_visibility 3"):
        swapped(face_restorer="GFPGAN", restorer_visibility=3)
