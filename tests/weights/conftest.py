"""Where the real parts are, and a folder of models that holds them."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from .fetch import COMMAND, default_folder
from .parts import PACKAGES


@dataclass(frozen=True, slots=True)
class Weights:
    """The folder that parts are fetched into."""

    folder: Path

    def path(self, name: str) -> Path:
        """Give a part by its name in `parts.PACKAGES`; skips the test where it is not there."""
        path = self.folder / name
        if not path.is_file():
            pytest.skip(f"{path} is not there; `{COMMAND}` brings it")
        return path


@pytest.fixture(scope="session")
def weights() -> Weights:
    """The real parts; those that are asked for are there."""
    return Weights(default_folder())


@pytest.fixture(scope="session")
def real_models(weights: Weights, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of models, of links to all real parts; ISNet also has the name that rembg knows."""
    models = tmp_path_factory.mktemp("models")
    names = {part.name: part.name for package in PACKAGES for part in package.parts}
    names["u2net/isnet-general-use.onnx"] = "u2net/isnet_medium.onnx"
    for name, part in names.items():
        link = models / name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(weights.path(part))
    return models
