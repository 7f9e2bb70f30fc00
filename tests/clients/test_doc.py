"""docs/clients.md: every block is run, on small pictures and the port of the test's server."""

import base64
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from PIL import Image

from tests.e2e.launched import Launched

from .calls import SMALL, TXT2IMG, is_idle, noise, opened, posted, right_half

PAGE = Path(__file__).parents[2] / "docs" / "clients.md"
NODE = shutil.which("node")

_BLOCK = re.compile(r"```(bash|python|javascript)\n(.*?)```", re.DOTALL)
_PYTHON = (sys.executable, "-c")

TEXT, PART, SETTINGS, PROGRESS, ORIGIN = (
    "Text to picture",
    "Repaint a part of a picture",
    "Settings, and another model",
    "Progress while drawing",
    "What a picture was drawn from",
)
TASKS = (TEXT, PART, SETTINGS, PROGRESS, ORIGIN)
LANGUAGES = ("bash", "python", "javascript")


def blocks() -> dict[tuple[str, str], str]:
    """(heading, language) -> its code."""
    found: dict[tuple[str, str], str] = {}
    for section in PAGE.read_text("utf-8").split("\n## ")[1:]:
        heading = section.partition("\n")[0]
        for match in _BLOCK.finditer(section):
            found[heading, match[1]] = match[2]
    return found


def small(code: str, port: int) -> str:
    """`code` for the test's server, at an eighth of the size, the long ones with fewer steps."""
    # the sizes first: a port may have 512 among its digits
    code = code.replace("512", "64").replace("7860", str(port))
    code = re.sub(r'(steps"?[=:] ?)20\b', r"\g<1>3", code)
    return re.sub(r'(steps"?[=:] ?)150\b', r"\g<1>60", code)


def command(language: str, code: str) -> list[str]:
    """What runs `code`."""
    if language == "python":
        return [*_PYTHON, code]
    if language == "bash":
        return ["bash", "-eu", "-o", "pipefail", "-c", code]
    return [str(NODE), "--input-type=module", "-e", code]


@pytest.fixture
def folder(http: httpx.Client, tmp_path: Path) -> Path:
    """Where a block runs: a picture, a mask and something that was drawn lie there."""
    Image.fromarray(noise()).save(tmp_path / "picture.png")
    Image.fromarray(right_half()).save(tmp_path / "mask.png")
    drawn = posted(http, TXT2IMG, SMALL)["images"][0]
    (tmp_path / "drawn.png").write_bytes(base64.b64decode(drawn))
    return tmp_path


#: a line of what was seen of a running job: of its JSON, of our print and of console.log
_SEEN = re.compile(r'"sampling_steps":60|^\d+% \d+ [\d.]+$|^0\.\d+ (\d+|undefined)$', re.MULTILINE)

CHECKS: dict[str, Callable[[str, httpx.Client], bool]] = {
    TEXT: lambda out, _: "Sampler: DPM++ SDE, Schedule type: Karras" in out,
    PART: lambda out, _: "a red dress\nSteps: 3" in out and "Denoising strength: 0.75" in out,
    SETTINGS: lambda out, _: "tiny-vpred.safetensors [" in out,
    PROGRESS: lambda out, http: _SEEN.search(out) is not None and is_idle(http),
    ORIGIN: lambda out, _: "Steps: 3, Sampler: Euler" in out and "Seed: 1" in out,
}


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("task", TASKS)
def test_a_block_does_what_its_heading_says(
    server: Launched, http: httpx.Client, folder: Path, task: str, language: str
) -> None:
    if language == "javascript" and NODE is None:
        pytest.skip("no node on this machine")
    code = small(blocks()[task, language], server.port)

    done = subprocess.run(
        command(language, code),
        cwd=folder,
        env=os.environ | {"PYTHONWARNINGS": "default"},
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert done.returncode == 0, done.stderr
    assert CHECKS[task](done.stdout, http), done.stdout


def test_the_page_has_every_task_in_every_language_and_nothing_else() -> None:
    assert blocks().keys() == {(task, language) for task in TASKS for language in LANGUAGES}


@pytest.mark.parametrize("language", ["bash", "python"])
def test_a_drawn_file_has_its_text(server: Launched, folder: Path, language: str) -> None:
    (folder / "drawn.png").unlink()
    code = small(blocks()[TEXT, language], server.port)

    subprocess.run(command(language, code), cwd=folder, check=True, capture_output=True, timeout=60)

    saved = opened(base64.b64encode((folder / "drawn.png").read_bytes()).decode())
    assert saved.size == (64, 64)
    assert "Sampler: DPM++ SDE" in saved.info["parameters"]
