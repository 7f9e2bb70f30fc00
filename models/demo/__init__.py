"""The checkpoint that is drawn with when no other is found: coloured shapes on plain grounds."""

from __future__ import annotations

from pathlib import Path

DEMO_CHECKPOINT: Path = Path(__file__).with_name("darkroom-demo.safetensors")
"""Its architecture is in the sidecar of the same stem; `README.md` is its card."""

__all__ = ["DEMO_CHECKPOINT"]
