"""The committed file is what its card says: small, half precision, SD1's layout."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest
import yaml

from models.demo import DEMO_CHECKPOINT

LIMIT = 20_000_000


@pytest.fixture(scope="module")
def header() -> dict[str, Any]:
    with DEMO_CHECKPOINT.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        found: dict[str, Any] = json.loads(file.read(length))
    return found


def test_it_is_under_twenty_megabytes() -> None:
    assert 15_000_000 < DEMO_CHECKPOINT.stat().st_size < LIMIT


def test_it_holds_the_three_parts_in_half_precision(header: dict[str, Any]) -> None:
    metadata = header.pop("__metadata__", {})
    assert metadata["license"] == "MIT"
    starts = ("model.diffusion_model.", "first_stage_model.", "cond_stage_model.transformer.")
    counts = [sum(name.startswith(start) for name in header) for start in starts]
    assert min(counts) > 30
    assert sum(counts) + 1 == len(header)
    assert {entry["dtype"] for name, entry in header.items() if name != "alphas_cumprod"} == {"F16"}


def test_the_sidecar_fits_the_tensors(header: dict[str, Any]) -> None:
    params = yaml.safe_load(DEMO_CHECKPOINT.with_suffix(".yaml").read_text())["model"]["params"]
    unet = params["unet_config"]["params"]
    version = params["cond_stage_config"]["params"]["version"]
    config = json.loads((DEMO_CHECKPOINT.parent / version / "config.json").read_text())
    table = "cond_stage_model.transformer.text_model.embeddings.token_embedding.weight"
    assert header[table]["shape"] == [config["vocab_size"], config["hidden_size"]]
    assert config["hidden_size"] == unet["context_dim"]
    widest = unet["model_channels"] * max(unet["channel_mult"])
    assert header["model.diffusion_model.middle_block.1.norm.weight"]["shape"] == [widest]


def test_the_card_and_its_sheet_are_beside_it() -> None:
    folder = Path(DEMO_CHECKPOINT).parent
    assert "CFG" in (folder / "README.md").read_text(encoding="utf-8")
    assert (folder / "contact-sheet.png").stat().st_size <= 300_000
