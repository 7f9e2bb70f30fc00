"""Dimensions are believed only within limits."""

import json
from pathlib import Path
from typing import Any

import pytest

from models.captioning.blip_config import read_config
from models.errors import CheckpointError, CorruptCheckpoint, UnsupportedCheckpoint


def written(folder: Path, **content: Any) -> Path:
    path = folder / "config.json"
    path.write_text(json.dumps({"model_type": "blip", **content}), "utf-8")
    return path


def test_what_shapes_the_model_is_kept_and_nothing_else(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        architectures=["BlipForConditionalGeneration"],
        auto_map={"AutoModel": "evil.Model"},
        text_config={"hidden_size": 64, "num_beams": 9, "attn_implementation": "somebody/kernel"},
        vision_config={"image_size": 384, "layer_norm_eps": 1e-5, "hidden_act": "gelu"},
    )
    assert read_config(path) == {
        "text_config": {"hidden_size": 64},
        "vision_config": {"image_size": 384, "layer_norm_eps": 1e-5, "hidden_act": "gelu"},
    }


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ({"text_config": {"num_hidden_layers": 10**9}}, "num_hidden_layers is 1000000000"),
        ({"text_config": {"hidden_size": "64"}}, "text_config.hidden_size is '64'"),
        ({"text_config": {"hidden_size": True}}, "text_config.hidden_size is True"),
        ({"text_config": {"bos_token_id": 40_000}}, "bos_token_id is 40000 of 30524"),
        ({"vision_config": {"image_size": 0}}, "image_size is 0; allowed: 8 to 2048"),
        ({"vision_config": {"layer_norm_eps": 5.0}}, "layer_norm_eps is 5.0"),
        ({"vision_config": {"hidden_act": "os.system"}}, "hidden_act is 'os.system'"),
        ({"vision_config": [1]}, "vision_config is no table"),
    ],
)
def test_a_number_out_of_all_proportion_is_named(
    tmp_path: Path, content: dict[str, Any], reason: str
) -> None:
    with pytest.raises(CorruptCheckpoint, match=reason):
        read_config(written(tmp_path, **content))


@pytest.mark.parametrize(
    "content",
    [{"model_type": "blip-2"}, {"architectures": ["BlipForQuestionAnswering"]}],
)
def test_another_kind_of_model_is_named(tmp_path: Path, content: dict[str, Any]) -> None:
    (named,) = content.values()
    with pytest.raises(UnsupportedCheckpoint) as caught:
        read_config(written(tmp_path, **content))
    assert isinstance(caught.value, CheckpointError)
    assert str(named) in caught.value.reason
