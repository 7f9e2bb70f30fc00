"""What enlarges pictures, beside the reference's recordings."""

from fastapi import FastAPI
from fastapi.testclient import TestClient

from server.api import upscalers

from ..wire import recorded

app = FastAPI()
app.include_router(upscalers.router)
client = TestClient(app)


def test_upscalers_without_weights_are_listed_as_the_reference_lists_them() -> None:
    listed = client.get("/sdapi/v1/upscalers").json()
    reference = recorded("get_upscalers")["response"]
    assert listed == reference[: len(listed)]
    assert [list(each) for each in listed] == [list(reference[0])] * 3


def test_latent_upscale_modes_are_the_references() -> None:
    reference = recorded("get_latent_upscale_modes")["response"]
    assert client.get("/sdapi/v1/latent-upscale-modes").json() == reference
