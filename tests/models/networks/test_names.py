import pytest
import torch
from torch import nn

from models.families import ldm_keys
from models.networks.names import Place, ldm_name, places, split_key

from ..families.variants import reference


@pytest.fixture(scope="module")
def found() -> dict[str, Place]:
    """The spellings that mean one module, as nearly all do."""
    return {name: each[0] for name, each in places(reference("tiny-sd15")).items() if not each[1:]}


@pytest.mark.parametrize(
    ("key", "wanted"),
    (
        ("lora_unet_x_to_q.lora_up.weight", ("lora_unet_x_to_q", "up")),
        ("lora_unet_x.lora_mid.weight", ("lora_unet_x", "mid")),
        ("lora_unet_x.alpha", ("lora_unet_x", "alpha")),
        ("unet.x.to_out.0.lora_A.weight", ("unet.x.to_out.0", "down")),
        ("base_model.model.unet.x.lora_B.default.weight", ("unet.x", "up")),
        ("unet.x.attn1.to_q.lora.down.weight", ("unet.x.attn1.to_q", "down")),
        ("x.attn1.processor.to_out_lora.up.weight", ("x.attn1.to_out.0", "up")),
        ("unet.x.attn1.processor.to_k_lora.down.weight", ("unet.x.attn1.to_k", "down")),
        ("text_encoder.x.self_attn.to_v_lora.up.weight", ("text_encoder.x.self_attn.to_v", "up")),
        ("unet.x.lora_linear_layer.up.weight", ("unet.x", "up")),
        ("unet.x.lora_magnitude_vector", ("unet.x", "magnitude")),
        ("lora_unet_x.dora_scale", ("lora_unet_x", "dora_scale")),
        ("lora_unet_x.weight", ("lora_unet_x", "ia3")),
        ("lora_unet_x.hada_w1_a", ("lora_unet_x", "hada_w1_a")),
        ("lora_unet_x.lokr_t2", ("lora_unet_x", "lokr_t2")),
        ("lora_unet_x.a1.weight", ("lora_unet_x", "a1")),
        ("lora_unet_x.oft_blocks", ("lora_unet_x", "oft_blocks")),
        ("lora_unet_x.bias_indices", ("lora_unet_x", "bias_indices")),
        ("alpha", None),
        ("", None),
        ("." * 50_000, None),
    ),
)
def test_a_key_is_a_module_and_a_part(key: str, wanted: tuple[str, str] | None) -> None:
    assert split_key(key) == wanted


def test_ldm_names_are_those_that_checkpoints_are_read_by() -> None:
    unet = reference("tiny-sd15").unet
    layers = unet.config.layers_per_block
    down = [hasattr(block, "attentions") for block in unet.down_blocks]
    up = [hasattr(block, "attentions") for block in unet.up_blocks]
    for name in unet.state_dict():
        module, _, leaf = name.rpartition(".")
        ldm = ldm_name(module, layers=layers, attention=up)
        assert ldm_keys.unet(f"{ldm}.{leaf}", layers=layers, attention=down) == name


UNET_MODULE = "down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_out.0"
SPELLINGS = (
    "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn2_to_out_0",
    "lora_unet_input_blocks_4_1_transformer_blocks_0_attn2_to_out_0",
    "diffusion_model_input_blocks_4_1_transformer_blocks_0_attn2_to_out_0",
    "diffusion_model.input_blocks.4.1.transformer_blocks.0.attn2.to_out.0",
    "lycoris_down_blocks_1_attentions_0_transformer_blocks_0_attn2_to_out_0",
    f"unet.{UNET_MODULE}",
    UNET_MODULE,
)
TEXT_MODULE = "encoder.layers.3.self_attn.out_proj"
TEXT_SPELLINGS = (
    "lora_te_text_model_encoder_layers_3_self_attn_out_proj",
    "lora_te1_text_model_encoder_layers_3_self_attn_out_proj",
    "lora_te_encoder_layers_3_self_attn_out_proj",
    f"text_encoder.text_model.{TEXT_MODULE}",
    f"text_encoder.{TEXT_MODULE}",
    "text_encoder.text_model.encoder.layers.3.self_attn.to_out.0",
)


def test_every_spelling_of_a_name_is_the_same_module(found: dict[str, Place]) -> None:
    checkpoint = reference("tiny-sd15")
    for spelling in SPELLINGS:
        assert found[spelling].module is checkpoint.unet.get_submodule(UNET_MODULE)
        assert not found[spelling].in_text_encoder
    for spelling in TEXT_SPELLINGS:
        assert found[spelling].module is checkpoint.encoders[0].module.get_submodule(TEXT_MODULE)
        assert found[spelling].in_text_encoder


def test_every_weight_has_its_place_and_no_two_share_a_spelling(found: dict[str, Place]) -> None:
    checkpoint = reference("tiny-sd15")
    owners = [
        module
        for root in (checkpoint.unet, checkpoint.encoders[0].module)
        for module in root.modules()
        if isinstance(module._parameters.get("weight"), torch.Tensor)
    ]
    places_found = {id(place.module): place for place in found.values()}
    assert places_found.keys() == {id(module) for module in owners}
    unet = [place for place in set(found.values()) if not place.in_text_encoder]
    assert len(found) == sum(len(spellings(found, place)) for place in set(found.values()))
    assert all(len(spellings(found, place)) == len(SPELLINGS) + 1 for place in unet)


def spellings(found: dict[str, Place], place: Place) -> list[str]:
    return [name for name, each in found.items() if each is place]


def test_an_upsampler_is_found_though_it_was_replaced(found: dict[str, Place]) -> None:
    module = found["lora_unet_up_blocks_0_upsamplers_0_conv"].module
    assert isinstance(module, nn.Conv2d)
    assert found["lora_unet_output_blocks_2_1_conv"].module is module
