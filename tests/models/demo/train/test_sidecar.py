"""The yaml and the text encoder's configuration say what the networks are."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from models.demo.train import networks, sidecar


def test_the_sidecar_describes_the_widths(tmp_path: Path) -> None:
    sidecar.write_sidecar(tmp_path / "demo.safetensors")
    params = yaml.safe_load((tmp_path / "demo.yaml").read_text())["model"]["params"]
    unet = params["unet_config"]["params"]
    assert (unet["model_channels"], unet["channel_mult"]) == (64, [1, 1, 2, 2])
    assert (unet["num_res_blocks"], unet["num_heads"], unet["context_dim"]) == (1, 8, 40)
    vae = params["first_stage_config"]["params"]["ddconfig"]
    assert (vae["ch"], vae["ch_mult"], vae["num_res_blocks"]) == (32, [1, 1, 2, 2], 1)
    assert unet["attention_resolutions"] == [4, 2]
    assert unet["num_groups"] == vae["num_groups"] == 8
    assert params["scale_factor"] == 0.18215
    assert params["parameterization"] == "v"
    assert params["cond_stage_config"]["params"]["version"] == "./text-encoder"


def test_the_text_configuration_is_beside_it(tmp_path: Path) -> None:
    sidecar.write_sidecar(tmp_path / "demo.safetensors")
    config = json.loads((tmp_path / "text-encoder" / "config.json").read_text())
    assert config["vocab_size"] == networks.VOCABULARY.size == 49408
    assert (config["hidden_size"], config["num_hidden_layers"]) == (40, 3)
    assert (config["num_attention_heads"], config["intermediate_size"]) == (4, 160)
    assert (config["eos_token_id"], config["hidden_act"]) == (49407, "quick_gelu")


def test_the_variant_for_inpainting_takes_nine_channels(tmp_path: Path) -> None:
    sidecar.write_sidecar(tmp_path / "demo.safetensors", in_channels=9)
    params = yaml.safe_load((tmp_path / "demo.yaml").read_text())["model"]["params"]
    unet = params["unet_config"]["params"]
    assert (unet["in_channels"], unet["out_channels"]) == (9, 4)
    assert params["conditioning_key"] == "hybrid"


def test_widths_that_the_yaml_cannot_say_are_refused() -> None:
    with pytest.raises(sidecar.UnevenWidths, match="multiple of 64"):
        sidecar.multipliers((64, 96, 96, 128))
