"""Which number formats a checkpoint's parts compute in, and how their weights lie in memory."""

from dataclasses import dataclass, replace

import torch


@dataclass(frozen=True, slots=True, kw_only=True)
class Formats:
    """How the weights of one checkpoint's parts are held.

    With `channels_last` those of the convolutions in UNet and VAE lie with the channels innermost,
    as a GPU's tensor cores read them.
    """

    unet: torch.dtype = torch.float32
    vae: torch.dtype = torch.float32
    text: torch.dtype = torch.float32
    channels_last: bool = False

    @classmethod
    def all(cls, dtype: torch.dtype, *, channels_last: bool = False) -> "Formats":
        """The same for every part."""
        return cls(unet=dtype, vae=dtype, text=dtype, channels_last=channels_last)


@dataclass(frozen=True, slots=True, kw_only=True)
class Precision:
    """What formats a device's checkpoints get: `formats`, if nothing speaks for others.

    With `keeps_bfloat16` a UNet or a half-precision VAE that its file has in bfloat16 stays so:
    what was trained in it may leave float16's range. `wider` are the formats for a UNet that
    overflowed, in turn.
    """

    formats: Formats = Formats()
    keeps_bfloat16: bool = False
    wider: tuple[torch.dtype, ...] = ()

    def of(
        self,
        *,
        unet: torch.dtype | None,
        vae: torch.dtype | None,
        overflowed: torch.dtype | None = None,
    ) -> Formats:
        """The formats for a checkpoint whose file has these; None where it is not known.

        `overflowed` is what its UNet was moved to since, None if it never overflowed.
        """
        found = self.formats
        if self.keeps_bfloat16 and unet is torch.bfloat16:
            found = replace(found, unet=unet)
        if self.keeps_bfloat16 and vae is torch.bfloat16 and found.vae is not torch.float32:
            found = replace(found, vae=vae)
        return found if overflowed is None else replace(found, unet=overflowed)

    def after(self, dtype: torch.dtype) -> torch.dtype | None:
        """The format for a UNet that overflowed in `dtype`; None where there is no other."""
        if dtype is torch.float32:
            return None
        left = self.wider[self.wider.index(dtype) + 1 :] if dtype in self.wider else self.wider
        return next(iter(left), None)


def precision_for(
    device: torch.device, *, full: bool, full_vae: bool = False, bfloat16: bool = False
) -> Precision:
    """What the flags mean on a device: float16, or float32 where it is to be `full`.

    `bfloat16` says that the device computes in it. Only a GPU gains by channels that lie last.
    """
    formats = Formats.all(
        torch.float32 if full else torch.float16, channels_last=device.type == "cuda"
    )
    if full:
        return Precision(formats=formats)
    if full_vae:
        formats = replace(formats, vae=torch.float32)
    wider = (torch.bfloat16, torch.float32) if bfloat16 else (torch.float32,)
    return Precision(formats=formats, keeps_bfloat16=bfloat16, wider=wider)


def has_bfloat16(device: torch.device) -> bool:
    """Whether a device computes in bfloat16 at the speed of float16."""
    if device.type != "cuda" or not torch.cuda.is_available():
        return False
    with torch.cuda.device(device):
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
