"""Puts networks on a loaded checkpoint's weights, and takes them off again."""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import groupby
from types import MappingProxyType

import structlog
import torch
from torch import Tensor

from ..families.base import Checkpoint
from .changes import Change, Factors
from .files import NetworkUse
from .fitted import Fitted, Fitter, Version, version_of
from .names import Place, places
from .originals import Original, begin, finish, keep, put_back

log = structlog.get_logger(__name__)

#: what the networks of one prompt may hold together
MAX_WORN_BYTES = 8 << 30


@dataclass(frozen=True, slots=True)
class _Term:
    """A change that a module wears, and how strongly."""

    change: Change
    strength: float
    dyn_dim: int | None


class Adapters:
    """The networks that one checkpoint wears.

    Not safe for several threads: it belongs to the one that runs the checkpoint.
    """

    def __init__(self, checkpoint: Checkpoint, *, allow_pickle: bool = False) -> None:
        """Begin with a bare checkpoint."""
        self._fitter = Fitter(checkpoint.family, places(checkpoint), allow_pickle=allow_pickle)
        # Weights that visit the device only to run are changed there, and go home at once.
        self._device = checkpoint.device
        #: None while the weights are neither the checkpoint's own nor what was wanted last
        self._worn: tuple[tuple[NetworkUse, Version | None], ...] | None = ()
        self._terms: dict[Place, tuple[_Term, ...]] = {}
        self._originals: dict[Place, Original] = {}
        self._embeddings: Mapping[str, tuple[Tensor, ...]] = MappingProxyType({})
        self._notes: tuple[str, ...] = ()

    @property
    def embeddings(self) -> Mapping[str, tuple[Tensor, ...]]:
        """For each text encoder the vectors [n, width] of the embeddings inside the networks worn.

        By name, on the CPU. Of two of one name the first counts. They may be of other widths than
        the text encoders.
        """
        return self._embeddings

    @property
    def notes(self) -> tuple[str, ...]:
        """What could not be put on of the networks worn, for the client, in a line each."""
        return self._notes

    @property
    def nbytes(self) -> int:
        """The memory held beside the checkpoint's own: networks, and originals of weights."""
        return self._fitter.nbytes + sum(each.nbytes for each in self._originals.values())

    @torch.inference_mode()
    def wear(self, uses: tuple[NetworkUse, ...], *, keep: int = 0) -> None:
        """Make the weights exactly the checkpoint's own plus the networks of `uses`, in order.

        Nothing is done where they are so already; a file that changed on the disk is read anew.
        Besides those worn, the `keep` last used ones stay in memory.

        A file that cannot be read costs a warning and is left out, as in the reference; so is a
        module that its file does not fit (a network for another kind of model). Should anything
        else fail, the weights are the checkpoint's own.
        """
        wanted = tuple((use, version_of(use.network.path)) for use in uses)
        if wanted == self._worn:
            return
        started = time.perf_counter()
        self._worn, self._embeddings, self._notes = None, MappingProxyType({}), ()
        fitted, notes = self._fitted(wanted)
        changed = self._put_on(_terms(fitted))
        self._worn, self._notes = wanted, notes
        bundled = {
            name: part for _, network in fitted[::-1] for name, part in network.embeddings.items()
        }
        self._embeddings = MappingProxyType(bundled)
        self._fitter.forget({version for _, version in wanted if version is not None}, keep)
        seconds = round(time.perf_counter() - started, 3)
        names = [use.network.name for use in uses]
        log.info("networks put on", names=names, modules=changed, seconds=seconds)

    def _fitted(
        self, wanted: Iterable[tuple[NetworkUse, Version | None]]
    ) -> tuple[list[tuple[NetworkUse, Fitted]], tuple[str, ...]]:
        """What fits of the files, and notes of what does not."""
        fitted: list[tuple[NetworkUse, Fitted]] = []
        notes: dict[str, None] = {}
        held: dict[int, int] = {}
        for use, version in wanted:
            network = self._fitter.fit(use.network, version)
            held[id(network)] = network.nbytes
            if sum(held.values()) > MAX_WORN_BYTES:
                reason = f"the networks before it take most of {MAX_WORN_BYTES >> 30} GiB"
                notes[f"lora {use.network.name!r} left out: {reason}"] = None
                del held[id(network)]
                self._fitter.drop(version)
                continue
            fitted.append((use, network))
            notes |= dict.fromkeys(network.notes)
        return fitted, tuple(notes)

    def _put_on(self, wanted: Mapping[Place, tuple[_Term, ...]]) -> int:
        """Change the modules whose terms are others than now; gives how many those were."""
        changed = 0
        done = False
        try:
            for place in self._originals.keys() - wanted.keys():
                self._restore(place)
            for place, terms in wanted.items():
                if self._terms.get(place) != terms:
                    self._change(place, terms)
                    changed += 1
            done = True
        finally:
            if not done:
                for place in list(self._originals):
                    self._restore(place)
                self._worn = ()
        return changed

    def _change(self, place: Place, terms: tuple[_Term, ...]) -> None:
        self._terms.pop(place, None)
        original = self._originals.get(place)
        first = original is None
        if original is None:
            # Text encoders may share their memory with other checkpoints' (`families.sharing`).
            original = keep(place.module, aside=place.in_text_encoder)
            self._originals[place] = original
        weight, bias = begin(place.module, original, first=first, device=self._device)
        for term in terms:
            if (added := term.change.of_bias()) is not None:
                added = term.strength * added.to(weight.device, weight.dtype)
                bias = added if bias is None else bias.add_(added)
        for product, each in groupby(terms, lambda term: term.change.is_product(weight.shape)):
            if product and weight.is_contiguous():
                _add_products(weight, [_product(term, weight) for term in each])
            else:
                for term in each:
                    moved = term.change.on(weight.device)
                    moved.add_to(weight, term.strength, term.dyn_dim)
        finish(place.module, original, weight, bias)
        self._terms[place] = terms

    def _restore(self, place: Place) -> None:
        put_back(place.module, self._originals[place])
        del self._originals[place]
        self._terms.pop(place, None)


def _terms(fitted: Iterable[tuple[NetworkUse, Fitted]]) -> Mapping[Place, tuple[_Term, ...]]:
    """By module, what it is to wear."""
    wanted: dict[Place, tuple[_Term, ...]] = {}
    for use, network in fitted:
        for place, change in network.changes.items():
            strength = use.text_weight if place.in_text_encoder else use.unet_weight
            if strength != 0:
                term = _Term(change, strength, use.dyn_dim)
                wanted[place] = (*wanted.get(place, ()), term)
    return wanted


def _product(term: _Term, weight: Tensor) -> Factors:
    up, down = term.change.on(weight.device).factors(term.dyn_dim)
    return up * term.strength, down


def _add_products(weight: Tensor, products: list[Factors]) -> None:
    """Add the products of matrices to a weight in one pass over it."""
    up = torch.cat([up for up, _ in products], dim=1)
    down = torch.cat([down for _, down in products])
    weight.view(len(weight), -1).addmm_(up, down)
