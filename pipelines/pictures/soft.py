"""What soft inpainting is asked to do; see `covers` for the masks it makes."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class SoftInpainting:
    """Numbers of soft inpainting; the defaults are the wire's.

    While sampling, the mask is raised to `sigma ** schedule_bias * preservation_strength` and
    original and result are mixed, their lengths by a mean of power `contrast_boost`. Afterwards a
    place whose latents moved by `difference_threshold` is half covered by the original; the step
    around that is steeper with `difference_contrast`, and `mask_influence` (0 to 1) says how far
    the client's mask shifts it.
    """

    schedule_bias: float = 1.0
    preservation_strength: float = 0.5
    contrast_boost: float = 4.0
    mask_influence: float = 0.0
    difference_threshold: float = 0.5
    difference_contrast: float = 2.0
