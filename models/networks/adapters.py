"""Puts networks on a loaded checkpoint's weights, and takes them off again."""

import os
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import structlog
import torch
from torch import Tensor, nn

from ..errors import CheckpointError
from ..families.base import Checkpoint
from ..folders import printable
from .changes import Change, Misfit, change_of, check
from .files import NetworkInfo, NetworkUse
from .names import Place, places
from .reading import NetworkFile, read_network

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Version:
    """A file as it is on the disk; another size or time of change means another file."""

    path: Path
    size: int
    mtime_ns: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Network:
    """A file's changes that fit the checkpoint, and its embeddings."""

    changes: Mapping[Place, Change]
    embeddings: Mapping[str, Tensor]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Original:
    """A module's parameters, on the CPU, as the checkpoint has them."""

    weight: Tensor
    bias: Tensor | None


class Adapters:
    """The networks that one checkpoint wears.

    Not safe for several threads: it belongs to the one that runs the checkpoint.
    """

    def __init__(self, checkpoint: Checkpoint, *, allow_pickle: bool = False) -> None:
        """Begin with a bare checkpoint."""
        self._checkpoint = checkpoint
        self._allow_pickle = allow_pickle
        self._places = places(checkpoint)
        self._worn: tuple[tuple[NetworkUse, _Version | None], ...] = ()
        self._loaded: OrderedDict[_Version, _Network] = OrderedDict()
        self._originals: dict[Place, _Original] = {}
        self._embeddings: Mapping[str, Tensor] = MappingProxyType({})

    @property
    def embeddings(self) -> Mapping[str, Tensor]:
        """Vectors [n, width], on the CPU, of the embeddings inside the networks worn, by name.

        Of two of one name the first counts. They may be of another width than the text encoder.
        """
        return self._embeddings

    @torch.inference_mode()
    def wear(self, uses: tuple[NetworkUse, ...], *, keep: int = 0) -> None:
        """Make the weights exactly the checkpoint's own plus the networks of `uses`, in order.

        Nothing is done where they are so already; a file that changed on the disk is read anew.
        Besides those worn, the `keep` last used ones stay in memory.

        A file that cannot be read costs a warning and is left out, as in the reference; so is a
        module that its file does not fit (a network for another kind of model). Should anything
        else fail, the weights are the checkpoint's own.
        """
        wanted = tuple((use, _version(use.network.path)) for use in uses)
        if wanted == self._worn:
            return
        started = time.perf_counter()
        loaded = [(use, self._network(use.network, version)) for use, version in wanted]
        networks = [(use, network) for use, network in loaded if network is not None]
        self._worn, self._embeddings = (), MappingProxyType({})
        self._put_on(networks)
        self._worn = wanted
        bundled = {
            name: part for _, network in networks[::-1] for name, part in network.embeddings.items()
        }
        self._embeddings = MappingProxyType(bundled)
        self._forget({version for _, version in wanted if version is not None}, keep)
        seconds = round(time.perf_counter() - started, 3)
        log.info("networks put on", names=[use.network.name for use in uses], seconds=seconds)

    def _network(self, info: NetworkInfo, version: _Version | None) -> _Network | None:
        if version is not None and version in self._loaded:
            self._loaded.move_to_end(version)
            return self._loaded[version]
        try:
            file = read_network(info.path, allow_pickle=self._allow_pickle)
        except CheckpointError as error:
            log.warning("network left out", path=printable(info.path), reason=error.reason)
            return None
        network = self._fitting(info, file)
        if version is not None:
            self._loaded[version] = network
        return network

    def _fitting(self, info: NetworkInfo, file: NetworkFile) -> _Network:
        """Keep what fits the checkpoint; say once what does not."""
        changes: dict[Place, Change] = {}
        misfits: list[str] = []
        for target, parts in file.changes.items():
            place = self._places.get(target)
            if place is None:
                misfits.append(f"{target}: the model has no such module")
                continue
            try:
                change = change_of(parts)
                check(change, *_shapes(place.module))
            except Misfit as error:
                misfits.append(f"{place.name}: {error}")
            else:
                changes[place] = change
        if misfits or file.unknown:
            log.warning(
                "network fits only in part" if changes else "network does not fit this checkpoint",
                name=info.name,
                modules_changed=len(changes),
                modules_left_out=len(misfits),
                unknown_keys=len(file.unknown),
                first=(misfits or file.unknown)[0],
            )
        return _Network(changes=changes, embeddings=file.embeddings)

    def _put_on(self, networks: list[tuple[NetworkUse, _Network]]) -> None:
        wanted: dict[Place, list[tuple[NetworkUse, Change]]] = {}
        for use, network in networks:
            for place, change in network.changes.items():
                if _strength(use, place) != 0:
                    wanted.setdefault(place, []).append((use, change))
        done = False
        try:
            for place in self._originals.keys() - wanted.keys():
                self._restore(place)
            for place, changes in wanted.items():
                self._change(place, changes)
            done = True
        finally:
            if not done:
                for place in list(self._originals):
                    self._restore(place)

    def _change(self, place: Place, changes: list[tuple[NetworkUse, Change]]) -> None:
        module, device = place.module, self._checkpoint.device
        original = self._originals.get(place)
        if original is None:
            original = self._originals[place] = _backup(module)
        weight = original.weight.to(device, torch.float32)
        bias = None if original.bias is None else original.bias.to(device, torch.float32)
        for use, change in changes:
            moved, strength = change.on(device), _strength(use, place)
            weight = weight + strength * moved.of_weight(weight, use.dyn_dim)
            if (added := moved.of_bias()) is not None:
                bias = strength * added if bias is None else bias + strength * added
        _set(module, weight, bias)

    def _restore(self, place: Place) -> None:
        original = self._originals[place]
        _set(place.module, original.weight, original.bias)
        del self._originals[place]

    def _forget(self, worn: set[_Version], keep: int) -> None:
        idle = [version for version in self._loaded if version not in worn]
        for version in idle[: max(0, len(idle) - keep)]:
            del self._loaded[version]


def _strength(use: NetworkUse, place: Place) -> float:
    return use.text_weight if place.in_text_encoder else use.unet_weight


def _version(path: Path) -> _Version | None:
    """How the file is now; None where it has gone."""
    try:
        stat = os.stat(path)
    except OSError:
        return None
    return _Version(path=path, size=stat.st_size, mtime_ns=stat.st_mtime_ns)


def _shapes(module: nn.Module) -> tuple[torch.Size, torch.Size | None]:
    """The shapes of a module's weight and of the bias that it has or could have."""
    weight = module.get_parameter("weight").shape
    return weight, (weight[:1] if "bias" in module._parameters else None)


def _backup(module: nn.Module) -> _Original:
    bias = module._parameters.get("bias")
    return _Original(
        weight=module.get_parameter("weight").to("cpu", copy=True),
        bias=None if bias is None else bias.to("cpu", copy=True),
    )


def _set(module: nn.Module, weight: Tensor, bias: Tensor | None) -> None:
    """Write a module's parameters in place, in its own dtype; without `bias` it has none."""
    module.get_parameter("weight").copy_(weight)
    if bias is not None and module._parameters["bias"] is None:
        like = module.get_parameter("weight")
        module.register_parameter(
            "bias", nn.Parameter(bias.to(like.device, like.dtype), requires_grad=False)
        )
    elif bias is not None:
        module.get_parameter("bias").copy_(bias)
    elif module._parameters.get("bias") is not None:
        module.register_parameter("bias", None)
