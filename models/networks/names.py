"""What a key of a network file names: a module of the checkpoint, and a part of its change.

Trainers spell both in many ways: kohya's scripts and LyCORIS write the module's name with
underscores, in diffusers' or in LDM's layout; diffusers and peft write it with dots.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from torch import nn

from ..families.base import Checkpoint
from ..families.ldm_keys import RESNET, UNET_FIXED

#: each part's name here, and how files end the keys that hold it
PARTS: Mapping[str, tuple[str, ...]] = {
    "up": (
        "lora_up.weight",
        "lora_B.weight",
        "lora_B.default.weight",
        "lora.up.weight",
        "lora_linear_layer.up.weight",
    ),
    "down": (
        "lora_down.weight",
        "lora_A.weight",
        "lora_A.default.weight",
        "lora.down.weight",
        "lora_linear_layer.down.weight",
    ),
    "mid": ("lora_mid.weight",),
    "dora_scale": ("dora_scale",),
    "magnitude": (
        "lora_magnitude_vector",
        "lora_magnitude_vector.weight",
        "lora_magnitude_vector.default",
        "lora_magnitude_vector.default.weight",
    ),
    "hada_w1_a": ("hada_w1_a",),
    "hada_w1_b": ("hada_w1_b",),
    "hada_w2_a": ("hada_w2_a",),
    "hada_w2_b": ("hada_w2_b",),
    "hada_t1": ("hada_t1",),
    "hada_t2": ("hada_t2",),
    "lokr_w1": ("lokr_w1",),
    "lokr_w1_a": ("lokr_w1_a",),
    "lokr_w1_b": ("lokr_w1_b",),
    "lokr_w2": ("lokr_w2",),
    "lokr_w2_a": ("lokr_w2_a",),
    "lokr_w2_b": ("lokr_w2_b",),
    "lokr_t2": ("lokr_t2",),
    "ia3": ("weight",),
    "on_input": ("on_input",),
    "diff": ("diff",),
    "diff_b": ("diff_b",),
    "w_norm": ("w_norm",),
    "b_norm": ("b_norm",),
    "a1": ("a1.weight",),
    "a2": ("a2.weight",),
    "b1": ("b1.weight",),
    "b2": ("b2.weight",),
    "oft_blocks": ("oft_blocks",),
    "oft_diag": ("oft_diag",),
    "rescale": ("rescale",),
    "alpha": ("alpha",),
    "scale": ("scale",),
    "bias": ("bias",),
    "bias_indices": ("bias_indices",),
    "bias_values": ("bias_values",),
    "bias_size": ("bias_size",),
}
_PART_OF: Mapping[str, str] = {
    ending: part for part, endings in PARTS.items() for ending in endings
}
_KEY = re.compile(r"(.+?)\.(" + "|".join(map(re.escape, _PART_OF)) + ")", re.DOTALL)
# diffusers' first spelling hung the change on the attention's processor: `processor.to_q_lora.up`.
_PROCESSOR = re.compile(r"(?:\.processor)?\.(to_q|to_k|to_v|to_out)_lora\.(?=(?:up|down)\.weight$)")
_BLOCK = re.compile(
    r"(down|up)_blocks\.(\d+)\.(resnets|attentions|downsamplers|upsamplers)\.(\d+)\.(.+)"
)
_TEXT_ATTENTION: Mapping[str, str] = {
    "q_proj": "to_q",
    "k_proj": "to_k",
    "v_proj": "to_v",
    "out_proj": "to_out.0",
}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Place:
    """A module that networks may change, by its name in the checkpoint."""

    name: str
    module: nn.Module
    in_text_encoder: bool


def split_key(key: str) -> tuple[str, str] | None:
    """The module's name as the file spells it, and the part; None for a key of no known kind."""
    key = key.removeprefix("base_model.model.")
    key = _PROCESSOR.sub(lambda found: f".{_attention(found[1])}.lora.", key)
    found = _KEY.fullmatch(key)
    return None if found is None else (found[1], _PART_OF[found[2]])


def places(checkpoint: Checkpoint) -> dict[str, Place]:
    """The checkpoint's modules by every spelling of their names."""
    found: dict[str, Place] = {}
    layers = len(checkpoint.unet.down_blocks[0].resnets)
    attention = [bool(getattr(block, "attentions", None)) for block in checkpoint.unet.up_blocks]
    for name, module in _modules(checkpoint.unet):
        place = Place(name=f"unet.{name}", module=module, in_text_encoder=False)
        ldm = ldm_name(name, layers=layers, attention=attention)
        found |= dict.fromkeys(_unet_spellings(name, ldm), place)
    (encoder,) = checkpoint.encoders
    for name, module in _modules(encoder.text_model):
        place = Place(name=f"text_encoder.{name}", module=module, in_text_encoder=True)
        found |= dict.fromkeys(_text_spellings(name), place)
    return found


def ldm_name(name: str, *, layers: int, attention: list[bool]) -> str:
    """A UNet module's name in LDM's layout.

    `layers` a level, `attention` for each of the up blocks. The inverse of `ldm_keys.unet`.
    """
    found = _BLOCK.fullmatch(name)
    if found is None:
        for old, new in UNET_FIXED.items():
            if name == new or name.startswith(new + "."):
                rest = name.removeprefix(new)
                return old + (f".{_ldm_layer(rest[1:])}" if ".resnets." in new and rest else rest)
        return name
    side, level, kind, layer, rest = found[1], int(found[2]), found[3], int(found[4]), found[5]
    first = level * (layers + 1)
    if kind == "downsamplers":
        return f"input_blocks.{first + layers + 1}.0.{rest.replace('conv', 'op', 1)}"
    if kind == "upsamplers":
        return f"output_blocks.{first + layers}.{2 if attention[level] else 1}.{rest}"
    block = (
        f"input_blocks.{first + layer + 1}" if side == "down" else f"output_blocks.{first + layer}"
    )
    return f"{block}.0.{_ldm_layer(rest)}" if kind == "resnets" else f"{block}.1.{rest}"


def _ldm_layer(rest: str) -> str:
    return next((old for old, new in RESNET.items() if new == rest), rest)


def _modules(root: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    for name, module in root.named_modules():
        if isinstance(module._parameters.get("weight"), nn.Parameter):
            yield name, module


def _unet_spellings(name: str, ldm: str) -> Iterator[str]:
    yield from (name, f"unet.{name}", f"diffusion_model.{ldm}", f"model.diffusion_model.{ldm}")
    yield from (f"{prefix}_{_flat(name)}" for prefix in ("lora_unet", "lycoris"))
    yield from (f"{prefix}_{_flat(ldm)}" for prefix in ("lora_unet", "diffusion_model"))


def _text_spellings(name: str) -> Iterator[str]:
    # `te1` is what an SDXL trainer calls the same encoder.
    for prefix in ("lora_te_", "lora_te1_", "transformer_"):
        yield from (f"{prefix}text_model_{_flat(name)}", f"{prefix}{_flat(name)}")
    names = [name]
    if (head := name.rpartition("."))[2] in _TEXT_ATTENTION:
        names.append(f"{head[0]}.{_TEXT_ATTENTION[head[2]]}")
    for each in names:
        yield from (f"text_encoder.text_model.{each}", f"text_encoder.{each}", f"text_model.{each}")


def _attention(part: str) -> str:
    return "to_out.0" if part == "to_out" else part


def _flat(name: str) -> str:
    return name.replace(".", "_")
