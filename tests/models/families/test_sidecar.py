import json
from pathlib import Path

import pytest
import yaml

from models.errors import CorruptCheckpoint, UnsupportedCheckpoint
from models.families import sidecar
from models.families.schedule import Schedule
from models.families.unet_layout import UnetLayout
from models.families.vae_layout import VaeLayout

from ..files import CHECKPOINTS

DETECTED = UnetLayout(
    in_channels=4,
    out_channels=4,
    channels=(64, 64),
    layers=1,
    down=((3,), (0,)),
    up=((3, 3), (0, 0)),
    middle=1,
    context_width=32,
    heads=(8, 8),
)


def written(folder: Path, params: object) -> sidecar.Section:
    path = folder / "a.yaml"
    path.write_text(yaml.safe_dump({"model": {"params": params}}))
    return sidecar.read_sidecar(path)


def unet_of(folder: Path, params: object) -> UnetLayout:
    return sidecar.unet(written(folder, {"unet_config": {"params": params}}), DETECTED)


def test_a_reference_sidecar_says_everything() -> None:
    params = sidecar.read_sidecar(CHECKPOINTS / "tiny-vpred.yaml")
    assert sidecar.unet(params, DETECTED) == UnetLayout(
        in_channels=4,
        out_channels=4,
        channels=(32, 32, 64, 64),
        layers=2,
        down=((1, 1), (1, 1), (1, 1), (0, 0)),
        up=((1, 1, 1), (1, 1, 1), (1, 1, 1), (0, 0, 0)),
        middle=1,
        context_width=16,
        heads=(8, 8, 8, 8),
    )
    detected = VaeLayout(channels=(1,), layers=1, latent_channels=1)
    expected = VaeLayout(channels=(32, 64, 32, 32), layers=2, latent_channels=4)
    assert sidecar.vae(params, detected) == expected
    assert sidecar.prediction(params, "epsilon") == "v"
    text = sidecar.text(params)
    assert text is not None
    assert (text.width, text.layers, text.heads, text.inner_width) == (16, 12, 4, 64)


def test_what_the_sidecar_does_not_say_stays_detected(tmp_path: Path) -> None:
    params = written(tmp_path, {"unet_config": {"params": {"in_channels": 9}}})
    assert sidecar.unet(params, DETECTED).in_channels == 9
    assert sidecar.unet(params, DETECTED).channels == (64, 64)
    assert sidecar.prediction(params, "v") == "v"
    assert sidecar.text(params) is None


def test_norms_have_32_groups_unless_the_sidecar_says_another_number(tmp_path: Path) -> None:
    detected = VaeLayout(channels=(32, 64), layers=1, latent_channels=4)
    silent = written(tmp_path, {})
    assert sidecar.unet(silent, DETECTED).config()["norm_num_groups"] == 32
    assert sidecar.vae(silent, detected).config()["norm_num_groups"] == 32
    vae = {"params": {"ddconfig": {"num_groups": 4}}}
    said = written(
        tmp_path, {"unet_config": {"params": {"num_groups": 8}}, "first_stage_config": vae}
    )
    assert sidecar.unet(said, DETECTED).config()["norm_num_groups"] == 8
    assert sidecar.vae(said, detected).config()["norm_num_groups"] == 4


def test_groups_that_do_not_divide_a_width_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CorruptCheckpoint, match=r"num_groups is 24, not a divisor .*\[64, 64\]"):
        unet_of(tmp_path, {"num_groups": 24})


def test_head_widths_become_head_counts(tmp_path: Path) -> None:
    layout = unet_of(tmp_path, {"num_heads": 4, "num_head_channels": 32, "channel_mult": [1, 2]})
    assert layout.heads == (2, 4)
    assert unet_of(tmp_path, {"num_heads": 4, "num_head_channels": -1}).heads == (4, 4)


def test_depths_stay_where_the_yaml_says_no_other_attention(tmp_path: Path) -> None:
    same = unet_of(tmp_path, {"attention_resolutions": [1]})
    assert (same.down, same.up) == (DETECTED.down, DETECTED.up)
    other = unet_of(tmp_path, {"attention_resolutions": [1, 2]})
    assert (other.down, other.up) == (((3,), (1,)), ((3, 3), (1, 1)))
    assert unet_of(tmp_path, {"attention_resolutions": [8]}).attention == (False, False)
    longer = unet_of(tmp_path, {"channel_mult": [1, 2, 4], "attention_resolutions": [1, 4]})
    assert longer.down == ((3,), (0,), (1,))
    assert longer.heads == (8, 8, 8)


def test_the_noise_schedule(tmp_path: Path) -> None:
    params = written(tmp_path, {"linear_start": 0.001, "timesteps": 500})
    detected = Schedule(stored=True)
    expected = Schedule(start=0.001, end=0.012, timesteps=500, stored=True)
    assert sidecar.schedule(params, detected) == expected


@pytest.mark.parametrize(
    ("scaling", "found"), [("VScaling", "v"), ("EpsScaling", "epsilon"), ("EDMScaling", None)]
)
def test_what_is_predicted_in_sdxls_words(tmp_path: Path, scaling: str, found: str | None) -> None:
    target = {"target": f"sgm.modules.diffusionmodules.denoiser_scaling.{scaling}"}
    denoiser = {"denoiser_config": {"params": {"scaling_config": target}}}
    assert sidecar.prediction(written(tmp_path, denoiser), None) == found


def test_a_text_encoders_folder_is_relative_to_the_yaml(tmp_path: Path) -> None:
    (tmp_path / "te").mkdir()
    nested = {"text_config": {"hidden_size": 32, "hidden_act": "gelu"}}
    (tmp_path / "te" / "config.json").write_text(json.dumps(nested))
    text = sidecar.text(written(tmp_path, {"cond_stage_config": {"params": {"version": "te"}}}))
    assert text is not None
    assert (text.width, text.activation, text.layers) == (32, "gelu", 12)


def test_a_hub_name_means_the_usual_text_encoder(tmp_path: Path) -> None:
    version = {"version": "openai/clip-vit-large-patch14"}
    assert sidecar.text(written(tmp_path, {"cond_stage_config": {"params": version}})) is None


@pytest.mark.parametrize(
    "said",
    [
        {"in_channels": "4"},
        {"in_channels": 0},
        {"in_channels": True},
        {"num_res_blocks": 10**9},
        {"num_heads": 2.5},
        {"channel_mult": []},
        {"channel_mult": [1] * 1000},
        {"channel_mult": [1, -2]},
        {"channel_mult": 4},
    ],
)
def test_a_value_of_the_wrong_kind_is_named(tmp_path: Path, said: dict[str, object]) -> None:
    key = next(iter(said))
    with pytest.raises(CorruptCheckpoint, match=rf"a\.yaml: params\.{key} is "):
        unet_of(tmp_path, said)


def test_an_unknown_parameterization_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedCheckpoint, match="'x0'; supported: eps, v"):
        sidecar.prediction(written(tmp_path, {"parameterization": "x0"}), "epsilon")


@pytest.mark.parametrize(
    "content",
    [b"a: [", b"\xff\xfe\x00", b"- 1", b"!!python/object/apply:os.system ['true']", b"\x00" * 9],
)
def test_a_damaged_yaml_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.yaml").write_bytes(content)
    with pytest.raises(CorruptCheckpoint, match=r"a\.yaml"):
        sidecar.read_sidecar(tmp_path / "a.yaml")


def test_a_section_that_is_no_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CorruptCheckpoint, match="unet_config"):
        sidecar.unet(written(tmp_path, {"unet_config": [1]}), DETECTED)


def test_an_endless_yaml_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_bytes(b"#" * (sidecar.MAX_BYTES + 1))
    with pytest.raises(CorruptCheckpoint, match="longer than"):
        sidecar.read_sidecar(tmp_path / "a.yaml")


def test_a_missing_or_strange_text_encoder_is_refused(tmp_path: Path) -> None:
    absent = {"cond_stage_config": {"params": {"version": "../absent"}}}
    with pytest.raises(UnsupportedCheckpoint, match=r"'\.\./absent'"):
        sidecar.text(written(tmp_path, absent))
    (tmp_path / "config.json").write_text('{"hidden_act": "relu"}')
    here = {"cond_stage_config": {"params": {"version": "."}}}
    with pytest.raises(UnsupportedCheckpoint, match="relu"):
        sidecar.text(written(tmp_path, here))
    (tmp_path / "config.json").write_text("[" * 100_000)
    with pytest.raises(CorruptCheckpoint, match="JSON"):
        sidecar.text(written(tmp_path, here))
