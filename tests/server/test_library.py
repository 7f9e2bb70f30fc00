"""The catalogs of a data folder as the server opens them."""

import json
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from models.hash_pass import HashPass
from models.tool_files import ENDINGS
from server.app import create_app
from server.library import Shelves, open_shelves
from server.settings import parse

from ..models.files import one_tensor


def shelves(folder: Path, *flags: str) -> Shelves:
    return open_shelves(parse(["--data-dir", str(folder), *flags]))


def test_every_kind_of_files_is_found_where_a_webui_keeps_it(tmp_path: Path) -> None:
    models = tmp_path / "models"
    one_tensor(models / "Stable-diffusion" / "m.safetensors")
    one_tensor(models / "VAE" / "v.safetensors")
    one_tensor(models / "Lora" / "l.safetensors")
    one_tensor(models / "LyCORIS" / "y.safetensors")
    for kind, endings in ENDINGS.items():
        one_tensor(models / kind / f"x{endings[0]}")
    library = shelves(tmp_path).library
    assert [info.name for info in library.checkpoints.checkpoints()] == ["m.safetensors"]
    assert [info.name for info in library.vaes.vaes()] == ["v.safetensors"]
    assert [info.name for info in library.networks.networks()] == ["l", "y"]
    assert set(library.tools) == set(ENDINGS)
    for kind, tools in library.tools.items():
        assert [file.path.parent for file in tools.files()] == [models / kind]


def test_a_flag_moves_a_folder(tmp_path: Path) -> None:
    one_tensor(tmp_path / "up" / "x.pth")
    one_tensor(tmp_path / "lyco" / "y.safetensors")
    flags = ["--swinir-models-path", str(tmp_path / "up")]
    library = shelves(tmp_path, *flags, "--lyco-dir-backcompat", str(tmp_path / "lyco")).library
    assert [file.name for file in library.tools["SwinIR"].files()] == ["x.pth"]
    assert [info.name for info in library.networks.networks()] == ["y"]


@pytest.mark.parametrize("place", ["cache.json", "elsewhere/cache.json"])
def test_hashes_of_a_webui_are_taken_over(tmp_path: Path, place: str) -> None:
    path = one_tensor(tmp_path / "elsewhere" / "models" / "Stable-diffusion" / "m.safetensors")
    entry = {"mtime": path.stat().st_mtime, "sha256": "ab" * 32}
    content = {"hashes": {"checkpoint/m.safetensors": entry}}
    (tmp_path / place).write_text(json.dumps(content))
    flags = ["--models-dir", str(tmp_path / "elsewhere" / "models")]
    (info,) = shelves(tmp_path, *flags).library.checkpoints.checkpoints()
    assert info.title == "m.safetensors [ababababab]"
    (info,) = shelves(tmp_path, *flags, "--no-hashing").library.checkpoints.checkpoints()
    assert info.title == "m.safetensors"


def test_flags_forbid_hashing_in_the_background(tmp_path: Path) -> None:
    assert isinstance(shelves(tmp_path).hash_pass(lambda: False), HashPass)
    for flag in ("--no-hashing", "--no-background-hashing"):
        assert shelves(tmp_path, flag).hash_pass(lambda: False) is None


def test_routes_list_what_is_there_now(tmp_path: Path) -> None:
    models = tmp_path / "models"
    app = create_app(parse(["--data-dir", str(tmp_path), "--skip-load-model-at-start"]))
    # without its lifespan: nothing here needs a device
    client = TestClient(app)

    def names() -> tuple[list[str], list[str], list[str]]:
        answers = [client.get(f"/sdapi/v1/{route}").json() for route in ("sd-models", "sd-vae")]
        loras = [each["name"] for each in client.get("/sdapi/v1/loras").json()]
        first, second = ([each["model_name"] for each in answer] for answer in answers)
        return first, second, loras

    assert names() == (["darkroom-demo"], [], [])
    one_tensor(models / "Stable-diffusion" / "new" / "m.safetensors")
    one_tensor(models / "VAE" / "v.safetensors")
    one_tensor(models / "Lora" / "l.safetensors")
    assert names() == (["new_m"], ["v.safetensors"], ["l"])
    (models / "Stable-diffusion" / "new" / "m.safetensors").unlink()
    (models / "Lora" / "l.safetensors").unlink()
    assert names() == (["darkroom-demo"], ["v.safetensors"], [])
