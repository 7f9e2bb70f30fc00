import pytest

from models.families import ldm_keys
from models.families.modules import UNUSED

SD1 = (True, True, True, False)


@pytest.mark.parametrize(
    ("name", "mapped"),
    [
        ("time_embed.0.weight", "time_embedding.linear_1.weight"),
        ("input_blocks.0.0.bias", "conv_in.bias"),
        ("input_blocks.2.0.in_layers.2.weight", "down_blocks.0.resnets.1.conv1.weight"),
        ("input_blocks.3.0.op.weight", "down_blocks.0.downsamplers.0.conv.weight"),
        ("input_blocks.4.0.skip_connection.bias", "down_blocks.1.resnets.0.conv_shortcut.bias"),
        ("input_blocks.4.1.proj_in.weight", "down_blocks.1.attentions.0.proj_in.weight"),
        (
            "input_blocks.5.1.transformer_blocks.0.attn2.to_out.0.bias",
            "down_blocks.1.attentions.1.transformer_blocks.0.attn2.to_out.0.bias",
        ),
        ("middle_block.0.emb_layers.1.weight", "mid_block.resnets.0.time_emb_proj.weight"),
        ("middle_block.1.norm.weight", "mid_block.attentions.0.norm.weight"),
        ("output_blocks.2.1.conv.weight", "up_blocks.0.upsamplers.0.conv.weight"),
        ("output_blocks.5.1.norm.weight", "up_blocks.1.attentions.2.norm.weight"),
        ("output_blocks.5.2.conv.bias", "up_blocks.1.upsamplers.0.conv.bias"),
        ("output_blocks.11.0.out_layers.0.weight", "up_blocks.3.resnets.2.norm2.weight"),
        ("out.0.weight", "conv_norm_out.weight"),
        ("out.2.bias", "conv_out.bias"),
        ("label_emb.0.0.weight", "add_embedding.linear_1.weight"),
        ("label_emb.0.2.bias", "add_embedding.linear_2.bias"),
        ("label_emb.weight", None),
        ("output_blocks.12.0.in_layers.0.weight", None),
        ("input_blocks.1.3.norm.weight", None),
    ],
)
def test_unet_names(name: str, mapped: str | None) -> None:
    assert ldm_keys.unet(name, layers=2, attention=SD1) == mapped


@pytest.mark.parametrize(
    ("name", "mapped"),
    [
        ("encoder.conv_in.weight", "encoder.conv_in.weight"),
        (
            "encoder.down.1.block.0.nin_shortcut.weight",
            "encoder.down_blocks.1.resnets.0.conv_shortcut.weight",
        ),
        ("encoder.down.2.downsample.conv.bias", "encoder.down_blocks.2.downsamplers.0.conv.bias"),
        ("encoder.mid.attn_1.q.weight", "encoder.mid_block.attentions.0.to_q.weight"),
        ("decoder.mid.attn_1.proj_out.bias", "decoder.mid_block.attentions.0.to_out.0.bias"),
        ("decoder.mid.attn_1.norm.weight", "decoder.mid_block.attentions.0.group_norm.weight"),
        ("decoder.mid.block_2.conv1.weight", "decoder.mid_block.resnets.1.conv1.weight"),
        ("decoder.up.3.block.2.norm1.weight", "decoder.up_blocks.0.resnets.2.norm1.weight"),
        ("decoder.up.1.upsample.conv.weight", "decoder.up_blocks.2.upsamplers.0.conv.weight"),
        ("decoder.norm_out.bias", "decoder.conv_norm_out.bias"),
        ("post_quant_conv.weight", "post_quant_conv.weight"),
        ("encoder.down.0.attn.0.q.weight", None),
    ],
)
def test_vae_names(name: str, mapped: str | None) -> None:
    assert ldm_keys.vae(name, levels=4) == mapped


@pytest.mark.parametrize("name", ["loss.logvar", "model_ema.decay"])
def test_what_is_left_of_a_vaes_training_is_known(name: str) -> None:
    assert ldm_keys.vae(name, levels=4) == UNUSED


@pytest.mark.parametrize(
    ("name", "mapped"),
    [
        ("text_model.final_layer_norm.bias", "final_layer_norm.bias"),
        ("encoder.layers.3.mlp.fc1.weight", "encoder.layers.3.mlp.fc1.weight"),
    ],
)
def test_text_encoder_names(name: str, mapped: str) -> None:
    assert ldm_keys.text_encoder(name) == mapped
    assert ldm_keys.text_encoder(name, projected=True) == f"text_model.{mapped}"


def test_what_is_beside_a_text_encoder() -> None:
    assert ldm_keys.text_encoder("text_model.embeddings.position_ids") == UNUSED
    assert ldm_keys.text_encoder("logit_scale") == UNUSED
    projection = "text_projection.weight"
    assert ldm_keys.text_encoder(projection) == UNUSED
    assert ldm_keys.text_encoder(projection, projected=True) == projection
