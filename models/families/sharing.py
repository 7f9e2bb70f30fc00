"""Parts that checkpoints have in common: one memory for what is equal to the bit."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """The tensors of a loaded module, as its file has them, by their names in the module.

    Whoever shares them must not write into them: another weight is put in a tensor's place.
    """

    tensors: Mapping[str, Tensor]

    @classmethod
    def of(cls, module: nn.Module) -> "Part":
        """What `module` holds now."""
        return cls(dict(module.state_dict()))

    def fits(
        self, expected: Mapping[str, Tensor], dtype: torch.dtype, device: torch.device
    ) -> bool:
        """Whether a module that expects these names and shapes could take it as it is."""
        return self.tensors.keys() == expected.keys() and all(
            mine.shape == expected[name].shape
            and mine.dtype is dtype
            and mine.device.type == device.type
            for name, mine in self.tensors.items()
        )


@dataclass(slots=True, eq=False)
class Stock:
    """The parts that a checkpoint about to be loaded may share; those found unlike are let go."""

    parts: list[Part] = field(default_factory=list)
