"""Noise of one batch: an image has generators of its own, so company does not change it."""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from .brownian import BrownianPath
from .philox import PhiloxGenerator
from .plan import NoiseSource, Seeds
from .transfer import sent

#: from a shape to standard normal numbers of it, each call the next
Stream = Callable[[tuple[int, ...]], Tensor]
#: seeds are counted modulo this, so that a negative one is a large one
_SEEDS = 2**64
#: pixels a latent
SCALE = 8


def _generator(seed: int, source: NoiseSource, device: torch.device) -> Stream:
    """A stream of standard normal draws from `seed`, given on `device`."""
    if source == "NV":
        philox = PhiloxGenerator(seed)
        return lambda shape: sent(torch.from_numpy(philox.randn(shape)), device)
    home = torch.device("cpu") if source == "CPU" else device
    generator = torch.Generator(home).manual_seed(seed)
    return lambda shape: sent(torch.randn(shape, generator=generator, device=home), device)


def slerp(weight: float, low: Tensor, high: Tensor) -> Tensor:
    """Spherical interpolation of two noises [C,h,w], angles taken along dimension 1.

    Nearly parallel noises are mixed linearly with the weight on `low`, as the reference does.
    """
    low_unit = low / torch.norm(low, dim=1, keepdim=True)
    high_unit = high / torch.norm(high, dim=1, keepdim=True)
    dot = (low_unit * high_unit).sum(1)
    if dot.mean() > 0.9995:
        return low * weight + high * (1 - weight)
    omega = torch.acos(dot)
    sine = torch.sin(omega)
    low_part = (torch.sin((1.0 - weight) * omega) / sine).unsqueeze(1) * low
    return low_part + (torch.sin(weight * omega) / sine).unsqueeze(1) * high


def _paste_centred(small: Tensor, into: Tensor) -> Tensor:
    """`small` [C,h,w] laid on the middle of `into`, cropped where it is larger."""
    left = (into.shape[2] - small.shape[2]) // 2
    top = (into.shape[1] - small.shape[1]) // 2
    width = small.shape[2] if left >= 0 else small.shape[2] + 2 * left
    height = small.shape[1] if top >= 0 else small.shape[1] + 2 * top
    to_x, to_y = max(left, 0), max(top, 0)
    from_x, from_y = max(-left, 0), max(-top, 0)
    pasted = into.clone()
    pasted[:, to_y : to_y + height, to_x : to_x + width] = small[
        :, from_y : from_y + height, from_x : from_x + width
    ]
    return pasted


class BatchNoise:
    """The randomness of a batch: `first` once, then `draw` and `between` as the sampler asks."""

    def __init__(
        self, seeds: Seeds, shape: tuple[int, int, int], device: torch.device, span: Sequence[float]
    ) -> None:
        """Noise of `shape` (C,h,w) an image; `span` are the sigmas the sampler will visit."""
        self._seeds = seeds
        self._shape = shape
        self._device = device
        self._span = [sigma for sigma in span if sigma > 0]
        self._streams = [self._fresh(seed) for seed in seeds.seeds]
        self._paths: list[BrownianPath] = []

    def first(self) -> Tensor:
        """The batch's starting noise [N,C,h,w], with variation seeds and seed resizing applied."""
        noise = torch.stack([self._first(image) for image in range(len(self._streams))])
        if self._seeds.eta_delta:
            shifted = (seed + self._seeds.eta_delta for seed in self._seeds.seeds)
            self._streams = [self._fresh(seed) for seed in shifted]
        return noise

    def _first(self, image: int) -> Tensor:
        drawn = self._shape
        if self._seeds.resize_from:
            width, height = self._seeds.resize_from
            drawn = (drawn[0], height // SCALE, width // SCALE)
        resized = drawn != self._shape
        stream = self._fresh(self._seeds.seeds[image]) if resized else self._streams[image]
        noise = stream(drawn)
        if self._seeds.subseed_strength:
            variation = self._fresh(self._seeds.subseeds[image])(drawn)
            noise = slerp(self._seeds.subseed_strength, noise, variation)
        return _paste_centred(noise, self._streams[image](self._shape)) if resized else noise

    def _fresh(self, seed: int) -> Stream:
        return _generator(seed % _SEEDS, self._seeds.source, self._device)

    def draw(self) -> Tensor:
        """The next standard normal numbers [N,C,h,w]."""
        return torch.stack([stream(self._shape) for stream in self._streams])

    def between(self, sigma: float, following: float) -> Tensor:
        """The Brownian increment from `sigma` to `following`, scaled to unit variance."""
        if not self._paths:
            self._paths = self._per_image() if self._seeds.brownian_per_image else self._shared()
        steps = torch.cat([path.increment(sigma, following) for path in self._paths])
        return steps / math.sqrt(abs(following - sigma))

    def _per_image(self) -> list[BrownianPath]:
        return [self._path(seed, images=1) for seed in self._seeds.seeds]

    def _shared(self) -> list[BrownianPath]:
        """One path for the batch, seeded as the reference is: by the last image's next integer."""
        dice = torch.Generator().manual_seed(self._seeds.seeds[-1])
        seed = int(torch.randint(0, 2**63 - 1, [], generator=dice))
        return [self._path(seed, images=len(self._seeds.seeds))]

    def _path(self, seed: int, *, images: int) -> BrownianPath:
        def randn(node: int) -> Tensor:
            return self._fresh(node)((images, *self._shape))

        return BrownianPath(min(self._span), max(self._span), seed=seed % _SEEDS, randn=randn)
