"""The single file has the keys that a Stable Diffusion 1 checkpoint has, and reads back."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from models.demo.train import convert, networks, sidecar
from models.demo.train.train_inpainting import IN_CHANNELS

from ...families.variants import load_path

EXPECTED_SHAPES = {
    "model.diffusion_model.input_blocks.0.0.weight": (64, 4, 3, 3),
    "model.diffusion_model.time_embed.2.weight": (256, 256),
    "model.diffusion_model.input_blocks.3.1.transformer_blocks.0.attn2.to_k.weight": (64, 40),
    "model.diffusion_model.input_blocks.3.1.proj_in.weight": (64, 64, 1, 1),
    "model.diffusion_model.input_blocks.6.0.op.weight": (128, 128, 3, 3),
    "model.diffusion_model.input_blocks.7.0.in_layers.2.weight": (128, 128, 3, 3),
    "model.diffusion_model.middle_block.1.norm.weight": (128,),
    "model.diffusion_model.output_blocks.1.1.conv.weight": (128, 128, 3, 3),
    "model.diffusion_model.output_blocks.3.2.conv.weight": (128, 128, 3, 3),
    "model.diffusion_model.output_blocks.5.2.conv.weight": (64, 64, 3, 3),
    "model.diffusion_model.output_blocks.7.0.skip_connection.weight": (64, 128, 1, 1),
    "model.diffusion_model.out.2.weight": (4, 64, 3, 3),
    "first_stage_model.encoder.down.0.downsample.conv.weight": (32, 32, 3, 3),
    "first_stage_model.encoder.down.2.block.0.nin_shortcut.weight": (64, 32, 1, 1),
    "first_stage_model.encoder.mid.attn_1.q.weight": (64, 64, 1, 1),
    "first_stage_model.encoder.conv_out.weight": (8, 64, 3, 3),
    "first_stage_model.decoder.up.3.block.1.conv2.weight": (64, 64, 3, 3),
    "first_stage_model.decoder.up.1.block.0.nin_shortcut.weight": (32, 64, 1, 1),
    "first_stage_model.decoder.up.1.upsample.conv.weight": (32, 32, 3, 3),
    "first_stage_model.decoder.norm_out.weight": (32,),
    "first_stage_model.quant_conv.weight": (8, 8, 1, 1),
    "first_stage_model.post_quant_conv.weight": (4, 4, 1, 1),
    "cond_stage_model.transformer.text_model.embeddings.token_embedding.weight": (49408, 40),
    "cond_stage_model.transformer.text_model.final_layer_norm.weight": (40,),
    "alphas_cumprod": (1000,),
}


@pytest.fixture(scope="module")
def modules() -> tuple[torch.nn.Module, torch.nn.Module, torch.nn.Module]:
    torch.manual_seed(0)
    return networks.unet(), networks.autoencoder(), networks.text_encoder()


def test_every_tensor_has_a_place_of_its_own(
    modules: tuple[torch.nn.Module, torch.nn.Module, torch.nn.Module],
) -> None:
    tensors = convert.to_ldm(*modules)
    assert len(tensors) == sum(len(module.state_dict()) for module in modules) + 1
    shapes = {name: tuple(tensors[name].shape) for name in EXPECTED_SHAPES}
    assert shapes == EXPECTED_SHAPES
    leftovers = ("down_blocks", "up_blocks", "mid_block", "resnets", "attentions")
    assert not [name for name in tensors if any(word in name for word in leftovers)]
    assert {value.dtype for name, value in tensors.items() if name != "alphas_cumprod"} == {
        torch.float16
    }


@pytest.mark.parametrize("in_channels", [networks.LATENT_CHANNELS, IN_CHANNELS])
def test_the_server_s_loader_reads_every_tensor(
    modules: tuple[torch.nn.Module, torch.nn.Module, torch.nn.Module],
    tmp_path: Path,
    in_channels: int,
) -> None:
    _, vae, text = modules
    unet = networks.unet(in_channels=in_channels)
    path = tmp_path / "small.safetensors"
    convert.save(path, convert.to_ldm(unet, vae, text), {"title": "a test"})
    sidecar.write_sidecar(path, in_channels=in_channels)
    loaded = load_path(path)
    assert (loaded.traits.in_channels, loaded.traits.prediction) == (in_channels, "v")
    (encoder,) = loaded.encoders
    for ours, theirs in ((unet, loaded.unet), (vae, loaded.vae), (text, encoder.module)):
        kept = theirs.state_dict()
        for name, value in ours.state_dict().items():
            assert torch.equal(kept[name].view_as(value), value.half().float()), name


def test_a_name_without_a_place_is_refused() -> None:
    with pytest.raises(convert.UnknownTensor, match="down_blocks"):
        convert.unet_name("down_blocks.7.resnets.0.conv1.weight")
