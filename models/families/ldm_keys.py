"""The names of one weight in an LDM single file, and in the module that holds it here.

Each function maps a file's name, its part's prefix removed, to the module's name, to UNUSED where
it is known and of no use, or to None where it belongs to nothing the module has.
"""

import re
from collections.abc import Mapping, Sequence

from .modules import UNUSED, Targets

UNET_FIXED: Mapping[str, str] = {
    "time_embed.0": "time_embedding.linear_1",
    "time_embed.2": "time_embedding.linear_2",
    "label_emb.0.0": "add_embedding.linear_1",
    "label_emb.0.2": "add_embedding.linear_2",
    "input_blocks.0.0": "conv_in",
    "middle_block.0": "mid_block.resnets.0",
    "middle_block.1": "mid_block.attentions.0",
    "middle_block.2": "mid_block.resnets.1",
    "out.0": "conv_norm_out",
    "out.2": "conv_out",
}
RESNET: Mapping[str, str] = {
    "in_layers.0": "norm1",
    "in_layers.2": "conv1",
    "emb_layers.1": "time_emb_proj",
    "out_layers.0": "norm2",
    "out_layers.3": "conv2",
    "skip_connection": "conv_shortcut",
}
VAE_ATTENTION: Mapping[str, str] = {
    "norm": "group_norm",
    "q": "to_q",
    "k": "to_k",
    "v": "to_v",
    "proj_out": "to_out.0",
}
TEXT_PROJECTION = "text_projection.weight"
TEXT_UNUSED = ("embeddings.position_ids", "logit_scale")
#: parts of a training run that some files keep
VAE_UNUSED = ("loss.", "model_ema.")
UNET_BLOCK = re.compile(r"(input|output)_blocks\.(\d+)\.(\d+)\.(.+)")
VAE_BLOCK = re.compile(r"(encoder|decoder)\.(down|up)\.(\d+)\.(\w+)\.(.+)")
VAE_MIDDLE = re.compile(r"(encoder|decoder)\.mid\.(block|attn)_([12])\.(.+)")


def unet(name: str, *, layers: int, attention: Sequence[bool]) -> str | None:
    """Map a UNet's name.

    `layers` a level; `attention`, level by level from the full resolution down, on the way up.
    """
    if found := UNET_BLOCK.fullmatch(name):
        side, block, part, rest = found[1], int(found[2]), int(found[3]), found[4]
        if side == "output":
            return _output_block(block, part, rest, layers=layers, attention=attention)
        if block > 0:
            return _input_block(block - 1, part, rest, layers=layers)
    for old, new in UNET_FIXED.items():
        if name.startswith(old + "."):
            rest = name.removeprefix(old + ".")
            return f"{new}.{_rename(rest, RESNET) if '.resnets.' in new else rest}"
    return None


def _input_block(block: int, part: int, rest: str, *, layers: int) -> str | None:
    level, layer = divmod(block, layers + 1)
    if layer == layers:
        return f"down_blocks.{level}.downsamplers.0.conv.{rest.removeprefix('op.')}"
    return _layer(f"down_blocks.{level}", layer, part, rest)


def _output_block(
    block: int, part: int, rest: str, *, layers: int, attention: Sequence[bool]
) -> str | None:
    level, layer = divmod(block, layers + 1)
    if level >= len(attention):
        return None
    # What follows the resnet (and the attention, where the level has one) is the upsampler.
    if part == (2 if attention[-1 - level] else 1):
        return f"up_blocks.{level}.upsamplers.0.{rest}"
    return _layer(f"up_blocks.{level}", layer, part, rest)


def _layer(block: str, layer: int, part: int, rest: str) -> str | None:
    if part == 0:
        return f"{block}.resnets.{layer}.{_rename(rest, RESNET)}"
    return f"{block}.attentions.{layer}.{rest}" if part == 1 else None


def vae(name: str, *, levels: int) -> str | Targets | None:
    """Map an autoencoder's name; the decoder counts its levels from the other end."""
    if name.startswith(VAE_UNUSED):
        return UNUSED
    if found := VAE_BLOCK.fullmatch(name):
        side, direction, kind, rest = found[1], found[2], found[4], found[5]
        level = int(found[3]) if direction == "down" else levels - 1 - int(found[3])
        block = f"{side}.{direction}_blocks.{level}"
        if kind == "block":
            return f"{block}.resnets.{_shortcut(rest)}"
        return f"{block}.{kind}rs.0.{rest}" if kind in ("downsample", "upsample") else None
    if found := VAE_MIDDLE.fullmatch(name):
        side, kind, number, rest = found[1], found[2], int(found[3]) - 1, found[4]
        if kind == "attn":
            return f"{side}.mid_block.attentions.{number}.{_rename(rest, VAE_ATTENTION)}"
        return f"{side}.mid_block.resnets.{number}.{_shortcut(rest)}"
    return name.replace(".norm_out.", ".conv_norm_out.")


def text_encoder(name: str, *, projected: bool = False) -> str | Targets | None:
    """Map a name of CLIP in transformers' layout, which older tools wrote without `text_model.`.

    The encoder that is `projected` keeps that level, beside which its projection stands.
    """
    bare = name.removeprefix("text_model.")
    if bare in TEXT_UNUSED or (bare == TEXT_PROJECTION and not projected):
        return UNUSED
    return f"text_model.{bare}" if projected and bare != TEXT_PROJECTION else bare


def _shortcut(rest: str) -> str:
    return rest.replace("nin_shortcut.", "conv_shortcut.")


def _rename(rest: str, table: Mapping[str, str]) -> str:
    owner, _, leaf = rest.rpartition(".")
    return f"{table.get(owner, owner)}.{leaf}"
