"""Addresses in place of pictures, by every route that takes one."""

import base64
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from fastapi.testclient import TestClient

from server.services import Services

from ..test_remote import Site, page, png, serve

IMG2IMG = {"prompt": "a", "steps": 1, "width": 64, "height": 64, "seed": 1, "send_images": False}


def body_of(route: str, picture: str) -> dict[str, Any]:
    bodies: dict[str, dict[str, Any]] = {
        "img2img": {**IMG2IMG, "init_images": [picture], "include_init_images": True},
        "png-info": {"image": picture},
        "interrogate": {"image": picture, "model": "none"},
        "extra-single-image": {"image": picture, "upscaler_1": "Lanczos"},
        "extra-batch-images": {"imageList": [{"data": picture, "name": "x"}]},
    }
    return bodies[route]


ROUTES = ("img2img", "png-info", "interrogate", "extra-single-image", "extra-batch-images")


@pytest.fixture
def site() -> Iterator[Site]:
    yield from serve()


@pytest.fixture
def trusting(client: TestClient) -> Iterator[TestClient]:
    """A server whose owner lets it call its own network."""
    served: Services = client.app.state.services  # type: ignore[attr-defined]
    before = served.options._current
    served.options._current = replace(before, api_forbid_local_requests=False)
    yield client
    served.options._current = before


@pytest.mark.parametrize("route", ROUTES)
def test_a_public_picture_serves_as_one_in_base64(
    trusting: TestClient, site: Site, route: str
) -> None:
    site.pages["/x.png"] = page(200, png())
    sent = base64.b64encode(png()).decode()
    asked, plain = (
        trusting.post(f"/sdapi/v1/{route}", json=body_of(route, picture))
        for picture in (site.at("/x.png"), sent)
    )
    assert len(site.asked) == 1
    assert asked.status_code == plain.status_code
    if route != "img2img":
        assert asked.json() == plain.json()
    else:
        assert asked.json()["parameters"]["init_images"] == [site.at("/x.png")]


@pytest.mark.parametrize("route", ROUTES)
def test_what_may_not_be_fetched_is_refused_in_the_words_of_the_wire(
    client: TestClient, site: Site, route: str
) -> None:
    answer = client.post(f"/sdapi/v1/{route}", json=body_of(route, site.at("/x.png")))
    assert answer.status_code == 500
    assert answer.json() == {
        "error": "HTTPException",
        "detail": "Request to local resource not allowed",
        "body": "",
        "errors": "",
    }
    assert not site.asked


def test_no_picture_at_an_address(trusting: TestClient, site: Site) -> None:
    site.pages["/x.html"] = page(200, b"<html>")
    for path in ("/x.html", "/none"):
        answer = trusting.post("/sdapi/v1/png-info", json={"image": site.at(path)})
        assert (answer.status_code, answer.json()["detail"]) == (500, "Invalid image url")


def test_clients_cannot_loosen_the_guard(client: TestClient, site: Site) -> None:
    loose = {"api_forbid_local_requests": False, "api_enable_requests": True}
    client.post("/sdapi/v1/options", json=loose)
    body = {**body_of("img2img", site.at("/x.png")), "override_settings": loose}
    for answer in (
        client.post("/sdapi/v1/img2img", json=body),
        client.post("/sdapi/v1/img2img", json={**body, "mask": site.at("/m.png")}),
    ):
        assert answer.json()["detail"] == "Request to local resource not allowed"
    assert not site.asked
