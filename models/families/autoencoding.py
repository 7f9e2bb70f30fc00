"""Pictures through an autoencoder: as many at once as memory is meant for, in tiles if need be."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from diffusers import AutoencoderKL
from torch import Tensor

from ..memory import forget_frames, is_out_of_memory

#: a latent is so many pixels wide
SCALE = 8
#: Bytes that one channel of all pictures at once may take: a GPU is busy with four pictures of
#: 512x512 in half precision; more gain nothing, and take more than one of 1024x1024 does anyway. On
#: a CPU pictures gain by company only where they are small.
AT_ONCE: Mapping[str, int] = {"cuda": 1 << 21, "cpu": 1 << 20}
#: The same of one picture, above which it goes in tiles: 2048x2048 in half precision, half of that
#: in float32. SD's decoder takes some 1000 times as much (measured: 3.9 kB a pixel in float32).
WHOLE = 1 << 23
#: Sides of the tiles in pixels: the larger, the less can one tell them in the picture.
TILES = (1024, 512)

#: runs the autoencoder on some pictures or latents, in tiles of a side in pixels or whole
Run = Callable[[Tensor, int | None], Tensor]


@dataclass(frozen=True, slots=True)
class Way:
    """How pictures go through: so many at once, whole or in tiles of that side in pixels."""

    images: int
    tile: int | None = None


def ways(height: int, width: int, dtype: torch.dtype, device: torch.device) -> Iterator[Way]:
    """For pictures of that size in pixels, from the fastest way to what takes least memory."""
    size = height * width * dtype.itemsize
    if size <= WHOLE:
        together = AT_ONCE.get(device.type, AT_ONCE["cpu"]) // size
        if together > 1:
            yield Way(together)
        yield Way(1)
    for side in TILES:
        if side < max(height, width):
            yield Way(1, side)


def passed(run: Run, values: Tensor, found: Iterator[Way], lighten: Callable[[], bool]) -> Tensor:
    """All of `values` [N,...] through `run`.

    Where memory runs out, what `lighten` lets go of is let go, if that is anything; else the next
    way is taken. Raises what `run` raises, and that memory ran out where there is no other way.
    """
    way, following = next(found), next(found, None)
    done: list[Tensor] = []
    left = values
    while len(left):
        try:
            output = run(left[: way.images], way.tile)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            # what the attempt had reached is still in its frames
            forget_frames(error)
            if not lighten():
                if following is None:
                    raise
                way, following = following, next(found, None)
            if values.device.type == "cuda":
                torch.cuda.empty_cache()
        else:
            done.append(output)
            left = left[way.images :]
    return done[0] if len(done) == 1 else torch.cat(done)


def decoded(vae: AutoencoderKL, z: Tensor, tile: int | None) -> Tensor:
    """Latents [N,4,h,w] in the autoencoder's format as float32 pixels [N,3,8h,8w]."""
    with _tiled(vae, tile):
        pixels: Tensor = vae.decode(z, return_dict=False)[0]
    return pixels.float()


def encoded(vae: AutoencoderKL, pixels: Tensor, tile: int | None) -> Tensor:
    """Pixels [N,3,8h,8w] in the autoencoder's format as float32 means [N,4,h,w]."""
    with _tiled(vae, tile):
        mean: Tensor = vae.encode(pixels).latent_dist.mean
    return mean.float()


@contextmanager
def _tiled(vae: AutoencoderKL, tile: int | None) -> Iterator[None]:
    """Have the library cut what comes into tiles."""
    if tile is None:
        yield
        return
    before = vae.tile_sample_min_size, vae.tile_latent_min_size
    vae.tile_sample_min_size, vae.tile_latent_min_size = tile, tile // SCALE
    vae.enable_tiling()
    try:
        yield
    finally:
        vae.disable_tiling()
        vae.tile_sample_min_size, vae.tile_latent_min_size = before
