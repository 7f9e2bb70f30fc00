"""sd-backend-client 0.5.0, whose replies are checked against its own typed models."""

from typing import Any

import numpy as np
import pytest
from PIL import Image
from sd_backend_client import (
    A1111Webservice,
    DiffusionRequestBody,
    GenerationStatus,
    ServerError,
    connect_to_backend,
)

from tests.e2e.launched import Launched

from .calls import SD15_HASH, noise, right_half, until


@pytest.fixture
def backend(server: Launched) -> A1111Webservice:
    found = connect_to_backend(f"http://127.0.0.1:{server.port}")
    assert isinstance(found, A1111Webservice)
    return found


def body(**changes: Any) -> DiffusionRequestBody:
    fields: dict[str, Any] = {
        "prompt": "1 girl",
        "steps": 3,
        "width": 64,
        "height": 64,
        "seed": 1,
        "batch_size": 1,
    }
    return DiffusionRequestBody(**(fields | changes))


def test_typed_lists(backend: A1111Webservice) -> None:
    assert backend.login_check().status_code == 200  # type: ignore[no-untyped-call]
    assert backend.progress_check().state.job_count == 0
    assert backend.get_models()[0].title.startswith("tiny-sd15")
    assert backend.get_vae() == []
    assert {"Euler a", "DDIM"} < {each.name for each in backend.get_samplers()}
    assert [each.scale for each in backend.get_upscalers()][:2] == [4.0, 4.0]
    assert backend.get_latent_upscale_modes()[0] == "Latent"
    assert backend.get_hypernetworks() == []
    assert backend.get_styles()[0].name == "Tiny wrap"
    assert "soft inpainting" in backend.get_scripts().img2img
    assert any(each.name == "x/y/z plot" for each in backend.get_script_info())
    assert backend.get_config()["sd_model_checkpoint"].startswith("tiny-sd15")


def test_refreshing(backend: A1111Webservice) -> None:
    for call in (backend.refresh_checkpoints, backend.refresh_vae, backend.refresh_loras):
        assert call().status_code == 200


def test_a_picture_and_its_typed_info(backend: A1111Webservice) -> None:
    answer = backend.txt2img(body(batch_size=2))

    assert [image.size for image in answer["images"]] == [(64, 64)] * 2
    info = answer["info"]
    assert info is not None
    assert (info.all_seeds, info.sd_model_hash, info.version) == ([1, 2], SD15_HASH, "v1.10.1")


def test_a_job_that_is_waited_for(backend: A1111Webservice) -> None:
    handle = backend.submit_txt2img(body(steps=60))

    result = handle.wait(60)

    assert handle.poll().status is GenerationStatus.FINISHED
    assert [image.size for image in result.images] == [(64, 64)]


def test_a_job_that_is_cancelled(backend: A1111Webservice) -> None:
    handle = backend.submit_txt2img(body(steps=1000))
    while not (handle.poll().progress or 0) > 0.02:
        pass

    handle.cancel()

    until(lambda: handle.poll().done)
    assert handle.poll().status is GenerationStatus.CANCELLED
    assert backend.txt2img(body())["images"]


def test_inpainting(backend: A1111Webservice) -> None:
    picture, mask = Image.fromarray(noise()), Image.fromarray(right_half())
    masked = body(init_images=[picture], mask=mask, mask_blur=0, inpaint_full_res=False)

    (drawn,) = backend.submit_inpaint(masked).wait(60).images

    assert np.array_equal(np.asarray(drawn.convert("RGB"))[:, :32], noise()[:, :32])


def test_upscaling(backend: A1111Webservice) -> None:
    (drawn,) = backend.upscale(Image.fromarray(noise()), 160, 160)["images"]
    assert drawn.size == (160, 160)


def test_the_model_is_switched(backend: A1111Webservice) -> None:
    backend.set_config({"sd_model_checkpoint": "tiny-vpred.safetensors"})
    info = backend.txt2img(body())["info"]
    assert info is not None
    assert info.sd_model_name == "tiny-vpred"


def test_an_extension_that_is_not_there(backend: A1111Webservice) -> None:
    with pytest.raises(ServerError):
        backend.get_controlnet_version()
