"""Networks in the place of restorers: called as these are, and what they make is known."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

#: GFPGAN draws with noise of its own unless told not to
GFPGAN_CALL = {"return_rgb": False, "randomize_noise": False}


class Same(torch.nn.Module):
    """Gives back what it is given; notes how it is called."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[dict[str, Any]] = []
        self.seen: list[torch.Tensor] = []

    def forward(self, given: torch.Tensor, **call: Any) -> tuple[torch.Tensor, None]:
        self.calls.append(call)
        self.seen.append(given)
        return self.made(given), None

    def made(self, given: torch.Tensor) -> torch.Tensor:
        return given


class Paint(Same):
    """Gives one colour, as values from -1 to 1."""

    def __init__(self, *colour: float) -> None:
        super().__init__()
        self.colour = colour

    def made(self, given: torch.Tensor) -> torch.Tensor:
        colour = torch.tensor(self.colour)[None, :, None, None]
        return colour.expand_as(given)


class Broken(Same):
    """Fails as torch does over a network that does not fit."""

    def made(self, given: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")


def install(monkeypatch: pytest.MonkeyPatch, model: torch.nn.Module, kind: str) -> list[Path]:
    """Let every file hold `model`; returns the files that are opened from then on."""
    opened: list[Path] = []

    def open_architecture(path: Path) -> Any:
        opened.append(path)
        return SimpleNamespace(architecture=SimpleNamespace(id=kind), model=model)

    monkeypatch.setattr("models.faces.restoration.open_architecture", open_architecture)
    return opened
