"""What settings there are: their defaults, and the sections that group them. Torch-free."""

import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any

NOTES: Mapping[str, str] = MappingProxyType(
    {
        "profiling_explanation": "The torch profiler of the reference has no counterpart here.",
        "sd_vae_explanation": "A VAE turns pictures into what the model draws on, and back.",
        "infotext_explanation": "Infotexts tell how a picture was made; png-info reads them.",
        "settings_in_ui": "Settings of the reference's page; there is no page here.",
    }
)
"""Remarks that the reference lists among the settings; they cannot be set."""

_FIRST_OF_SECTION = (
    ("samples_save", "saving-images"),
    ("outdir_samples", "saving-paths"),
    ("save_to_dirs", "saving-to-dirs"),
    ("ESRGAN_tile", "upscaling"),
    ("face_restoration", "face-restoration"),
    ("auto_launch_browser", "system"),
    ("profiling_enable", "profiler"),
    ("api_enable_requests", "API"),
    ("unload_models_when_training", "training"),
    ("sd_model_checkpoint", "sd"),
    ("sdxl_crop_top", "sdxl"),
    ("sd3_enable_t5", "sd3"),
    ("sd_vae_checkpoint_cache", "vae"),
    ("inpainting_mask_weight", "img2img"),
    ("cross_attention_optimization", "optimizations"),
    ("auto_backcompat", "compatibility"),
    ("interrogate_keep_models_in_memory", "interrogate"),
    ("extra_networks_show_hidden_directories", "extra_networks"),
    ("keyedit_precision_attention", "ui_prompt_editing"),
    ("return_grid", "ui_gallery"),
    ("compact_prompt_box", "ui_alternatives"),
    ("localization", "ui"),
    ("enable_pnginfo", "infotext"),
    ("show_progressbar", "ui"),
    ("hide_samplers", "sampler-params"),
    ("postprocessing_enable_in_main_ui", "postprocessing"),
    ("disabled_extensions", ""),
    ("sd_lora", "extra_networks"),
    ("lora_functional", "compatibility"),
    ("extra_options_txt2img", "settings_in_ui"),
    ("canvas_hotkey_zoom", "canvas_hotkey"),
    ("enable_prompt_comments", "sd"),
    ("ldsr_steps", "upscaling"),
    ("hypertile_enable_unet", "hypertile"),
    ("darkroom_old_sampler_names", "compatibility"),
)
"""The reference's sections by their first key, in the order of the table of defaults."""


@cache
def defaults() -> Mapping[str, Any]:
    """The reference's default of every setting, in its order."""
    text = files(__package__).joinpath("data/options_defaults.json").read_text("utf-8")
    return MappingProxyType(json.loads(text))


@cache
def sections() -> Mapping[str, str]:
    """The section of every setting; empty for those that the reference's page does not show."""
    first_of, current = dict(_FIRST_OF_SECTION), ""
    found: dict[str, str] = {}
    for key in defaults():
        current = first_of.get(key, current)
        found[key] = current
    return MappingProxyType(found)
