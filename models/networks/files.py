"""Which extra networks there are, and what each may be called; torch-free."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkInfo:
    """A network file as clients see it.

    `alias` is the name its trainer gave it; `short_hash` the twelve digits infotexts show.
    """

    path: Path
    name: str
    alias: str
    short_hash: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkUse:
    """A network put on, and how strongly: on the text encoder and on the UNet.

    `dyn_dim` cuts its rank down where it is given.
    """

    network: NetworkInfo
    text_weight: float = 1.0
    unet_weight: float = 1.0
    dyn_dim: int | None = None
