"""Which autoencoder files there are beside those inside checkpoints; torch-free."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class VaeInfo:
    """An autoencoder file; `name` is its file name with extension, as clients choose by."""

    path: Path
    name: str
    sha256: str | None = None
