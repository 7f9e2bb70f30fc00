"""A loaded checkpoint and what is put on it for the job at hand."""

from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from .choice import ModelChoice
from .embeddings.shelf import EmbeddingShelf
from .embeddings.table import Embedding, EmbeddingTable
from .families import Checkpoint
from .families.sharing import Part, Stock
from .families.vae_swap import load_vae
from .networks.adapters import Adapters
from .offload import Visits
from .running import Runner, Running
from .tiling import set_tiling
from .token_merging import TokenMerging
from .vae_files import VaeInfo

if TYPE_CHECKING:
    from diffusers import AutoencoderKL


SIMPLY = Running()


class Fitting:
    """Puts a choice's additions on a loaded checkpoint, and takes them off again."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        embeddings: EmbeddingShelf,
        *,
        vae_dtype: torch.dtype,
        allow_pickle: bool,
        visits: Visits | None = None,
        running: Running = SIMPLY,
    ) -> None:
        """Fit `checkpoint`, which is bare; prompts may use `embeddings`.

        With `visits` its parts are in RAM and come to the device to run.
        """
        self.bare = checkpoint
        self._embeddings = embeddings
        self._vae_dtype = vae_dtype
        self._allow_pickle = allow_pickle
        self._visits = visits
        self._adapters = Adapters(checkpoint, allow_pickle=allow_pickle)
        self._merging = TokenMerging(checkpoint.unet)
        self._runner = Runner(checkpoint, running, visiting=visits is not None)
        self._vae: tuple[VaeInfo, AutoencoderKL] | None = None

    @property
    def widths(self) -> tuple[int, ...]:
        """The widths of the vectors that its text encoders take."""
        return self.bare.text_widths

    def fit(
        self,
        choice: ModelChoice,
        *,
        networks_kept: int = 0,
        vae_retries: tuple[torch.dtype, ...] = (torch.float32,),
    ) -> Checkpoint:
        """The checkpoint as `choice` wants it; what another choice had put on is gone.

        Of network files used before, the last `networks_kept` stay in memory. Raises what reading
        the choice's files raises; then the next `fit` starts anew.
        """
        if self._visits is not None:
            # What is changed now must be the weights themselves, and not a visiting copy.
            self._visits.go_home()
        self._adapters.wear(choice.networks, keep=networks_kept)
        vae = self._other_vae(choice.vae) if choice.vae else self.bare.vae
        self._merging.set(choice.token_merging)
        set_tiling(self.bare.unet, choice.tiling)
        set_tiling(vae, choice.tiling)
        traits = replace(
            self.bare.traits, embeddings=self._table(choice), notes=self._adapters.notes
        )
        forward = self._runner.under(choice)
        return replace(
            self.bare,
            vae=vae,
            traits=traits,
            vae_retries=vae_retries,
            forward=forward,
            lighten=self._runner.lighten,
        )

    def undress(self) -> None:
        """Make it bare, with nothing beside it in memory; its weights may move then."""
        self._runner.forget()
        self._adapters.wear(())
        self._forget_vae()

    def _table(self, choice: ModelChoice) -> EmbeddingTable:
        """The embeddings of the folders, and those that came with networks, if any."""
        encode = self.bare.traits.tokenizer.encode
        bundled = self._adapters.embeddings
        if not bundled:
            return self._embeddings.table(self.widths, encode)
        path = choice.networks[0].network.path
        brought = (
            Embedding(name=name, path=path, tensors=vectors) for name, vectors in bundled.items()
        )
        return EmbeddingTable((*self._embeddings.embeddings(), *brought), self.widths, encode)

    def _other_vae(self, wanted: VaeInfo) -> "AutoencoderKL":
        """The autoencoder of a file; the one used last stays loaded."""
        if self._vae is None or self._vae[0] != wanted:
            self._forget_vae()
            vae = load_vae(
                wanted,
                device=self.bare.device if self._visits is None else torch.device("cpu"),
                dtype=self._vae_dtype,
                channels_last=self.bare.channels_last,
                allow_pickle=self._allow_pickle,
                # Often it is the one that the checkpoint has itself.
                stock=Stock([Part.of(self.bare.vae)]),
            )
            if self._visits is not None:
                self._visits.add(vae)
            self._vae = wanted, vae
        return self._vae[1]

    def _forget_vae(self) -> None:
        if self._visits is not None and self._vae is not None:
            self._visits.remove(self._vae[1])
        self._vae = None
