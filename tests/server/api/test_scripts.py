"""`/scripts` and `/script-info` beside the reference's recordings."""

from typing import Any, cast

import pytest
from fastapi import FastAPI

from server.api import scripts

from ..wire import Wire, recorded

OURS = ("rembg", "roop")
"""Always-on extensions that the reference has not in itself."""


@pytest.fixture
def listing(wire: Wire) -> Wire:
    """The wire with the routes of scripts."""
    cast(FastAPI, wire.client.app).include_router(scripts.router)
    return wire


def test_titles_are_the_references_and_those_of_our_extensions(listing: Wire) -> None:
    ours = listing.client.get("/sdapi/v1/scripts").json()
    for mode, titles in recorded("get_scripts")["response"].items():
        assert [title for title in ours[mode] if title not in OURS] == titles
        assert [title for title in ours[mode] if title in OURS] == list(OURS)


def test_arguments_are_the_references_but_for_what_is_installed(listing: Wire) -> None:
    listed = listing.client.get("/sdapi/v1/script-info").json()
    ours = [each for each in listed if each["name"] not in OURS]
    reference = recorded("get_script_info")["response"]
    assert [each["name"] for each in ours] == [each["name"] for each in reference]
    for mine, theirs in zip(ours, reference, strict=True):
        assert list(mine) == list(theirs)
        assert _settled(mine) == _settled(theirs)


def _settled(script: dict[str, Any]) -> dict[str, Any]:
    """Without the names of upscalers and checkpoints, which differ from one server to another."""
    args = [
        {**each, "choices": bool(each["choices"])} if _is_listed(script, each) else each
        for each in script["args"]
    ]
    return {**script, "args": args}


def _is_listed(script: dict[str, Any], arg: dict[str, Any]) -> bool:
    return (script["name"], arg["label"]) in (("sd upscale", "Upscaler"), ("refiner", "Checkpoint"))


def test_our_extensions_are_told_with_their_arguments(listing: Wire) -> None:
    listed = listing.client.get("/sdapi/v1/script-info").json()
    ours = [each for each in listed if each["name"] in OURS]
    assert [(each["name"], each["is_img2img"]) for each in ours] == [
        ("rembg", False), ("roop", False), ("rembg", True), ("roop", True),
    ]  # fmt: skip
    for each in ours:
        assert each["is_alwayson"]
        assert list(each["args"][0]) == ["label", "value", "minimum", "maximum", "step", "choices"]
    # in the order of the wire, which clients send by place
    roop = ours[1]["args"]
    assert [arg["value"] for arg in roop[:3]] == [None, False, "0"]
    assert [arg["value"] for arg in roop[4:]] == ["CodeFormer", 1, None, 1, 1, False, True]
    assert roop[4]["choices"] == ["None", "CodeFormer", "GFPGAN"]
    assert roop[6]["choices"] == ["None", "Lanczos", "Nearest"]


def test_what_is_installed_is_named(listing: Wire) -> None:
    infos = listing.client.get("/sdapi/v1/script-info").json()
    upscale = next(each for each in infos if each["name"] == "sd upscale")
    refiner = next(each for each in infos if each["name"] == "refiner")
    assert upscale["args"][2]["choices"] == ["None", "Lanczos", "Nearest"]
    assert refiner["args"][1]["choices"][0] == "circles.safetensors [c1c1c1c1c1]"
