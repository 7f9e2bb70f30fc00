"""Hostile files among good ones, through the whole server: named in errors, in nobody's way."""

import base64
import io
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fastapi.testclient import TestClient
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import load_file, save_file
from structlog.testing import capture_logs
from torch import Tensor

from server.app import create_app
from server.settings import parse

from ..models.files import CHECKPOINTS, REFERENCE, raw_safetensors, sidecar_text, tensor

State = dict[str, Tensor]
UNET = "model.diffusion_model."
BODY = {"prompt": "a", "steps": 2, "width": 64, "height": 64, "seed": 1}
MODULE = "lora_unet_down_blocks_0_attentions_0_proj_in"


def some(prefix: str, change: Callable[[Tensor], Tensor]) -> Callable[[State], State]:
    """Change the tensors whose names begin so."""
    return lambda state: {n: change(t) if n.startswith(prefix) else t for n, t in state.items()}


def checkpoints(folder: Path) -> None:
    """Write one good checkpoint, and others that are listed but cannot be used."""
    good = load_file(CHECKPOINTS / "tiny-sd15.safetensors")
    changes: dict[str, Callable[[State], State]] = {
        "good": dict,
        "nan": some(f"{UNET}middle_block.", lambda t: t * float("nan")),
        "missing": lambda state: {n: t for n, t in state.items() if "output_blocks.5." not in n},
        "later-cut": dict,
    }
    for name, change in changes.items():
        save_file(change(good), folder / f"{name}.safetensors")
        (folder / f"{name}.yaml").write_text(sidecar_text("tiny-sd15"))
    shutil.copy(REFERENCE / "Lora" / "tinylora.safetensors", folder / "lora.safetensors")


def unlisted(folder: Path) -> None:
    """Write what no list shows."""
    (folder / "pickle.safetensors").write_bytes(b"\x80\x02}q\x00." + bytes(100))
    (folder / "long.safetensors").write_bytes((2**63).to_bytes(8, "little") + b"{}")
    fields = {f"t{number}": tensor("U8", [0], 0, 0) for number in range(100_000)}
    (folder / "many.safetensors").write_bytes(raw_safetensors(fields))
    overlapping = {"a": tensor("F32", [2], 0, 8), "b": tensor("F32", [2], 4, 12)}
    (folder / "overlap.safetensors").write_bytes(raw_safetensors(overlapping, bytes(12)))
    (folder / "dangling.safetensors").symlink_to(folder / "nowhere")
    (folder / "loop.safetensors").symlink_to(folder / "loop.safetensors")
    os.mkdir(folder / "folder.safetensors")


def networks(folder: Path) -> None:
    """Write LoRAs whose numbers would fill the memory, or are none."""
    pairs = {
        "rank": ("lora_down", (100_000, 32), "lora_up", (32, 100_000)),
        "nothing": ("lora_down", (0, 32), "lora_up", (32, 0)),
        "outer": ("lora_down", (1, 200_000), "lora_up", (200_000, 1)),
        "kronecker": ("lokr_w1", (3000, 3000), "lokr_w2", (3000, 3000)),
    }
    for name, (first, one, second, two) in pairs.items():
        state = {
            f"{MODULE}.{first}.weight": torch.ones(one),
            f"{MODULE}.{second}.weight": torch.ones(two),
        }
        if first.startswith("lokr"):
            state = {key.removesuffix(".weight"): value for key, value in state.items()}
        save_file(state, folder / f"{name}.safetensors")


def embeddings(folder: Path) -> None:
    for name, vectors in {
        "emptyvector": torch.zeros(0, 16),
        "manyvectors": torch.zeros(100_000, 16),
        "nanvector": torch.full((2, 16), float("nan")),
    }.items():
        save_file({"emb_params": vectors}, folder / f"{name}.safetensors")


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    root = tmp_path_factory.mktemp("hostile")
    models, vectors = root / "models", root / "embeddings"
    for name in ("Stable-diffusion", "Lora", "VAE"):
        (models / name).mkdir(parents=True)
    vectors.mkdir()
    folder = models / "Stable-diffusion"
    checkpoints(folder)
    unlisted(folder)
    networks(models / "Lora")
    shutil.copy(folder / "good.safetensors", models / "Lora" / "whole.safetensors")
    embeddings(vectors)
    shutil.copy(folder / "lora.safetensors", models / "VAE" / "lora.vae.safetensors")
    flags = ["--data-dir", str(root / "data"), "--models-dir", str(models), "--use-cpu", "all"]
    flags += ["--embeddings-dir", str(vectors), "--no-background-hashing", "--no-hashing"]
    app = create_app(parse([*flags, "--ckpt", str(folder / "good.safetensors")]))
    with capture_logs(), TestClient(app, raise_server_exceptions=False) as served:
        os.truncate(folder / "later-cut.safetensors", 1 << 20)
        yield served


def pixels(client: TestClient, **changes: Any) -> NDArray[np.uint8]:
    answer = client.post("/sdapi/v1/txt2img", json=BODY | changes)
    assert answer.status_code == 200, answer.text
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(answer.json()["images"][0]))))


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("lora", "a LoRA: belongs in models/Lora"),
        ("missing", "20 tensors are missing"),
        # by the time it is asked for it is seen to be damaged, and listed no more
        ("later-cut", "not found"),
    ],
)
def test_a_checkpoint_that_cannot_be_used_is_named_and_the_other_goes_on(
    client: TestClient, name: str, reason: str
) -> None:
    before = pixels(client)
    answer = client.post("/sdapi/v1/options", json={"sd_model_checkpoint": f"{name}.safetensors"})
    assert answer.status_code == 500
    assert f"{name}.safetensors" in answer.json()["errors"]
    assert reason in answer.json()["errors"]
    options = client.get("/sdapi/v1/options").json()
    assert options["sd_model_checkpoint"] == "good.safetensors"
    assert np.array_equal(pixels(client), before)


def test_weights_that_are_no_numbers_are_named_where_they_are_used(client: TestClient) -> None:
    before = pixels(client)
    chosen = {"override_settings": {"sd_model_checkpoint": "nan.safetensors"}}
    answer = client.post("/sdapi/v1/txt2img", json=BODY | chosen)
    assert answer.status_code == 500
    assert answer.json()["error"] == "NansException"
    assert "NaN values with the checkpoint 'nan.safetensors'" in answer.json()["errors"]
    assert np.array_equal(pixels(client), before)


@pytest.mark.parametrize(
    "name", ["pickle", "long", "many", "overlap", "dangling", "loop", "folder", "absent"]
)
def test_what_is_no_file_of_weights_is_not_listed_and_not_found(
    client: TestClient, name: str
) -> None:
    listed = {each["model_name"] for each in client.get("/sdapi/v1/sd-models").json()}
    assert name not in listed
    assert "good" in listed
    answer = client.post("/sdapi/v1/options", json={"sd_model_checkpoint": f"{name}.safetensors"})
    assert answer.status_code == 500
    assert answer.json()["errors"] == f"model '{name}.safetensors' not found"


def test_an_autoencoder_that_is_none_is_named(client: TestClient) -> None:
    chosen = {"override_settings": {"sd_vae": "lora.vae.safetensors"}}
    answer = client.post("/sdapi/v1/txt2img", json=BODY | chosen)
    assert answer.status_code == 500
    assert "lora.vae.safetensors" in answer.json()["errors"]
    assert pixels(client).shape == (64, 64, 3)


@pytest.mark.parametrize("name", ["rank", "nothing", "outer", "kronecker", "whole"])
def test_a_hostile_lora_changes_nothing(client: TestClient, name: str) -> None:
    assert np.array_equal(pixels(client, prompt=f"a<lora:{name}:1>"), pixels(client))


def test_hostile_embeddings_are_not_loaded(client: TestClient) -> None:
    assert client.get("/sdapi/v1/embeddings").json()["loaded"] == {}
    assert pixels(client, prompt="a emptyvector nanvector manyvectors").shape == (64, 64, 3)
