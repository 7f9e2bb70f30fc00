"""Names of networks for SDXL, its refiner, SSD-1B and SD2: each reaches the weight that it means.

What a name means is read from the checkpoint's file: its tensors are named as LDM's layout and
OpenCLIP have it, and kohya's trainers and webui write the same with underscores.
"""

from functools import cache
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from structlog.testing import capture_logs
from torch import Tensor

from models.families import Checkpoint
from models.networks.adapters import Adapters
from models.networks.files import NetworkInfo, NetworkUse
from models.networks.names import Place, places

from ..families.tiny_xl import UNET, write_tiny
from ..families.variants import load_path

KINDS = ("sdxl", "ssd-1b", "refiner", "sd2")
#: by kind, the place of each OpenCLIP encoder in the file, and what begins its names
OPEN_CLIP = {
    "sdxl": ("conditioner.embedders.1.model.", ("lora_te2_", "1_model_"), "text_encoder_2."),
    "ssd-1b": ("conditioner.embedders.1.model.", ("lora_te2_", "1_model_"), "text_encoder_2."),
    "refiner": ("conditioner.embedders.0.model.", ("lora_te_", "0_model_"), "text_encoder."),
    "sd2": ("cond_stage_model.model.", ("lora_te_", "model_"), "text_encoder."),
}
LAYER = "text_model.encoder.layers.1."
TRANSFORMERS = {
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
    "attn.out_proj": "self_attn.out_proj",
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("families")


@cache
def loaded(folder: Path, kind: str) -> tuple[Checkpoint, dict[str, Tensor]]:
    path = write_tiny(folder / f"{kind}.safetensors", kind)
    return load_path(path), {name: part.float() for name, part in load_file(path).items()}


def weight(place: Place) -> Tensor:
    return place.module.get_parameter("weight")


def flat(name: str) -> str:
    return name.replace(".", "_")


def networked(path: Path, state: dict[str, Tensor]) -> tuple[NetworkUse, ...]:
    save_file({name: part.contiguous() for name, part in state.items()}, path)
    return (NetworkUse(network=NetworkInfo(path=path, name=path.stem, alias=path.stem)),)


@pytest.mark.parametrize("kind", KINDS)
def test_every_weight_of_the_unet_is_reached_by_its_name_in_the_file(
    folder: Path, kind: str
) -> None:
    checkpoint, state = loaded(folder, kind)
    found = places(checkpoint)
    names = [name for name in state if name.startswith(UNET) and name.endswith(".weight")]
    assert len(names) > 100
    for name in names:
        bare = name.removeprefix(UNET).removesuffix(".weight")
        for spelling in (f"lora_unet_{flat(bare)}", f"diffusion_model.{bare}"):
            (place,) = found[spelling]
            assert torch.equal(weight(place).flatten(), state[name].flatten()), spelling
    assert kind not in ("sdxl", "ssd-1b", "refiner") or "lora_unet_label_emb_0_0" in found


@pytest.mark.parametrize("kind", KINDS)
def test_every_weight_of_an_open_clip_encoder_is_reached_in_both_ways_to_name_it(
    folder: Path, kind: str
) -> None:
    checkpoint, state = loaded(folder, kind)
    found = places(checkpoint)
    prefix, kohya, dotted = OPEN_CLIP[kind]
    block = "transformer.resblocks.1."
    for own, theirs in TRANSFORMERS.items():
        wanted = state[f"{prefix}{block}{own}.weight"]
        spellings = [each + flat(f"{block}{own}") for each in kohya]
        spellings += [kohya[0] + flat(f"{LAYER}{theirs}"), f"{dotted}{LAYER}{theirs}"]
        spellings.append(f"{prefix}{block}{own}")
        for spelling in spellings:
            (place,) = found[spelling]
            assert place.in_text_encoder
            assert torch.equal(weight(place), wanted), spelling
    fused = state[f"{prefix}{block}attn.in_proj_weight"]
    for spelling in (kohya[0] + flat(f"{block}attn.in_proj"), f"{prefix}{block}attn.in_proj"):
        assert torch.equal(torch.cat([weight(place) for place in found[spelling]]), fused)
    parts = [
        found[kohya[0] + flat(f"{LAYER}self_attn.{part}_proj")][0].module
        for part in ("q", "k", "v")
    ]
    rows = found[kohya[0] + flat(f"{block}attn.in_proj")]
    assert [place.module for place in rows] == parts


def test_the_two_encoders_of_sdxl_have_names_of_their_own(folder: Path) -> None:
    checkpoint, state = loaded(folder, "sdxl")
    found = places(checkpoint)
    first = "conditioner.embedders.0.transformer."
    for part in ("mlp.fc1", "self_attn.q_proj", "layer_norm2"):
        wanted = state[f"{first}{LAYER}{part}.weight"]
        for spelling in (
            f"lora_te1_{flat(LAYER + part)}",
            f"0_transformer_{flat(LAYER + part)}",
            f"text_encoder.{LAYER}{part}",
            f"{first}{LAYER}{part}",
        ):
            (place,) = found[spelling]
            assert torch.equal(weight(place), wanted), spelling
    # An SD1 network names the encoder that SDXL has too, but was trained for another UNet.
    assert f"lora_te_{flat(LAYER)}mlp_fc1" not in found
    (projection,) = found["text_encoder_2.text_projection"]
    wanted = state["conditioner.embedders.1.model.text_projection"]
    assert torch.equal(weight(projection), wanted.T)


SAME = {
    "sdxl": {
        "down_blocks_1_attentions_0_transformer_blocks_0_attn1_to_q":
            "input_blocks_4_1_transformer_blocks_0_attn1_to_q",
        "down_blocks_2_attentions_1_proj_in": "input_blocks_8_1_proj_in",
        "down_blocks_0_downsamplers_0_conv": "input_blocks_3_0_op",
        "mid_block_attentions_0_proj_out": "middle_block_1_proj_out",
        "up_blocks_0_attentions_2_transformer_blocks_1_ff_net_0_proj":
            "output_blocks_2_1_transformer_blocks_1_ff_net_0_proj",
        "up_blocks_1_upsamplers_0_conv": "output_blocks_5_2_conv",
        "up_blocks_2_resnets_0_conv_shortcut": "output_blocks_6_0_skip_connection",
        "add_embedding_linear_1": "label_emb_0_0",
        "add_embedding_linear_2": "label_emb_0_2",
        "time_embedding_linear_1": "time_embed_0",
        "conv_in": "input_blocks_0_0",
        "conv_out": "out_2",
    },
    "sd2": {
        "down_blocks_0_attentions_0_proj_in": "input_blocks_1_1_proj_in",
        "up_blocks_3_attentions_2_transformer_blocks_0_attn2_to_k":
            "output_blocks_11_1_transformer_blocks_0_attn2_to_k",
        "up_blocks_0_upsamplers_0_conv": "output_blocks_2_1_conv",
    },
    "refiner": {"up_blocks_1_attentions_0_proj_in": "output_blocks_3_1_proj_in"},
    "ssd-1b": {"mid_block_resnets_0_conv1": "middle_block_0_in_layers_2"},
}  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "theirs", "ldm"),
    [(kind, *names) for kind, table in SAME.items() for names in table.items()],
)
def test_diffusers_and_ldm_s_names_of_a_module(
    folder: Path, kind: str, theirs: str, ldm: str
) -> None:
    found = places(loaded(folder, kind)[0])
    assert found[f"lora_unet_{theirs}"] == found[f"lora_unet_{ldm}"]
    assert found[f"lora_unet_{theirs}"][0].name.replace(".", "_") == f"unet_{theirs}"


@pytest.mark.parametrize("kind", KINDS)
def test_a_network_for_all_modules_fits_and_comes_off_bit_by_bit(
    folder: Path, kind: str, tmp_path: Path
) -> None:
    checkpoint, _ = loaded(folder, kind)
    roots = [checkpoint.unet, *(encoder.module for encoder in checkpoint.encoders)]
    bare = [{n: part.clone() for n, part in root.state_dict().items()} for root in roots]
    modules = {each[0].name: each[0] for each in places(checkpoint).values() if not each[1:]}
    state: dict[str, Tensor] = {}
    for name, place in modules.items():
        shape = weight(place).shape
        if len(shape) > 1:
            shape = torch.Size(shape)
            spelled = name.replace("text_encoder_1", "text_encoder")
            state[f"{spelled}.lora_A.weight"] = torch.randn(2, *shape[1:])
            state[f"{spelled}.lora_B.weight"] = torch.randn(shape[0], 2, *[1] * (len(shape) - 2))
    worn = Adapters(checkpoint)
    uses = networked(tmp_path / "all.safetensors", state)
    with capture_logs() as logs:
        worn.wear(uses)
    assert logs[0]["event"] == "networks put on"
    assert logs[0]["modules"] == len(state) // 2 > 150
    assert worn.notes == ()
    for root, before in zip(roots, bare, strict=True):
        after = {name: part for name, part in root.state_dict().items() if part.dim() > 1}
        same = {name for name in after if torch.equal(after[name], before[name])}
        assert same == set()
    worn.wear(())
    for root, before in zip(roots, bare, strict=True):
        after = root.state_dict()
        assert after.keys() == before.keys()
        assert [name for name in after if not torch.equal(after[name], before[name])] == []
    assert worn.nbytes == 0


def test_one_matrix_for_q_k_and_v_changes_all_three(folder: Path, tmp_path: Path) -> None:
    checkpoint, state = loaded(folder, "sd2")
    own = "transformer.resblocks.0.attn.in_proj"
    before = state[f"cond_stage_model.model.{own}_weight"]
    up, down = torch.randn(len(before), 4), torch.randn(4, before.shape[1])
    key = f"lora_te_{flat(own)}"
    made = {f"{key}.lora_up.weight": up, f"{key}.lora_down.weight": down}
    made |= {f"{key}.alpha": torch.tensor(2.0), f"{key}.diff_b": torch.ones(len(before))}
    worn = Adapters(checkpoint)
    worn.wear(networked(tmp_path / "a.safetensors", made))
    layer = checkpoint.encoders[0].text_model.encoder.layers[0]
    parts = [layer.get_submodule(f"self_attn.{part}_proj") for part in ("q", "k", "v")]
    found = torch.cat([part.get_parameter("weight") for part in parts])
    torch.testing.assert_close(found, before + 0.5 * up @ down)
    bias = state[f"cond_stage_model.model.{own}_bias"]
    found = torch.cat([part.get_parameter("bias") for part in parts])
    torch.testing.assert_close(found, bias + 1)
    worn.wear(())
    assert torch.equal(torch.cat([part.get_parameter("weight") for part in parts]), before)
    # A Kronecker product's rows cannot be told apart.
    made = {f"{key}.lokr_w1": torch.ones(3, 1), f"{key}.lokr_w2": before}
    worn.wear(networked(tmp_path / "b.safetensors", made))
    assert "1 of its 1 modules do not fit this SD2 model" in worn.notes[0]
    assert "3 modules in one cannot be changed by lokr_w1, lokr_w2" in worn.notes[0]
    worn.wear(())


def test_convolutions_of_one_pixel_serve_linear_layers(folder: Path, tmp_path: Path) -> None:
    """SD1's `proj_in` is a convolution, SDXL's and SD2's a linear layer."""
    checkpoint, _ = loaded(folder, "sd2")
    module = checkpoint.unet.down_blocks[0].attentions[0].proj_in
    before, width = module.weight.clone(), module.weight.shape[0]
    up, down = torch.randn(width, 2, 1, 1), torch.randn(2, width, 1, 1)
    key = "lora_unet_input_blocks_1_1_proj_in"
    state = {f"{key}.lora_up.weight": up, f"{key}.lora_down.weight": down}
    worn = Adapters(checkpoint)
    worn.wear(networked(tmp_path / "a.safetensors", state))
    torch.testing.assert_close(module.weight, before + up[..., 0, 0] @ down[..., 0, 0])
    state[f"{key}.dora_scale"] = torch.full((1, width, 1, 1), 2.0)
    worn.wear(networked(tmp_path / "b.safetensors", state))
    torch.testing.assert_close(module.weight.norm(dim=0), torch.full((width,), 2.0))
    assert worn.notes == ()
    worn.wear(())
    assert torch.equal(module.weight, before)


def test_a_network_of_another_family_is_told_of_and_changes_nothing(
    folder: Path, tmp_path: Path
) -> None:
    checkpoint, _ = loaded(folder, "sdxl")
    state: dict[str, Tensor] = {}
    for block in range(12):
        key = f"lora_te_text_model_encoder_layers_{block}_mlp_fc1"
        state |= {f"{key}.lora_up.weight": torch.ones(3072, 4)}
        state |= {f"{key}.lora_down.weight": torch.ones(4, 768)}
    key = "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn2_to_k"
    state |= {f"{key}.lora_up.weight": torch.ones(640, 4)}
    state |= {f"{key}.lora_down.weight": torch.ones(4, 768)}
    worn = Adapters(checkpoint)
    with capture_logs() as logs:
        worn.wear(networked(tmp_path / "sd1.safetensors", state))
    assert logs[0]["event"] == "network does not fit"
    (note,) = worn.notes
    assert note.startswith("lora 'sd1': 13 of its 13 modules do not fit this SDXL model (")
    assert worn.nbytes == 0
