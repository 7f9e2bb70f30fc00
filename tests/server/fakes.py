"""A device room without a device, and files that are not there, for what stands before them."""

from concurrent.futures import Future
from pathlib import Path
from typing import Any, cast

import numpy as np

from models.approx_files import NO_APPROXIMATIONS, Approximations
from models.catalog import Catalog, CheckpointInfo
from models.choice import ModelChoice
from models.embeddings.files import NewEmbedding
from models.embeddings.table import Shelved
from models.hashing import HashCache
from models.library import Library
from models.networks.files import NetworkCatalog
from models.vae_files import VaeCatalog
from pipelines.generate import Generated, GeneratedImage
from pipelines.plan import Encoding, GuidanceSpec, Plan, SamplerSpec, Seeds, Txt2ImgPlan
from pipelines.watch import Watch

CHECKPOINT = CheckpointInfo(
    path=Path("/models/some.safetensors"), name="some.safetensors", model_name="some"
)
MODEL = ModelChoice(checkpoint=CHECKPOINT)


class FakeDevice:
    """Holds what it was given until the test ends it."""

    def __init__(self) -> None:
        self.submitted: list[tuple[Plan, Watch, Future[Generated]]] = []
        self.loaded: list[ModelChoice] = []
        self.unloads = 0
        self.closed = False

    def submit(self, plan: Plan, watch: Watch) -> Future[Generated]:
        future: Future[Generated] = Future()
        self.submitted.append((plan, watch, future))
        return future

    def load(self, choice: ModelChoice) -> Future[Generated]:
        self.loaded.append(choice)
        future: Future[Generated] = Future()
        future.set_result(Generated())
        return future

    def unload(self) -> None:
        self.unloads += 1

    def embeddings(self) -> Shelved:
        return Shelved(loaded=())

    def create_embedding(self, wanted: NewEmbedding, checkpoint: CheckpointInfo) -> Path:
        return Path(f"/embeddings/{wanted.name}.pt")

    def memory(self) -> dict[str, Any]:
        return {"error": "no device"}

    def close(self) -> None:
        self.closed = True


class FakeCatalog:
    """A catalog of checkpoints that nobody looks into."""

    allow_pickle = False

    def __init__(self, *checkpoints: CheckpointInfo) -> None:
        self._checkpoints = checkpoints
        self.scans = 0

    def checkpoints(self) -> tuple[CheckpointInfo, ...]:
        return self._checkpoints

    def default(self) -> CheckpointInfo | None:
        return next(iter(self._checkpoints), None)

    def find(self, alias: str) -> CheckpointInfo | None:
        return next((info for info in self._checkpoints if alias in info.aliases()), None)

    def closest(self, name: str) -> CheckpointInfo | None:
        part = (info for info in self._checkpoints if name in info.title)
        return self.find(name) or next(part, None)

    def scan(self) -> None:
        self.scans += 1


def library(
    checkpoints: FakeCatalog | Catalog, folder: Path, approx: Approximations = NO_APPROXIMATIONS
) -> Library:
    """These checkpoints, and the VAEs and networks in `folder`'s VAE and Lora, scanned."""
    hashes = HashCache(folder / "hashes.sqlite3")
    vaes = VaeCatalog((folder / "VAE",), (), hashes=hashes, hashing=True, allow_pickle=False)
    vaes.scan()
    networks = NetworkCatalog(
        (folder / "Lora",),
        hashes=HashCache(folder / "networks.sqlite3"),
        hashing=True,
        allow_pickle=False,
    )
    networks.scan()
    return Library(
        checkpoints=cast(Catalog, checkpoints),
        vaes=vaes,
        networks=networks,
        approx=approx,
    )


def plan(*, images: int = 1, batch_size: int = 1, steps: int = 4) -> Txt2ImgPlan:
    """A small plan."""
    return Txt2ImgPlan(
        model=MODEL,
        prompts=("a",) * images,
        negative_prompts=("",) * images,
        seeds=Seeds(seeds=tuple(range(images)), subseeds=tuple(range(images))),
        sampler=SamplerSpec(name="Euler", schedule="automatic", steps=steps),
        encoding=Encoding(),
        guidance=GuidanceSpec(scale=7.0),
        width=64,
        height=64,
        batch_size=batch_size,
    )


def image(index: int = 0, level: int = 0) -> GeneratedImage:
    """An 8x8 picture of one grey level."""
    return GeneratedImage(index=index, pixels=np.full((8, 8, 3), level, np.uint8))
