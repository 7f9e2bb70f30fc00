"""The names of one weight in OpenCLIP's text tower, and in transformers' CLIP that holds it here.

OpenCLIP (https://github.com/mlfoundations/open_clip) keeps the query, key and value of attention
in one matrix, and its projection the other way round.
"""

import re
from collections.abc import Mapping

from .modules import UNUSED, Targets

FIXED: Mapping[str, str] = {
    "token_embedding.weight": "embeddings.token_embedding.weight",
    "positional_embedding": "embeddings.position_embedding.weight",
    "ln_final.weight": "final_layer_norm.weight",
    "ln_final.bias": "final_layer_norm.bias",
}
LAYER: Mapping[str, str] = {
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "attn.out_proj": "self_attn.out_proj",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
}
PROJECTION = "text_projection"
NOT_LEARNT_HERE = ("logit_scale", "attn_mask")
BLOCK = re.compile(r"transformer\.resblocks\.(\d{1,4})\.(.+)\.(weight|bias)")
IN_PROJECTION = re.compile(r"transformer\.resblocks\.(\d{1,4})\.attn\.in_proj_(weight|bias)")


def text_encoder(name: str, *, layers: int, projected: bool) -> str | Targets | None:
    """Map a name, the tower's prefix removed.

    Layers from `layers` on are of no use, nor is the projection of an encoder that is not
    `projected`. None where it belongs to nothing that the module has.
    """
    level = "text_model." if projected else ""
    if name in FIXED:
        return level + FIXED[name]
    if name == PROJECTION:
        return Targets((f"{PROJECTION}.weight",), transposed=True) if projected else UNUSED
    if name in NOT_LEARNT_HERE:
        return UNUSED
    block = IN_PROJECTION.fullmatch(name) or BLOCK.fullmatch(name)
    if block is None:
        return None
    if int(block[1]) >= layers:
        return UNUSED
    layer = f"{level}encoder.layers.{int(block[1])}"
    if block.re is IN_PROJECTION:
        return Targets(tuple(f"{layer}.self_attn.{part}_proj.{block[2]}" for part in "qkv"))
    return f"{layer}.{LAYER[block[2]]}.{block[3]}" if block[2] in LAYER else None
