"""`GET /sdapi/v1/embeddings`: by what fits the model in use; new files are seen at once."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from fastapi.testclient import TestClient
from safetensors.torch import save_file

from server.app import create_app
from server.settings import parse


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of embeddings: one for the reference checkpoint, one for wider models."""
    made = tmp_path_factory.mktemp("embeddings")
    save_file({"emb_params": torch.ones(2, 16)}, made / "fits.safetensors")
    wide = {"clip_l": torch.ones(3, 768), "clip_g": torch.ones(3, 1280)}
    save_file(wide, made / "wide.safetensors")
    return made


@pytest.fixture(scope="module")
def served(
    folder: Path, reference_models: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[TestClient]:
    """A server that has not loaded its checkpoint yet."""
    flags = ["--data-dir", str(tmp_path_factory.mktemp("data")), "--use-cpu", "all"]
    flags += ["--models-dir", str(reference_models), "--embeddings-dir", str(folder)]
    with TestClient(create_app(parse([*flags, "--skip-load-model-at-start"]))) as client:
        yield client


def item(shape: int, vectors: int) -> dict[str, object]:
    return {
        "step": None,
        "sd_checkpoint": None,
        "sd_checkpoint_name": None,
        "shape": shape,
        "vectors": vectors,
    }


def test_what_fits_the_model_in_use_is_loaded(served: TestClient, folder: Path) -> None:
    fits, wide = {"fits": item(16, 2)}, {"wide": item(2048, 3)}
    assert served.get("/sdapi/v1/embeddings").json() == {"loaded": fits | wide, "skipped": {}}
    assert served.post("/sdapi/v1/reload-checkpoint").json() == {}
    assert served.get("/sdapi/v1/embeddings").json() == {"loaded": fits, "skipped": wide}

    save_file({"emb_params": torch.ones(1, 16)}, folder / "later.safetensors")
    refreshed = served.post("/sdapi/v1/refresh-embeddings")
    assert (refreshed.status_code, refreshed.json()) == (200, None)
    assert list(served.get("/sdapi/v1/embeddings").json()["loaded"]) == ["fits", "later"]

    assert served.post("/sdapi/v1/unload-checkpoint").json() == {}
    assert served.get("/sdapi/v1/embeddings").json()["skipped"] == {}
