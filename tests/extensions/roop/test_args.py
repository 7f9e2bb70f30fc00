"""The arguments in the order of the wire, and what they come to."""

import dataclasses

import pytest
from PIL import Image

from extensions.protocol import BadScriptArgs
from extensions.roop.args import Args, ImageArgs, face_numbers, order_of, order_of_image


def test_the_arguments_are_those_of_the_wire_in_its_order_with_its_defaults() -> None:
    told = [(each.name, each.default) for each in dataclasses.fields(Args)]
    assert told == [
        ("img", None),
        ("enable", False),
        ("faces_index", "0"),
        ("model", None),
        ("face_restorer_name", "CodeFormer"),
        ("face_restorer_visibility", 1),
        ("upscaler_name", None),
        ("upscaler_scale", 1),
        ("upscaler_visibility", 1),
        ("swap_in_source", False),
        ("swap_in_generated", True),
    ]


def test_the_body_of_the_route_has_the_wires_defaults() -> None:
    told = {each.name: each.default for each in dataclasses.fields(ImageArgs)}
    assert told == {
        "source_image": None,
        "target_image": None,
        "face_index": (0,),
        "scale": 1,
        "upscaler": "None",
        "upscale_visibility": 1,
        "face_restorer": "None",
        "restorer_visibility": 1,
        "model": "inswapper_128.onnx",
    }


@pytest.mark.parametrize(
    ("sent", "numbers", "ignored"),
    [
        ("0", (0,), ()),
        ("", (0,), ()),
        (" , ", (0,), ()),
        (0, (0,), ()),
        (2, (2,), ()),
        ("2,0", (0, 2), ()),
        ("0, 2 ,2,", (0, 2), ()),
        (("0", "2"), (0, 2), ()),
        ([3, 1], (1, 3), ()),
        (("0,1", "4"), (0, 1, 4), ()),
        ((), (0,), ()),
        ("a,b", (0,), ("a", "b")),
        ("1,x", (1,), ("x",)),
        ("-1", (0,), ("-1",)),
        (-1, (0,), ("-1",)),
        ([-1, 2], (2,), ("-1",)),
        (999, (999,), ()),
        ("1.5", (0,), ("1.5",)),
        # a superscript and an Arabic two: numerals, but no number of a face
        ("\u00b2,\u0662", (0,), ("\u00b2", "\u0662")),
        ("9" * 5000, (0,), ("9" * 5000,)),
    ],
)
def test_numbers_of_faces(sent: object, numbers: tuple[int, ...], ignored: tuple[str, ...]) -> None:
    assert face_numbers(sent) == (numbers, ignored)  # type: ignore[arg-type]


def test_no_restorer_and_no_upscaler_go_by_several_names() -> None:
    for none in ("None", ""):
        order = order_of(Args(face_restorer_name=none, upscaler_name=none))
        assert (order.restorer, order.upscaler) == (None, None)
    order = order_of(Args(upscaler_name="Lanczos"))
    assert (order.restorer, order.upscaler) == ("CodeFormer", "Lanczos")


def test_an_empty_model_is_the_first() -> None:
    assert order_of(Args(model="")).model is None
    assert order_of(Args(model="a.onnx")).model == "a.onnx"


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (Args(face_restorer_visibility=1.5), "face_restorer_visibility 1.5: allowed are 0 to 1"),
        (Args(upscaler_name="x", upscaler_scale=1000), "upscaler_scale 1000: allowed are 1 to 8"),
        (Args(upscaler_name="x", upscaler_scale=0), "upscaler_scale 0: allowed are 1 to 8"),
        (Args(upscaler_name="x", upscaler_visibility=-1), "upscaler_visibility -1: allowed"),
    ],
)
def test_numbers_out_of_bounds_are_named(args: Args, message: str) -> None:
    with pytest.raises(BadScriptArgs, match=message):
        order_of(args)


def test_numbers_that_do_not_count_are_not_looked_at() -> None:
    order = order_of(Args(face_restorer_name="None", face_restorer_visibility=7, upscaler_scale=0))
    assert (order.restorer, order.upscaler) == (None, None)


def test_a_picture_by_the_route_is_ordered_alike() -> None:
    source = Image.new("RGB", (2, 2))
    order = order_of_image(
        ImageArgs(
            source_image=source,
            face_index=("1",),
            scale=2,
            upscaler="Lanczos",
            upscale_visibility=0.5,
            face_restorer="GFPGAN",
            restorer_visibility=0.25,
        )
    )
    assert order.source is source
    assert (order.faces, order.model) == ((1,), "inswapper_128.onnx")
    assert (order.upscaler, order.scale, order.upscaler_visibility) == ("Lanczos", 2, 0.5)
    assert (order.restorer, order.restorer_visibility) == ("GFPGAN", 0.25)
    with pytest.raises(BadScriptArgs, match="restorer_visibility 2: allowed"):
        order_of_image(ImageArgs(face_restorer="GFPGAN", restorer_visibility=2))
    with pytest.raises(BadScriptArgs, match="scale 9: allowed are 1 to 8"):
        order_of_image(ImageArgs(upscaler="Lanczos", scale=9))
