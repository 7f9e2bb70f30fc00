"""What a file of weights is found to be; torch-free."""

from dataclasses import dataclass
from typing import Literal

Family = Literal["SD1", "SD2", "SDXL", "SD3"]
Variant = Literal["base", "inpainting", "edit", "refiner", "depth", "unclip", "upscaler"]
Prediction = Literal["epsilon", "v"]
#: whose names the tensors have
Layout = Literal["ldm", "diffusers"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """What a header shows; `reason` says in one line why the file cannot be used as a checkpoint.

    `family` is None for what is no model of Stable Diffusion. `prediction` is None where the header
    cannot tell (SD2's two have equal shapes). `storage` names the floating types of the weights as
    safetensors spells them, the one with most numbers first. `ema` files hold averaged weights
    too. `zero_snr` files ask for a schedule that ends in noise alone.
    """

    name: str
    family: Family | None = None
    variant: Variant = "base"
    prediction: Prediction | None = None
    layout: Layout | None = None
    storage: tuple[str, ...] = ()
    ema: bool = False
    zero_snr: bool = False
    reason: str | None = None
