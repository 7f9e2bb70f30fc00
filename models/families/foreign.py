"""What an unsupported file is, so that its user can be told."""

from ..header import Header

# The first marker found in any tensor's name decides, so the narrow ones come first.
MARKERS: tuple[tuple[str, str], ...] = (
    ("conditioner.embedders.1.", "a Stable Diffusion XL checkpoint"),
    ("conditioner.embedders.0.model.", "a Stable Diffusion XL refiner checkpoint"),
    ("joint_blocks.", "a Stable Diffusion 3 checkpoint"),
    ("double_blocks.", "a Flux checkpoint"),
    ("cond_stage_model.model.", "a Stable Diffusion 2 checkpoint"),
    ("control_model.", "a ControlNet"),
    ("lora_unet_", "a LoRA"),
    ("lora_te", "a LoRA"),
    (".lora_down.", "a LoRA"),
    (".lora_A.", "a LoRA"),
    ("emb_params", "a textual inversion embedding"),
    ("down_blocks.", "a single part in diffusers' layout"),
    ("model.diffusion_model.", "a UNet without a text encoder of a known kind"),
    ("decoder.up.", "a VAE alone"),
)


def describe(header: Header) -> str:
    """Say in a few words what a file seems to be."""
    for marker, kind in MARKERS:
        if any(marker in name for name in header.tensors):
            return kind
    return "a file of no kind known here"
