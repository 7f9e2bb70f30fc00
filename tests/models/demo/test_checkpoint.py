"""The committed files are what their card says: small, half precision, SD1's layout."""

from __future__ import annotations

import json
import struct
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import yaml

from models.demo import DEMO_CHECKPOINT, EMBEDDING, INPAINTING_CHECKPOINT, LORA
from models.demo.train.__main__ import Recipe

LIMIT, SMALL_LIMIT = 20_000_000, 1_000_000


def header_of(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        found: dict[str, Any] = json.loads(file.read(length))
    return found


@pytest.fixture(scope="module", params=[DEMO_CHECKPOINT, INPAINTING_CHECKPOINT])
def checkpoint(request: pytest.FixtureRequest) -> Path:
    path: Path = request.param
    return path


@pytest.fixture(scope="module")
def header(checkpoint: Path) -> dict[str, Any]:
    return header_of(checkpoint)


def test_it_is_under_twenty_megabytes(checkpoint: Path) -> None:
    assert 15_000_000 < checkpoint.stat().st_size < LIMIT


@pytest.mark.parametrize("path", [LORA, EMBEDDING])
def test_what_goes_with_it_is_under_one(path: Path) -> None:
    assert 100 < path.stat().st_size < SMALL_LIMIT
    header = header_of(path)
    assert header.pop("__metadata__")["license"] == "MIT"
    assert {entry["dtype"] for entry in header.values()} == {"F16"}


def test_the_recipe_in_the_files_is_the_one_in_the_code() -> None:
    recipe = json.loads(json.dumps(asdict(Recipe())))
    for path in (DEMO_CHECKPOINT, INPAINTING_CHECKPOINT, LORA, EMBEDDING):
        assert json.loads(header_of(path)["__metadata__"]["recipe"]) == recipe


def test_it_holds_the_three_parts_in_half_precision(header: dict[str, Any]) -> None:
    metadata = header.pop("__metadata__", {})
    assert metadata["license"] == "MIT"
    starts = ("model.diffusion_model.", "first_stage_model.", "cond_stage_model.transformer.")
    counts = [sum(name.startswith(start) for name in header) for start in starts]
    assert min(counts) > 30
    assert sum(counts) + 1 == len(header)
    assert {entry["dtype"] for name, entry in header.items() if name != "alphas_cumprod"} == {"F16"}


def test_the_sidecar_fits_the_tensors(checkpoint: Path, header: dict[str, Any]) -> None:
    params = yaml.safe_load(checkpoint.with_suffix(".yaml").read_text())["model"]["params"]
    unet = params["unet_config"]["params"]
    version = params["cond_stage_config"]["params"]["version"]
    config = json.loads((DEMO_CHECKPOINT.parent / version / "config.json").read_text())
    table = "cond_stage_model.transformer.text_model.embeddings.token_embedding.weight"
    assert header[table]["shape"] == [config["vocab_size"], config["hidden_size"]]
    assert config["hidden_size"] == unet["context_dim"]
    widest = unet["model_channels"] * max(unet["channel_mult"])
    assert header["model.diffusion_model.middle_block.1.norm.weight"]["shape"] == [widest]
    entry = header["model.diffusion_model.input_blocks.0.0.weight"]["shape"]
    assert entry == [unet["model_channels"], unet["in_channels"], 3, 3]


def test_the_card_and_its_sheet_are_beside_it() -> None:
    folder = Path(DEMO_CHECKPOINT).parent
    assert "CFG" in (folder / "README.md").read_text(encoding="utf-8")
    assert (folder / "contact-sheet.png").stat().st_size <= 300_000
