"""What a webui's cache.json is taken to say."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from models.hashing import HashCache
from models.webui_cache import take_over

from .files import one_tensor
from .shelves import library

DIGEST = "ab" * 32


def known(path: Path, digest: object = DIGEST, *, late: float = 0.0) -> dict[str, object]:
    """An entry as a webui writes it."""
    return {"mtime": path.stat().st_mtime + late, "sha256": digest}


def taken(folder: Path, content: Mapping[str, Any] | str) -> tuple[int, HashCache]:
    """Take over a cache.json of this content; how many there were, and what is known then."""
    path = folder / "cache.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    hashes = HashCache(folder / "hashes.db")
    return take_over(path, library(folder, hashes, allow_pickle=True), hashes), hashes


def test_hashes_of_files_that_have_not_changed_are_taken_over(tmp_path: Path) -> None:
    model = one_tensor(tmp_path / "models" / "sub" / "a.safetensors")
    vae = one_tensor(tmp_path / "VAE" / "v.safetensors")
    lora = one_tensor(tmp_path / "Lora" / "l.safetensors")
    pickle = tmp_path / "Lora" / "p.pt"
    pickle.write_bytes(b"x")
    count, hashes = taken(
        tmp_path,
        {
            "hashes": {
                "checkpoint/sub\\a.safetensors": known(model, "11" * 32),
                "checkpoint/gone.safetensors": known(model),
                "vae/v.safetensors": known(vae, "22" * 32),
                "lora/l": known(lora, "33" * 32),
                "lora/p": known(pickle, "44" * 32),
            },
            "hashes-addnet": {"lora/l": known(lora, "55" * 32), "lora/p": known(pickle)},
            "safetensors-metadata": {"lora/l": {"mtime": 1, "value": {}}},
        },
    )
    assert count == 4
    made = library(tmp_path, hashes, allow_pickle=True)
    assert [info.title for info in made.checkpoints.checkpoints()] == [
        "sub/a.safetensors [1111111111]"
    ]
    assert made.vaes.hash(made.vaes.vaes()[0]).sha256 == "22" * 32
    short = {info.name: info.short_hash for info in made.networks.networks()}
    assert short == {"l": "55" * 6, "p": "44" * 6}


def test_it_is_taken_over_once(tmp_path: Path) -> None:
    model = one_tensor(tmp_path / "models" / "a.safetensors")
    content = {"hashes": {"checkpoint/a.safetensors": known(model)}}
    assert taken(tmp_path, content)[0] == 1
    hashes = HashCache(tmp_path / "hashes.db")
    assert take_over(tmp_path / "cache.json", library(tmp_path, hashes), hashes) == 0
    assert take_over(tmp_path / "absent.json", library(tmp_path, hashes), hashes) == 0


@pytest.mark.parametrize(
    "entry",
    [
        {"mtime": "1", "sha256": DIGEST},
        {"mtime": 0, "sha256": DIGEST},
        {"mtime": True, "sha256": DIGEST},
        {"mtime": float("nan"), "sha256": DIGEST},
        {"mtime": 10**400, "sha256": DIGEST},
        {"sha256": DIGEST},
        [DIGEST],
        None,
    ],
    ids=("text", "long ago", "true", "nan", "endless", "none", "a list", "null"),
)
def test_an_entry_that_does_not_fit_is_passed_over(tmp_path: Path, entry: object) -> None:
    one_tensor(tmp_path / "models" / "a.safetensors")
    assert taken(tmp_path, {"hashes": {"checkpoint/a.safetensors": entry}})[0] == 0


@pytest.mark.parametrize("digest", [None, 5, "", "ab" * 31, "AB" * 32, f"{DIGEST}\n", "é" * 64])
def test_a_hash_that_is_none_is_passed_over(tmp_path: Path, digest: object) -> None:
    model = one_tensor(tmp_path / "models" / "a.safetensors")
    content = {"hashes": {"checkpoint/a.safetensors": known(model, digest)}}
    assert taken(tmp_path, content)[0] == 0


def test_a_file_that_has_changed_since_is_passed_over(tmp_path: Path) -> None:
    model = one_tensor(tmp_path / "models" / "a.safetensors")
    content = {"hashes": {"checkpoint/a.safetensors": known(model, late=0.01)}}
    assert taken(tmp_path, content)[0] == 0


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "[" * 100_000, '{"hashes": []}', '{"hashes": {"checkpoint/a": ' + "9" * 5000],
    ids=("empty", "broken", "a list", "depth", "a table that is none", "digits"),
)
def test_what_is_no_cache_costs_at_most_a_warning(tmp_path: Path, content: str) -> None:
    one_tensor(tmp_path / "models" / "a.safetensors")
    with capture_logs() as logs:
        assert taken(tmp_path, content)[0] == 0
    assert len([log for log in logs if log["log_level"] == "warning"]) == (
        0 if content.endswith("[]}") else 1
    )
