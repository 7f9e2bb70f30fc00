"""Token merging (https://arxiv.org/abs/2303.17604): self-attention over fewer, averaged tokens.

As the reference uses it: at the UNet's full resolution alone, without randomness, around
self-attention and nothing else.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

#: side of the squares of which one token each is kept to merge others into
_CELL = 2


@dataclass(frozen=True, slots=True, eq=False)
class Merging:
    """Which tokens [B,N,C] are merged into which, image by image."""

    kept: Tensor
    merged: Tensor
    targets: Tensor
    into: Tensor

    @classmethod
    def of(cls, tokens: Tensor, height: int, width: int, ratio: float) -> "Merging":
        """Pair off `ratio` of the tokens of a `height` x `width` grid with their likeliest targets.

        The targets are the first token of each square; the most similar pairs are merged.
        """
        grid = torch.arange(height * width, device=tokens.device).view(height, width)
        whole = grid[: height // _CELL * _CELL, : width // _CELL * _CELL]
        into = whole[::_CELL, ::_CELL].flatten()
        # What is left in its order, without a mask: to count one waits for the device.
        targets = torch.zeros(height * width, dtype=torch.uint8, device=tokens.device)
        targets.scatter_(0, into, 1)
        sources = targets.argsort(stable=True)[: height * width - len(into)]
        unit = tokens / tokens.norm(dim=-1, keepdim=True)
        likeness, best = (unit[:, sources] @ unit[:, into].transpose(1, 2)).max(dim=-1)
        count = min(int(tokens.shape[1] * ratio), len(sources))
        order = likeness.argsort(dim=-1, descending=True)
        return cls(
            kept=sources[order[:, count:]],
            merged=sources[order[:, :count]],
            targets=best.gather(1, order[:, :count]),
            into=into.expand(len(tokens), -1),
        )

    def merge(self, tokens: Tensor) -> Tensor:
        """Fewer tokens: those kept, then the targets, averaged with what is merged into them."""
        targets = _picked(tokens, self.into).scatter_reduce(
            1, _wide(self.targets, tokens), _picked(tokens, self.merged), reduce="mean"
        )
        return torch.cat([_picked(tokens, self.kept), targets], dim=1)

    def unmerge(self, tokens: Tensor) -> Tensor:
        """All tokens again; those merged are as their targets."""
        count = self.kept.shape[1]
        kept, targets = tokens[:, :count], tokens[:, count:]
        places = torch.cat([self.kept, self.into, self.merged], dim=1)
        values = torch.cat([kept, targets, _picked(targets, self.targets)], dim=1)
        return torch.empty_like(values).scatter_(1, _wide(places, values), values)


class TokenMerging:
    """Merges tokens within a UNet while it is on."""

    def __init__(self, unet: nn.Module) -> None:
        """Stand by at `unet`; nothing is merged yet."""
        self._unet = unet
        self._ratio = 0.0
        self._handles: list[RemovableHandle] = []
        self._size = (0, 0)

    def set(self, ratio: float) -> None:
        """Merge this share of the tokens from now on; 0 for none."""
        if ratio == self._ratio:
            return
        for handle in self._handles:
            handle.remove()
        self._handles, self._ratio = [], ratio
        if ratio > 0:
            self._handles.append(self._unet.register_forward_pre_hook(self._note_size))
            for block in self._unet.modules():
                if hasattr(block, "attn1") and hasattr(block, "norm1"):
                    self._attach(block)

    def _note_size(self, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        self._size = inputs[0].shape[-2:]

    def _attach(self, block: Any) -> None:
        """Merge before the block's self-attention and unmerge after it.

        Likeness is measured on what the block is given, which its first norm sees.
        """
        current: list[Merging] = []

        def measure(module: nn.Module, inputs: tuple[Any, ...]) -> None:
            current.clear()
            height, width = self._size
            if inputs[0].shape[1] == height * width and min(height, width) >= _CELL:
                current.append(Merging.of(inputs[0], height, width, self._ratio))

        def merge(module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
            return (current[0].merge(inputs[0]), *inputs[1:]) if current else inputs

        def unmerge(module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor:
            return current.pop().unmerge(output) if current else output

        self._handles += [
            block.norm1.register_forward_pre_hook(measure),
            block.attn1.register_forward_pre_hook(merge),
            block.attn1.register_forward_hook(unmerge),
        ]


def _wide(places: Tensor, tokens: Tensor) -> Tensor:
    return places[:, :, None].expand(-1, -1, tokens.shape[2])


def _picked(tokens: Tensor, places: Tensor) -> Tensor:
    return tokens.gather(1, _wide(places, tokens))
