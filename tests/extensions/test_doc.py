"""The examples of `docs/adding-an-extension.md` work as they stand there."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from extensions.protocol import Extension
from server.app import create_app
from server.imagecodec import decode
from server.infotext import parse as parsed
from server.settings import parse

from .fakes import FakeHost, text
from .wheels import installed

DOC = Path(__file__).parents[2] / "docs" / "adding-an-extension.md"
ENTRY = "[darkroom.extensions]\nvignette = darkroom_vignette:EXTENSION\n"


def example(title: str) -> str:
    """The code that begins with `title`."""
    blocks = re.findall(r"```python\n(.*?)```", DOC.read_text("utf-8"), re.DOTALL)
    (code,) = [block for block in blocks if block.startswith(f'"""{title}')]
    return str(code)


def test_the_script_runs() -> None:
    module: dict[str, Any] = {"__name__": "contact_sheet"}
    exec(example("Contact sheet"), module)
    extension = module["EXTENSION"]
    assert isinstance(extension, Extension)
    drawn = FakeHost().run(extension, text(), 32, 3)
    assert [image.size for image in drawn.images] == [(64, 64), (96, 64), (128, 64)]
    assert len(drawn.infotexts) == 3


def test_the_extension_is_short() -> None:
    lines = [line for line in example("Vignette").splitlines() if line.strip()]
    assert len(lines) <= 30


def test_the_extension_works_as_an_installed_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reference_models: Path
) -> None:
    code = example("Vignette")
    site = installed(tmp_path, "darkroom_vignette_example", "darkroom_vignette", code, ENTRY)
    monkeypatch.syspath_prepend(str(site))
    checkpoint = reference_models / "Stable-diffusion" / "tiny-sd15.safetensors"
    flags = ["--data-dir", str(tmp_path / "data"), "--ckpt", str(checkpoint), "--use-cpu", "all"]
    body = {"prompt": "a cat", "seed": 5, "steps": 2, "width": 64, "height": 64}
    with TestClient(create_app(parse([*flags, "--extensions", "vignette"]))) as client:
        assert "vignette" in client.get("/sdapi/v1/scripts").json()["txt2img"]
        plain = client.post("/sdapi/v1/txt2img", json=body).json()
        named = {"vignette": {"args": [True, 1.0]}}
        dark = client.post("/sdapi/v1/txt2img", json={**body, "alwayson_scripts": named}).json()
    (first,), (faded,) = ([decode(each) for each in reply["images"]] for reply in (plain, dark))
    before, after = np.asarray(first).astype(int), np.asarray(faded).astype(int)
    assert after[0, 0].max() <= 3 and before[0, 0].max() > 30
    middle = slice(28, 36)
    assert np.abs(after[middle, middle] - before[middle, middle]).max() <= 45
    assert after.mean() < before.mean() * 0.8
    assert parsed(faded.info["parameters"])["Vignette"] == "1.0"
