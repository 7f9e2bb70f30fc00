"""Philox4x32-10, the counter-based generator behind `torch.randn` on NVIDIA GPUs, on the host.

Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011. It lets a seed noted on an
NVIDIA machine give the same noise anywhere.
"""

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint32]

_MULTIPLIERS = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
_WEYL = (0x9E3779B9, 0xBB67AE85)
_LOW = np.uint64(0xFFFFFFFF)
_WIDTH = np.uint64(32)
# rounded to float32 as CUDA has them, then used in float64 as the reference does
_TWO_POW_32_INVERSE = float(np.float32(2.3283064e-10))
_TWO_PI_POW_32_INVERSE = float(np.float32(2.3283064e-10 * 6.2831855))


def _words(values: NDArray[np.uint64]) -> tuple[Words, Words]:
    """The high and the low 32 bits."""
    return (values >> _WIDTH).astype(np.uint32), (values & _LOW).astype(np.uint32)


def philox(counter: Words, key: tuple[int, int]) -> Words:
    """Ten rounds over `counter` [4,n] with `key`; returns [4,n]."""
    for i in range(10):
        low_key = np.uint32((key[0] + i * _WEYL[0]) & 0xFFFFFFFF)
        high_key = np.uint32((key[1] + i * _WEYL[1]) & 0xFFFFFFFF)
        high_0, low_0 = _words(counter[0].astype(np.uint64) * _MULTIPLIERS[0])
        high_1, low_1 = _words(counter[2].astype(np.uint64) * _MULTIPLIERS[1])
        counter = np.stack(
            [high_1 ^ counter[1] ^ low_key, low_1, high_0 ^ counter[3] ^ high_key, low_0]
        )
    return counter


class PhiloxGenerator:
    """A seeded stream of draws, each as CUDA's `torch.randn` would give it for a small tensor."""

    def __init__(self, seed: int) -> None:
        """Start the stream of `seed` (taken modulo 2**64)."""
        self._key = (seed & 0xFFFFFFFF, (seed >> 32) & 0xFFFFFFFF)
        self._draws = 0

    def randn(self, shape: tuple[int, ...]) -> NDArray[np.float32]:
        """The next standard normal numbers: counter word 0 counts draws, word 2 elements."""
        count = int(np.prod(shape))
        counter = np.zeros((4, count), np.uint32)
        counter[0] = self._draws
        counter[2] = np.arange(count, dtype=np.uint32)
        self._draws += 1
        words = philox(counter, self._key)
        u = words[0].astype(np.float64) * _TWO_POW_32_INVERSE + _TWO_POW_32_INVERSE / 2
        v = words[1].astype(np.float64) * _TWO_PI_POW_32_INVERSE + _TWO_PI_POW_32_INVERSE / 2
        normal = np.sqrt(-2.0 * np.log(u)) * np.sin(v)
        return np.asarray(normal.reshape(shape), np.float32)
