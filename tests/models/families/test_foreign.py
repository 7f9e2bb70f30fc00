import pytest

from models.families.foreign import describe
from models.header import Header, TensorEntry

UNET = "model.diffusion_model.input_blocks.0.0.weight"


@pytest.mark.parametrize(
    ("names", "kind"),
    [
        ([UNET, "conditioner.embedders.0.transformer.x", "conditioner.embedders.1.model.x"], "XL"),
        ([UNET, "conditioner.embedders.0.model.x"], "refiner"),
        ([UNET, "cond_stage_model.model.transformer.x"], "Diffusion 2"),
        (["model.diffusion_model.joint_blocks.0.context_block.x"], "Diffusion 3"),
        (["model.diffusion_model.double_blocks.0.img_attn.x"], "Flux"),
        (["double_blocks.0.img_attn.x"], "Flux"),
        (["lora_unet_down_blocks_0.lora_down.weight"], "LoRA"),
        (["emb_params"], "textual inversion"),
        (["encoder.conv_in.weight", "decoder.up.0.block.0.conv1.weight"], "VAE"),
        (["down_blocks.0.resnets.0.conv1.weight"], "diffusers"),
        ([UNET], "without a text encoder"),
        (["anything"], "no kind known"),
    ],
)
def test_a_foreign_file_is_named(names: list[str], kind: str) -> None:
    entry = TensorEntry(dtype="F16", shape=(1,))
    assert kind in describe(Header(tensors=dict.fromkeys(names, entry), metadata={}))
