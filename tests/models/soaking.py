"""Many switches between checkpoints with networks and autoencoders, and the memory they take.

`python -m tests.models.soaking FOLDER COUNT` prints the process's memory in bytes after each.
"""

import gc
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import torch
from safetensors.torch import load_file, save_file

from models.approx_files import NO_APPROXIMATIONS
from models.catalog import Catalog
from models.choice import ModelChoice
from models.embeddings.shelf import EmbeddingShelf
from models.families import Checkpoint
from models.hashing import HashCache
from models.library import Library
from models.manager import CheckpointManager
from models.memory import settle
from models.networks.files import NetworkCatalog, NetworkUse
from models.residence import Keeping
from models.vae_files import VaeCatalog

from .files import CHECKPOINTS, REFERENCE, sidecar_text

#: of so many switches one is drawn with
DRAWN = 5
VAE = "first_stage_model."
#: raised so that the third shares no part with the others
CHANGES = (
    ("model.diffusion_model.out.2.bias",),
    ("model.diffusion_model.out.2.weight",),
    (
        f"{VAE}decoder.conv_out.bias",
        "cond_stage_model.transformer.text_model.final_layer_norm.bias",
    ),
)


def write(folder: Path) -> None:
    """Three checkpoints, two of which have autoencoder and text encoder in common, and two VAEs."""
    folder.mkdir(parents=True, exist_ok=True)
    state = load_file(CHECKPOINTS / "tiny-sd15.safetensors")
    for number, names in enumerate(CHANGES):
        changed = state | {name: state[name] + 1 for name in names}
        save_file(changed, folder / f"m{number}.safetensors")
        (folder / f"m{number}.yaml").write_text(sidecar_text("tiny-sd15"))
    for number in range(2):
        vae = {name: part for name, part in state.items() if name.startswith(VAE)}
        vae[f"{VAE}decoder.conv_in.bias"] = vae[f"{VAE}decoder.conv_in.bias"] + number
        save_file(vae, folder / f"v{number}.vae.safetensors")


def library(folder: Path) -> Library:
    hashes = HashCache(folder / "hashes.db")
    found = Library(
        checkpoints=Catalog(
            (folder,),
            explicit=None,
            hashes=hashes,
            hashing=True,
            allow_pickle=False,
            demo=folder / "none",
        ),
        vaes=VaeCatalog((), (folder,), hashes=hashes, hashing=False, allow_pickle=False),
        networks=NetworkCatalog(
            (REFERENCE / "Lora",), hashes=hashes, hashing=False, allow_pickle=False
        ),
        approx=NO_APPROXIMATIONS,
    )
    found.scan()
    return found


def choices(found: Library, count: int) -> Iterator[ModelChoice]:
    """Another checkpoint each time; with none, one or two networks, with its own VAE or another."""
    checkpoints = found.checkpoints.checkpoints()
    vaes = (None, *found.vaes.vaes())
    networks = [found.networks.find(name) for name in ("tinylora", "tinylora2")]
    worn = [NetworkUse(network=each) for each in networks if each is not None]
    assert (len(checkpoints), len(vaes), len(worn)) == (3, 3, 2)
    for number in range(count):
        yield ModelChoice(
            checkpoint=checkpoints[number % 3],
            vae=vaes[number // 3 % 3],
            networks=tuple(worn[: number // 2 % 3]),
        )


@torch.inference_mode()
def draw(checkpoint: Checkpoint) -> None:
    context = torch.zeros(1, 77, checkpoint.text_widths[0])
    latents = checkpoint.predict(torch.ones(1, 4, 8, 8), torch.ones(1), context)
    assert checkpoint.decode(latents).shape == (1, 3, 64, 64)


def soak(folder: Path, count: int) -> Iterator[int]:
    """The process's memory, in bytes, after each of `count` switches; every fifth model draws."""
    found, process = library(folder), psutil.Process()
    lender = CheckpointManager(
        found,
        EmbeddingShelf(()),
        device=torch.device("cpu"),
        keeping=lambda: Keeping(limit=1),
    )
    for number, choice in enumerate(choices(found, count)):
        with lender.borrow(choice) as checkpoint:
            if number % DRAWN == 0:
                draw(checkpoint)
        yield process.memory_info().rss


def main() -> None:
    """Soak in the folder that the command line names, which is written first."""
    folder, count = Path(sys.argv[1]), int(sys.argv[2])
    write(folder)
    gc.collect()
    settle()
    torch.set_num_threads(1)
    for memory in soak(folder, count):
        print(memory, flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
