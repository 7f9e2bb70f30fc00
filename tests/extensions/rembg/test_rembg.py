"""The extension as the server uses it: its route, and its hook in a job."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
from PIL import Image

from extensions.binding import bind, describe
from extensions.protocol import BadScriptArgs, Missing, Workshop
from extensions.rembg import EXTENSION
from extensions.rembg.args import RouteArgs
from extensions.wanted import NoPicture, Wanted
from models.sessions import SessionCache
from tests.extensions.rembg.standins import disc, host, inside, workshop

WANTED = Wanted("txt2img", MappingProxyType({}))
(ROUTE,) = EXTENSION.routes


def post(shop: Workshop, **args: Any) -> Mapping[str, Any] | None:
    return ROUTE.call(shop, RouteArgs(**args))


def begin(folder: Path, *sent: Any, **named: Any) -> Any:
    assert EXTENSION.begin is not None
    return EXTENSION.begin(host(folder), WANTED, bind(EXTENSION, named or sent))


@pytest.mark.parametrize("field", ["input_image", "image"])
def test_the_route_cuts_a_picture_sent_under_either_name(field: str, shop: Workshop) -> None:
    reply = post(shop, **{field: disc(), "model": "u2net_human_seg"})
    assert reply is not None
    assert list(reply) == ["image"]
    assert reply["image"].mode == "RGBA"
    np.testing.assert_array_equal(np.asarray(reply["image"])[..., 3], inside() * 255)


def test_of_two_pictures_input_image_is_taken(shop: Workshop) -> None:
    reply = post(shop, input_image=disc((8, 8)), image=disc((9, 9)))
    assert reply is not None
    assert reply["image"].size == (8, 8)


def test_the_route_gives_the_mask_on_demand(shop: Workshop) -> None:
    reply = post(shop, image=disc(), return_mask=True)
    assert reply is not None
    assert reply["image"].mode == "L"
    np.testing.assert_array_equal(np.asarray(reply["image"]), inside() * 255)


@pytest.mark.parametrize("model", ["", "None"])
def test_no_model_is_null(model: str, shop: Workshop) -> None:
    assert post(shop, model=model) is None
    assert post(shop, model=model, image=disc(), alpha_matting_erode_size=-1) is None


def test_no_picture_is_told(shop: Workshop) -> None:
    with pytest.raises(NoPicture):
        post(shop)


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("alpha_matting_foreground_threshold", 256, "0 to 255"),
        ("alpha_matting_foreground_threshold", -1, "0 to 255"),
        ("alpha_matting_background_threshold", 10**6, "0 to 255"),
        ("alpha_matting_erode_size", -1, "0 to 40"),
        ("alpha_matting_erode_size", 10**6, "0 to 40"),
    ],
)
def test_numbers_out_of_bounds_are_named(
    name: str, value: int, allowed: str, shop: Workshop, folder: Path
) -> None:
    said = f"^{name} {value}: allowed are {allowed}$"
    with pytest.raises(BadScriptArgs, match=said):
        post(shop, image=disc(), **{name: value})
    with pytest.raises(BadScriptArgs, match=said):
        begin(folder, **{name: value})


def test_the_bounds_themselves_are_allowed(shop: Workshop) -> None:
    for level, side in ((0, 0), (255, 40)):
        reply = post(
            shop,
            image=disc((64, 64)),
            alpha_matting=True,
            alpha_matting_foreground_threshold=level,
            alpha_matting_background_threshold=level,
            alpha_matting_erode_size=side,
        )
        assert reply is not None
        assert reply["image"].size == (64, 64)


def test_matting_that_was_left_out_is_told(shop: Workshop) -> None:
    reply = post(shop, image=Image.new("RGB", (30, 30), (255, 0, 0)), alpha_matting=True)
    assert reply is not None
    assert reply["warning"].startswith("left out: Trimap did not contain background")
    assert reply["image"].getextrema() == ((255, 255), (0, 0), (0, 0), (255, 255))


def test_clothes_are_three_pictures_high(shop: Workshop) -> None:
    reply = post(shop, image=Image.new("RGB", (50, 20), (0, 255, 0)), model="u2net_cloth_seg")
    assert reply is not None
    alpha = np.asarray(reply["image"])[..., 3]
    assert alpha.shape == (60, 50)
    assert [alpha[top : top + 20].mean() for top in (0, 20, 40)] == [0, 255, 0]


def test_a_model_is_opened_once_for_route_and_hooks(folder: Path) -> None:
    cache = SessionCache(2**30)
    shop = workshop(folder, cache)
    seen: list[Any] = []

    def session(*args: Any) -> Any:
        seen.append(cache.get(*args))
        return seen[-1]

    counting = replace(shop, session=session)
    for _ in range(3):
        post(counting, image=disc((16, 16)))
    post(counting, image=disc((16, 16)), model="u2net_human_seg")
    assert seen[0] is seen[1] is seen[2]
    assert seen[3] is not seen[0]
    sizes = [(folder / f"{name}.onnx").stat().st_size for name in ("u2net", "u2net_human_seg")]
    assert cache.held == sum(sizes)


def test_an_unknown_model_opens_nothing(folder: Path) -> None:
    cache = SessionCache(2**30)
    with pytest.raises(BadScriptArgs, match=r"'\.\./u2net'"):
        post(workshop(folder, cache), image=disc(), model="../u2net")
    with pytest.raises(Missing, match=r"put u2netp\.onnx into "):
        post(workshop(folder, cache), image=disc(), model="u2netp")
    assert cache.held == 0


@pytest.mark.parametrize(
    ("sent", "named"),
    [
        ((), {}),
        (("u2net",), {}),
        (("u2net_human_seg", False, False, 240, 10, 10, "too many"), {}),
        ((), {"model": "u2net"}),
    ],
)
def test_the_hook_cuts_every_picture_of_a_job(
    sent: tuple[Any, ...], named: dict[str, Any], folder: Path
) -> None:
    hook = begin(folder, *sent, **named)
    assert hook.before_job(WANTED) is WANTED
    for _ in range(2):
        touched = hook.finish(disc())
        assert touched.told == {"Rembg": (sent or ("u2net",))[0]}
        np.testing.assert_array_equal(np.asarray(touched.image)[..., 3], inside() * 255)
    assert hook.after_batch(0, [disc()]) == ()


def test_the_hook_tells_of_matting_that_was_left_out(folder: Path) -> None:
    touched = begin(folder, alpha_matting=True).finish(Image.new("RGB", (20, 20)))
    assert touched.told["Rembg"] == "u2net"
    assert touched.told["Rembg alpha matting"].startswith("left out: Trimap")


@pytest.mark.parametrize("model", ["", "None"])
def test_a_hook_without_a_model_changes_nothing(model: str, folder: Path) -> None:
    picture = disc()
    touched = begin(folder, model).finish(picture)
    assert touched.image is picture
    assert touched.told == {}


def test_a_hook_that_cannot_run_says_so_before_anything_is_drawn(folder: Path) -> None:
    with pytest.raises(BadScriptArgs, match="model 'atlascloud': allowed are u2net, "):
        begin(folder, "atlascloud")
    with pytest.raises(Missing, match=r"put silueta\.onnx into "):
        begin(folder, "silueta")


def test_clients_are_told_of_the_arguments_in_the_order_of_the_wire() -> None:
    told = list(describe(EXTENSION, "txt2img", {}))
    assert [each["value"] for each in told] == ["u2net", False, False, 240, 10, 10]
    assert told[0]["choices"] == [
        *("None", "u2net", "u2netp", "u2net_human_seg", "u2net_cloth_seg", "silueta"),
        *("isnet-general-use", "isnet-anime", "birefnet-general", "birefnet-general-lite"),
        *("birefnet-general-fp16", "birefnet-portrait", "birefnet-dis", "birefnet-hrsod"),
        *("birefnet-cod", "birefnet-massive", "bria-rmbg"),
    ]
    assert (told[3]["minimum"], told[3]["maximum"]) == (0, 255)
    assert (told[5]["minimum"], told[5]["maximum"]) == (0, 40)


def test_the_route_has_the_fields_of_the_contract() -> None:
    assert ROUTE.path == "/rembg"
    assert ROUTE.args is RouteArgs
    sent = RouteArgs()
    assert {name: getattr(sent, name) for name in RouteArgs.__dataclass_fields__} == {
        "model": "u2net",
        "return_mask": False,
        "alpha_matting": False,
        "alpha_matting_foreground_threshold": 240,
        "alpha_matting_background_threshold": 10,
        "alpha_matting_erode_size": 10,
        "input_image": None,
        "image": None,
    }
