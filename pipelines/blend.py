"""Inpainting in latents: what is not to be repainted is put back at every model call."""

from dataclasses import dataclass

import torch
from torch import Tensor

from .pictures.soft import SoftInpainting

#: keeps the length of a vanished vector from being divided by
_TINY = 1e-5


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Blend:
    """What is kept: `init` [N,C,h,w] wherever `mask` [1,1,h,w] is 0; where it is 1 all is new.

    `soft` blends by the noise level instead of by the mask alone.
    """

    init: Tensor
    mask: Tensor
    soft: SoftInpainting | None = None

    def at(self, latents: Tensor, level: float, scale: float = 1.0) -> Tensor:
        """`latents` with the kept part put back, at a noise level (a sigma, or a time step).

        `scale` is what the kept part is multiplied by to be in the latents' scale.
        """
        init = self.init * scale
        if self.soft is None:
            return latents * self.mask + init * (1 - self.mask)
        exponent = level**self.soft.schedule_bias * self.soft.preservation_strength
        return _interpolated(init, latents, self.mask**exponent, self.soft.contrast_boost)

    def result(self, latents: Tensor) -> Tensor:
        """The result of a pass; soft inpainting leaves the blending to the pictures."""
        if self.soft is not None:
            return latents
        return latents * self.mask + self.init * (1 - self.mask)


def _interpolated(a: Tensor, b: Tensor, share: Tensor, power: float) -> Tensor:
    """Between `a` and `b` by `share` of b: direction linearly, length by a power mean.

    A power above 1 leans to the longer of the two, which keeps contrast where they disagree.
    """
    mixed = torch.lerp(a, b, share)
    length = mixed.norm(dim=1, keepdim=True).double() + _TINY
    long_a = a.norm(dim=1, keepdim=True).double() ** power
    long_b = b.norm(dim=1, keepdim=True).double() ** power
    wanted = torch.lerp(long_a, long_b, share.double()) ** (1 / power)
    longer: Tensor = mixed * (wanted / length).to(mixed.dtype)
    return longer
