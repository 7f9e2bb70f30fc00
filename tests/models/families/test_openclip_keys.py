import pytest

from models.families.modules import UNUSED, Targets
from models.families.openclip_keys import text_encoder

LAYER = "encoder.layers.3"


@pytest.mark.parametrize(
    ("name", "mapped"),
    [
        ("token_embedding.weight", "embeddings.token_embedding.weight"),
        ("positional_embedding", "embeddings.position_embedding.weight"),
        ("ln_final.bias", "final_layer_norm.bias"),
        ("transformer.resblocks.3.ln_1.weight", f"{LAYER}.layer_norm1.weight"),
        ("transformer.resblocks.3.ln_2.bias", f"{LAYER}.layer_norm2.bias"),
        ("transformer.resblocks.3.mlp.c_fc.weight", f"{LAYER}.mlp.fc1.weight"),
        ("transformer.resblocks.3.mlp.c_proj.bias", f"{LAYER}.mlp.fc2.bias"),
        ("transformer.resblocks.3.attn.out_proj.weight", f"{LAYER}.self_attn.out_proj.weight"),
        ("transformer.resblocks.3.attn.rope.weight", None),
        ("transformer.resblocks.3.attn.in_proj.weight", None),
        ("visual.proj", None),
    ],
)
def test_names(name: str, mapped: str | None) -> None:
    assert text_encoder(name, layers=24, projected=False) == mapped
    within = None if mapped is None else f"text_model.{mapped}"
    assert text_encoder(name, layers=24, projected=True) == within


@pytest.mark.parametrize("part", ["weight", "bias"])
def test_query_key_and_value_are_cut_from_one(part: str) -> None:
    name = f"transformer.resblocks.3.attn.in_proj_{part}"
    assert text_encoder(name, layers=24, projected=False) == Targets(
        (
            f"{LAYER}.self_attn.q_proj.{part}",
            f"{LAYER}.self_attn.k_proj.{part}",
            f"{LAYER}.self_attn.v_proj.{part}",
        )
    )


def test_the_projection_stands_the_other_way_round() -> None:
    turned = Targets(("text_projection.weight",), transposed=True)
    assert text_encoder("text_projection", layers=24, projected=True) == turned
    assert text_encoder("text_projection", layers=24, projected=False) == UNUSED


@pytest.mark.parametrize(
    "name",
    [
        "logit_scale",
        "attn_mask",
        "transformer.resblocks.23.ln_1.weight",
        "transformer.resblocks.23.attn.in_proj_bias",
    ],
)
def test_what_guides_nothing_is_known_all_the_same(name: str) -> None:
    assert text_encoder(name, layers=23, projected=False) == UNUSED
