"""SDXL, its refiner and SD2 through the whole server, with a LoRA and an embedding."""

import base64
import io
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from fastapi.testclient import TestClient
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import save_file

from server.app import create_app
from server.settings import parse

from ..models.families.tiny_xl import TINY, write_tiny
from ..models.files import REFERENCE

Pixels = NDArray[np.int16]
LAYER = "lora_unet_input_blocks_4_1_proj_in"


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    folder = tmp_path_factory.mktemp("families")
    models = folder / "models"
    for kind in ("sdxl", "refiner", "sd2"):
        write_tiny(models / "Stable-diffusion" / f"{kind}.safetensors", kind, dtype=torch.float32)
    width = TINY["sdxl"].unet.widths[1]
    (models / "Lora").mkdir()
    generator = torch.Generator().manual_seed(1)
    parts = {"lora_down": (4, width), "lora_up": (width, 4)}
    lora = {
        f"{LAYER}.{part}.weight": torch.randn(shape, generator=generator)
        for part, shape in parts.items()
    }
    save_file(lora, models / "Lora" / "mine.safetensors")
    wrong = (REFERENCE / "Lora" / "tinylora.safetensors").read_bytes()
    (models / "Lora" / "wrong.safetensors").write_bytes(wrong)
    (folder / "embeddings").mkdir()
    widths = [text.width for text in TINY["sdxl"].texts]
    vectors = {
        key: torch.randn((2, each), generator=generator) * 3
        for key, each in zip(("clip_l", "clip_g"), widths, strict=True)
    }
    save_file(vectors, folder / "embeddings" / "emb.safetensors")
    flags = ["--data-dir", str(folder), "--use-cpu", "all", "--no-background-hashing"]
    with TestClient(create_app(parse(flags))) as made:
        yield made


def drawn(client: TestClient, checkpoint: str, **more: Any) -> tuple[Pixels, dict[str, Any], str]:
    """The picture, `info`, and the warnings of a small request."""
    body = {
        "prompt": "a red circle",
        "steps": 2,
        "width": 64,
        "height": 64,
        "seed": 1,
        "sampler_name": "Euler",
        "override_settings": {"sd_model_checkpoint": checkpoint, "randn_source": "CPU"},
    }
    reply = client.post("/sdapi/v1/txt2img", json=body | more)
    assert reply.status_code == 200, reply.text
    with Image.open(io.BytesIO(base64.b64decode(reply.json()["images"][0]))) as image:
        pixels = np.asarray(image.convert("RGB"), np.int16)
    assert pixels.std() > 2, "a flat picture proves nothing"
    return pixels, json.loads(reply.json()["info"]), reply.headers.get("X-Darkroom-Warning", "")


def test_every_family_draws_what_its_prompt_says(client: TestClient) -> None:
    for checkpoint in ("sdxl", "sd2", "refiner"):
        pixels, info, warning = drawn(client, checkpoint)
        assert f"Model: {checkpoint}" in info["infotexts"][0]
        assert warning == ""
        again, *_ = drawn(client, checkpoint)
        assert np.array_equal(pixels, again)
        other, *_ = drawn(client, checkpoint, prompt="a blue square")
        assert not np.array_equal(pixels, other)


def test_the_refiner_changes_the_picture_and_is_told(client: TestClient) -> None:
    plain, *_ = drawn(client, "sdxl")
    refined = {"refiner_checkpoint": "refiner", "refiner_switch_at": 0.5}
    pixels, info, _ = drawn(client, "sdxl", **refined)
    assert not np.array_equal(plain, pixels)
    assert "Refiner: refiner" in info["infotexts"][0]
    assert np.array_equal(plain, drawn(client, "sdxl")[0])


def test_a_lora_of_sdxl_is_worn_for_its_job_alone(client: TestClient) -> None:
    plain, *_ = drawn(client, "sdxl")
    pixels, _, warning = drawn(client, "sdxl", prompt="a red circle <lora:mine:1>")
    assert warning == ""
    assert not np.array_equal(plain, pixels)
    assert np.array_equal(plain, drawn(client, "sdxl")[0])


def test_a_lora_of_another_family_is_warned_of(client: TestClient) -> None:
    _, _, warning = drawn(client, "sdxl", prompt="a red circle <lora:wrong:1>")
    assert "wrong" in warning
    assert "SDXL" in warning


def test_an_embedding_of_sdxl_counts_there_and_is_skipped_elsewhere(client: TestClient) -> None:
    plain, *_ = drawn(client, "sdxl", prompt="a circle")
    pixels, info, _ = drawn(client, "sdxl", prompt="a emb circle")
    assert not np.array_equal(plain, pixels)
    assert "TI hashes" in info["infotexts"][0]
    assert list(client.get("/sdapi/v1/embeddings").json()["loaded"]) == ["emb"]
    _, info, _ = drawn(client, "sd2", prompt="a emb circle")
    assert "TI hashes" not in info["infotexts"][0]
    assert list(client.get("/sdapi/v1/embeddings").json()["skipped"]) == ["emb"]


def test_sizes_are_conditioning_for_sdxl(client: TestClient) -> None:
    settings = {"sd_model_checkpoint": "sdxl", "randn_source": "CPU", "sdxl_crop_top": 512}
    plain, *_ = drawn(client, "sdxl")
    cropped, *_ = drawn(client, "sdxl", override_settings=settings)
    assert not np.array_equal(plain, cropped)
