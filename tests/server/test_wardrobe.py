"""What prompts wear, looked up once a request."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from models.hashing import HashCache
from models.library import Library
from models.networks.files import NetworkCatalog, NetworkInfo
from server.options import Options
from server.schemas.txt2img import Txt2ImgRequest
from server.translate import txt2img
from server.wardrobe import Wardrobe

from ..models.files import one_tensor
from .fakes import CHECKPOINT, FakeCatalog, library


class Counted(NetworkCatalog):
    """Keeps the names that were looked up; its folders are not to be looked at as a whole."""

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.asked: list[str] = []

    def find(self, name: str) -> NetworkInfo | None:
        self.asked.append(name)
        return super().find(name)

    def scan(self) -> None:
        raise AssertionError("every file was looked at")


@pytest.fixture
def catalog(tmp_path: Path) -> Counted:
    one_tensor(tmp_path / "Lora" / "one.safetensors")
    hashes = HashCache(tmp_path / "counted.sqlite3")
    return Counted((tmp_path / "Lora",), hashes=hashes, hashing=True, allow_pickle=False)


@pytest.fixture
def files(catalog: Counted, tmp_path: Path) -> Library:
    return replace(library(FakeCatalog(CHECKPOINT), tmp_path), networks=catalog)


def test_a_prompt_is_looked_up_once(catalog: Counted, tmp_path: Path) -> None:
    wardrobe = Wardrobe(catalog)
    for _ in range(3):
        assert [use.network.name for use in wardrobe.worn("<lora:one:1>").uses] == ["one"]
        assert wardrobe.worn("<lora:none:1>").missing == ("none",)
    assert catalog.asked == ["one", "none"]
    one_tensor(tmp_path / "Lora" / "new.safetensors")
    assert [use.network.name for use in wardrobe.worn("<lora:new:1>").uses] == ["new"]


def test_warnings_are_told_once_each(catalog: Counted) -> None:
    wardrobe = Wardrobe(catalog)
    prompts = ("<lora:x:1>", "<lora:x:1><lora:y:1>", "<lora:one:much>", "<lora:one:1>")
    found = wardrobe.warnings(prompts)
    assert found[:2] == ("lora not found: x", "lora not found: y")
    assert len(found) == 3 and "<lora:one:much>" in found[2]


@pytest.mark.parametrize("enable_hr", [False, True])
def test_a_request_looks_once(catalog: Counted, files: Library, enable_hr: bool) -> None:
    request = Txt2ImgRequest.model_validate(
        {"prompt": "a <lora:x:1>", "hr_prompt": "b <lora:y:1>", "enable_hr": enable_hr}
    )
    made = txt2img(request, Options.defaults(), files)
    assert catalog.asked == ["x", "y"][: 1 + enable_hr]
    wanted = ["lora not found: x", "lora not found: y"][: 1 + enable_hr]
    assert [each for each in made.warnings if "lora" in each] == wanted


def test_the_warning_of_both_passes_is_one(catalog: Counted, files: Library) -> None:
    request = Txt2ImgRequest.model_validate({"prompt": "a <lora:x:1>", "enable_hr": True})
    made = txt2img(request, Options.defaults(), files)
    assert [each for each in made.warnings if "lora" in each] == ["lora not found: x"]
    assert catalog.asked == ["x"]


def test_what_is_left_off_is_not_looked_up(catalog: Counted, files: Library) -> None:
    fields = {"prompt": "a <lora:x:1>", "enable_hr": True, "disable_extra_networks": True}
    made = txt2img(Txt2ImgRequest.model_validate(fields), Options.defaults(), files)
    assert catalog.asked == []
    assert not any("lora" in each for each in made.warnings)
