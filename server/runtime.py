"""The heavy rooms: torch, the checkpoints and the engine. Imported after the port is bound."""

from concurrent.futures import Future
from pathlib import Path
from typing import Any

import structlog
import torch

from models.approx import ApproxVaes
from models.catalog import CheckpointInfo
from models.choice import ModelChoice
from models.embeddings.creation import create_embedding
from models.embeddings.files import NewEmbedding
from models.embeddings.shelf import EmbeddingShelf
from models.embeddings.table import Shelved, shelved
from models.graphs import cuda_recorders
from models.library import Library
from models.manager import CheckpointManager
from models.memory import cuda, settle
from models.precision import has_bfloat16, precision_for
from models.residence import Frugality, Keeping, Sparing
from models.running import Running
from pipelines.admission import Admission, Limits
from pipelines.engine import Engine
from pipelines.generate import Generated
from pipelines.plan import Plan
from pipelines.watch import Watch

from .options import Options, OptionsStore
from .settings import Settings

log = structlog.get_logger(__name__)


class Runtime:
    """The device room as the job queue sees it."""

    def __init__(
        self,
        engine: Engine,
        checkpoints: CheckpointManager,
        embeddings: EmbeddingShelf,
        settings: Settings,
    ) -> None:
        """Stand before `engine`, which runs `checkpoints`; prompts may use `embeddings`."""
        self._engine = engine
        self._checkpoints = checkpoints
        self._embeddings = embeddings
        self._settings = settings

    def submit(self, plan: Plan, watch: Watch) -> "Future[Generated]":
        """Queue a plan; the future gives its pictures."""
        return self._engine.submit(plan, watch)

    def load(self, choice: ModelChoice) -> "Future[Generated]":
        """Load a model in its turn; the future ends when it is on the device."""
        return self._engine.load(choice)

    def unload(self) -> None:
        """Free the device; a borrowed checkpoint goes when it comes back."""
        self._engine.forget()
        self._checkpoints.unload()

    def embeddings(self) -> Shelved:
        """The embeddings of the folders, by what fits the checkpoint used last."""
        return shelved(self._embeddings.embeddings(), self._checkpoints.text_widths())

    def create_embedding(self, wanted: NewEmbedding, checkpoint: CheckpointInfo) -> Path:
        """Write a new embedding. Raises `BadCreation` and `CheckpointError`."""
        return create_embedding(
            self._settings.embeddings_dir,
            wanted,
            checkpoint.path,
            allow_pickle=self._settings.allow_pickle,
        )

    def close(self) -> None:
        """End the device thread."""
        self._engine.close()

    def memory(self) -> dict[str, Any]:
        """The GPU's memory in bytes, in the wire's shape; `{"error": ...}` without a GPU."""
        return cuda(self._checkpoints.device) or {"error": "unavailable: no GPU in use"}


def build(settings: Settings, library: Library, options: OptionsStore) -> Runtime:
    """The device room that `settings` ask for; what stays loaded follows the `options`."""
    settle()
    device = torch_device(settings.torch_device)
    precision = precision_for(
        device,
        full=full_precision(settings, device),
        full_vae=settings.no_half_vae,
        bfloat16=has_bfloat16(device),
    )
    embeddings = EmbeddingShelf((settings.embeddings_dir,), hashing=not settings.no_hashing)
    checkpoints = CheckpointManager(
        library,
        embeddings,
        device=device,
        precision=precision,
        keeping=lambda: _keeping(options.current),
        frugality=_frugality(settings),
        running=Running(
            recorders=cuda_recorders(device) if settings.cuda_graphs == "on" else None,
            compiled=settings.compile,
        ),
    )
    dtype = str(precision.formats.unet).removeprefix("torch.")
    log.info("device ready", device=str(device), dtype=dtype)
    approx = ApproxVaes(
        library.approx,
        device=device,
        dtype=precision.formats.vae,
        allow_pickle=settings.allow_pickle,
    )
    limits = Limits(max_rows=settings.max_batch, batching=settings.batching == "on")
    engine = Engine(checkpoints, approx, Admission(limits))
    return Runtime(engine, checkpoints, embeddings, settings)


def torch_device(wanted: str) -> torch.device:
    """The device that a setting means, as `Settings.device_for` gives it."""
    if wanted == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(wanted)


def _keeping(options: Options) -> Keeping:
    retries = (torch.float32,) if options.auto_vae_precision else ()
    if options.auto_vae_precision_bfloat16:
        retries = (torch.bfloat16, *retries)
    return Keeping(
        limit=options.sd_checkpoints_limit,
        in_ram=options.sd_checkpoints_keep_in_cpu,
        networks=options.lora_in_memory_limit,
        vae_retries=retries,
    )


def _frugality(settings: Settings) -> Frugality:
    """What the flags save: of two the one that saves more."""
    if settings.lowvram:
        return Frugality(any_model="blocks", sdxl="blocks")
    general: Sparing = "parts" if settings.medvram else "nothing"
    return Frugality(any_model=general, sdxl="parts" if settings.medvram_sdxl else general)


def full_precision(settings: Settings, device: torch.device) -> bool:
    """Whether what runs on that device is to compute in float32."""
    return settings.no_half or settings.precision == "full" or device.type == "cpu"
