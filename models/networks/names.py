"""What a key of a network file names: a module of the checkpoint, and a part of its change.

Trainers spell both in many ways: kohya's scripts and LyCORIS write the module's name with
underscores, in diffusers' or in LDM's layout; diffusers and peft write it with dots. OpenCLIP's
text encoders are called by the names of transformers or by their own.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from torch import nn

from ..families.base import Checkpoint
from ..families.ldm_keys import RESNET, UNET_FIXED
from ..families.text import ClipEncoder

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
_LDM_NAMES: Mapping[str, str] = {
    **UNET_FIXED,
    "label_emb.0.0": "add_embedding.linear_1",
    "label_emb.0.2": "add_embedding.linear_2",
}
#: what OpenCLIP holds in one matrix, in the order of its rows
_FUSED = ("q_proj", "k_proj", "v_proj")
_FUSED_NAME = "in_proj"
_CLIP_LAYER = re.compile(r"encoder\.layers\.(\d+)\.(.+)")
# https://github.com/mlfoundations/open_clip, `transformer.py`
_OPEN_CLIP: Mapping[str, str] = {
    "embeddings.token_embedding": "token_embedding",
    "final_layer_norm": "ln_final",
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Place:
    """A module that networks may change, by its name in the checkpoint."""

    name: str
    module: nn.Module
    in_text_encoder: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Owner:
    """What a text encoder's module names begin with, where underscores or dots part them."""

    flat: tuple[str, ...]
    dotted: tuple[str, ...]


# The names of kohya's trainer, diffusers, webui, ComfyUI, and of LDM's layout. `lora_te1_` is what
# an SDXL trainer calls the encoder that SD1 has too.
_ALONE = _Owner(
    flat=("lora_te_", "lora_te1_", "transformer_", "model_", "0_model_"),
    dotted=(
        "",
        "text_encoder.",
        "cond_stage_model.transformer.",
        "cond_stage_model.model.",
        "conditioner.embedders.0.model.",
        "clip_l.transformer.",
        "clip_h.transformer.",
        "text_encoders.clip_l.transformer.",
        "text_encoders.clip_h.transformer.",
    ),
)
_PAIR = (
    _Owner(
        flat=("lora_te1_", "0_transformer_"),
        dotted=(
            "text_encoder.",
            "conditioner.embedders.0.transformer.",
            "clip_l.transformer.",
            "text_encoders.clip_l.transformer.",
        ),
    ),
    _Owner(
        flat=("lora_te2_", "1_model_"),
        dotted=(
            "text_encoder_2.",
            "conditioner.embedders.1.model.",
            "clip_g.transformer.",
            "text_encoders.clip_g.transformer.",
        ),
    ),
)


def split_key(key: str) -> tuple[str, str] | None:
    """The module's name as the file spells it, and the part; None for a key of no known kind."""
    key = key.removeprefix("base_model.model.")
    key = _PROCESSOR.sub(lambda found: f".{_attention(found[1])}.lora.", key)
    found = _KEY.fullmatch(key)
    return None if found is None else (found[1], _PART_OF[found[2]])


def places(checkpoint: Checkpoint) -> dict[str, tuple[Place, ...]]:
    """The checkpoint's modules by every spelling of their names.

    Several modules are what a file may have in one matrix, their rows one below the other.
    """
    found: dict[str, tuple[Place, ...]] = {}
    layers = len(checkpoint.unet.down_blocks[0].resnets)
    attention = [bool(getattr(block, "attentions", None)) for block in checkpoint.unet.up_blocks]
    for name, module in _modules(checkpoint.unet):
        place = Place(name=f"unet.{name}", module=module, in_text_encoder=False)
        ldm = ldm_name(name, layers=layers, attention=attention)
        found |= dict.fromkeys(_unet_spellings(name, ldm), (place,))
    pair = len(checkpoint.encoders) == len(_PAIR)
    owners = _PAIR if pair else (_ALONE,) * len(checkpoint.encoders)
    for number, (encoder, owner) in enumerate(zip(checkpoint.encoders, owners, strict=True), 1):
        found |= _text_places(encoder, owner, f"text_encoder_{number}" if pair else "text_encoder")
    return found


def _text_places(encoder: ClipEncoder, owner: _Owner, said: str) -> dict[str, tuple[Place, ...]]:
    """One encoder's modules; `said` is what it is called where people read it."""
    found: dict[str, tuple[Place, ...]] = {}
    fused: dict[str, dict[str, Place]] = {}
    modules = dict(_modules(encoder.text_model))
    if encoder.module is not encoder.text_model:
        modules |= {n: m for n, m in _modules(encoder.module) if n == "text_projection"}
    for name, module in modules.items():
        place = Place(name=f"{said}.{name}", module=module, in_text_encoder=True)
        found |= dict.fromkeys(_text_spellings(name, owner), (place,))
        head, _, part = name.rpartition(".")
        if part in _FUSED:
            fused.setdefault(f"{head}.{_FUSED_NAME}", {})[part] = place
    for name, parts in fused.items():
        rows = tuple(parts[part] for part in _FUSED)
        found |= dict.fromkeys(_text_spellings(name, owner), rows)
    return found


def ldm_name(name: str, *, layers: int, attention: list[bool]) -> str:
    """A UNet module's name in LDM's layout.

    `layers` a level, `attention` for each of the up blocks. The inverse of `ldm_keys.unet`.
    """
    found = _BLOCK.fullmatch(name)
    if found is None:
        for old, new in _LDM_NAMES.items():
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


def _text_spellings(name: str, owner: _Owner) -> Iterator[str]:
    own = _open_clip_name(name)
    for prefix in owner.flat:
        for each in (f"text_model.{name}", name, own):
            yield prefix + _flat(each)
    names = [f"text_model.{name}", name, own]
    if (head := name.rpartition("."))[2] in _TEXT_ATTENTION:
        attention = f"{head[0]}.{_TEXT_ATTENTION[head[2]]}"
        names += [f"text_model.{attention}", attention]
    for prefix in owner.dotted:
        yield from (prefix + each for each in names)


def _open_clip_name(name: str) -> str:
    """What OpenCLIP calls a module of transformers' CLIP."""
    if (found := _CLIP_LAYER.fullmatch(name)) is None:
        return _OPEN_CLIP.get(name, name)
    rest = found[2].replace("self_attn.", "attn.")
    return f"transformer.resblocks.{found[1]}.{_OPEN_CLIP.get(rest, rest)}"


def _attention(part: str) -> str:
    return "to_out.0" if part == "to_out" else part


def _flat(name: str) -> str:
    return name.replace(".", "_")
