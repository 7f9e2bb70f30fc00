"""The checkpoint that is drawn with when no other is found, and three files that go with it."""

from __future__ import annotations

from pathlib import Path

_FOLDER = Path(__file__).parent

DEMO_CHECKPOINT: Path = _FOLDER / "darkroom-demo.safetensors"
"""Its architecture is in the sidecar of the same stem; `README.md` is its card."""

INPAINTING_CHECKPOINT: Path = _FOLDER / "darkroom-demo-inpainting.safetensors"
"""The same with five channels more, which show it a mask and what the mask leaves."""

LORA: Path = _FOLDER / "lora" / "darkroom-demo-polaroid.safetensors"
"""Turns what is drawn into polaroids."""

EMBEDDING: Path = _FOLDER / "embeddings" / "demo-valentine.safetensors"
"""A word for one of the pictures that the checkpoint can draw."""

__all__ = ["DEMO_CHECKPOINT", "EMBEDDING", "INPAINTING_CHECKPOINT", "LORA"]
