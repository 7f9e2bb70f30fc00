"""Noise that continues a picture: as its spectrum has it, in its colours (outpainting mk2)."""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Spectrum = NDArray[np.complex128]

_TINY = 1e-6
_KNOWN = 1e-3


def fill(image: Array, mask: Array, falloff: float, color_variation: float) -> Array:
    """`image` with noise where `mask` is 1, both float [H, W, 3] of 0..1.

    White noise, always the same, is given the amplitudes (to the power `falloff`) and the phases of
    the picture's spectrum, then the known part's histogram, channel by channel. `color_variation`
    is how much of the noise differs between channels.
    """
    grey = mask.mean(axis=2)
    known = image * (1 - grey[..., None])
    peak = known.max()
    # without a brightest point there is no spectrum to continue
    known = (known / peak if peak > 0 else known) + image.mean() * mask
    spectrum = _transform(known)
    amplitude = np.abs(spectrum)
    phase: Spectrum = np.divide(
        spectrum, amplitude, out=np.zeros_like(spectrum), where=amplitude > 0
    )
    noise = _smooth_noise(image.shape, color_variation)
    noise = _inverse(phase * (np.abs(_transform(noise)) ** 2 * amplitude**falloff))
    noise -= noise.min()
    noise /= noise.max() or 1.0
    wanted, reference = grey > _TINY, grey < _KNOWN
    if reference.any():
        noise[wanted] = _matched(noise[wanted], image[reference])
    filled: Array = np.clip(image * (1 - mask) + noise * mask, 0.0, 1.0)
    return filled


def _transform(values: Array) -> Spectrum:
    """The spectrum of every channel, its zero in the middle."""
    centred = np.fft.fftshift(values, axes=(0, 1))
    return np.fft.ifftshift(np.fft.fft2(centred, axes=(0, 1), norm="ortho"), axes=(0, 1))


def _inverse(spectrum: Spectrum) -> Array:
    centred = np.fft.fftshift(spectrum, axes=(0, 1))
    values: Array = np.fft.ifft2(centred, axes=(0, 1), norm="ortho").real
    return np.fft.ifftshift(values, axes=(0, 1))


def _smooth_noise(shape: tuple[int, ...], color_variation: float) -> Array:
    """White noise [H, W, 3] whose spectrum falls off from the middle."""
    noise = np.random.default_rng(0).random(shape)
    grey = noise.mean(axis=2, keepdims=True)
    noise = noise * color_variation + grey * (1 - color_variation)
    return _inverse(_transform(noise) * _window(shape[0], shape[1])[..., None])


def _window(height: int, width: int) -> Array:
    """[H, W]: a hill of two Cauchy curves, as wide in pixels across as down."""
    shorter = min(height, width)
    down = (np.arange(height) / height * 2 - 1) * (height / shorter)
    across = (np.arange(width) / width * 2 - 1) * (width / shorter)
    hill: Array = 1 / np.outer(down**2 + 1, across**2 + 1)
    return hill


def _matched(values: Array, reference: Array) -> Array:
    """`values` [n, 3] moved, channel by channel, to the distribution of `reference` [m, 3]."""
    moved = np.empty_like(values)
    for channel in range(values.shape[1]):
        _, inverse, counts = np.unique(values[:, channel], return_inverse=True, return_counts=True)
        levels, level_counts = np.unique(reference[:, channel], return_counts=True)
        quantiles = np.cumsum(counts) / len(values)
        moved[:, channel] = np.interp(quantiles, np.cumsum(level_counts) / len(reference), levels)[
            inverse
        ]
    return moved
