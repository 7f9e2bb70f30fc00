import json
import math
from collections.abc import Mapping
from pathlib import Path

import pytest

from models.errors import CheckpointError, CorruptCheckpoint, UnsupportedCheckpoint
from models.identify import identify_folder, read_folder

from ..files import CHECKPOINTS, raw_safetensors, tensor
from .public import Shapes, sd3_shapes, text_shapes, unet_shapes, vae_shapes

PARTS: Mapping[str, tuple[str, str]] = {
    "scheduler": ("diffusers", "PNDMScheduler"),
    "text_encoder": ("transformers", "CLIPTextModel"),
    "unet": ("diffusers", "UNet2DConditionModel"),
    "vae": ("diffusers", "AutoencoderKL"),
}


def sparse(path: Path, shapes: Shapes) -> None:
    """Write a file with the true header and a hole for the weights: it takes no room."""
    fields, position = {}, 0
    for name, shape in shapes.items():
        size = 2 * math.prod(shape)
        fields[name] = tensor("F16", list(shape), position, position + size)
        position += size
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(raw_safetensors(fields))
        file.truncate(file.tell() + position)


def folder(path: Path, prediction: str = "epsilon", **changes: object) -> Path:
    """Write SD2's folder; `changes` are of its index."""
    weights = {"unet": unet_shapes("sd2"), "vae": vae_shapes()}
    for part, shapes in weights.items():
        sparse(path / part / "diffusion_pytorch_model.safetensors", shapes)
    sparse(path / "text_encoder" / "model.safetensors", text_shapes(1024, 23))
    (path / "scheduler").mkdir()
    schedule = {"prediction_type": prediction, "rescale_betas_zero_snr": prediction != "epsilon"}
    (path / "scheduler" / "scheduler_config.json").write_text(json.dumps(schedule))
    (path / "unet" / "config.json").write_text('{"_class_name": "UNet2DConditionModel"}')
    index = {"_class_name": "StableDiffusionPipeline", "safety_checker": [None, None], **PARTS}
    (path / "model_index.json").write_text(json.dumps(index | changes))
    return path


@pytest.mark.parametrize(
    ("said", "prediction", "zero_snr"), [("epsilon", "epsilon", False), ("v_prediction", "v", True)]
)
def test_a_folder_says_what_its_model_predicts(
    tmp_path: Path, said: str, prediction: str, zero_snr: bool
) -> None:
    found = identify_folder(folder(tmp_path / "a", said))
    assert (found.name, found.layout, found.reason) == ("SD2", "diffusers", None)
    assert (found.prediction, found.zero_snr) == (prediction, zero_snr)


def test_another_prediction_is_named(tmp_path: Path) -> None:
    found = identify_folder(folder(tmp_path / "a", "sample"))
    assert "'sample'" in str(found.reason)


def test_a_folders_parts_are_one_header(tmp_path: Path) -> None:
    path = folder(tmp_path / "a")
    found = read_folder(path)
    assert found.header.tensors["unet.conv_in.weight"].shape == (320, 4, 3, 3)
    assert found.files["vae.decoder.conv_in.weight"].parent == path / "vae"
    assert found.configs["unet"]["_class_name"] == "UNet2DConditionModel"
    assert set(found.files) == set(found.header.tensors)


def test_a_transformer_is_named_too(tmp_path: Path) -> None:
    sparse(tmp_path / "transformer" / "diffusion_pytorch_model.safetensors", sd3_shapes())
    index = {
        "_class_name": "StableDiffusion3Pipeline",
        "transformer": ["diffusers", "SD3Transformer2DModel"],
    }
    (tmp_path / "model_index.json").write_text(json.dumps(index))
    assert identify_folder(tmp_path).name == "SD3 medium"


def test_shards_are_read_by_their_index(tmp_path: Path) -> None:
    path = folder(tmp_path / "a")
    shapes = dict(unet_shapes("sd2"))
    names = sorted(shapes)
    halves = {"one.safetensors": names[:300], "two.safetensors": names[300:]}
    for file, part in halves.items():
        sparse(path / "unet" / file, {name: shapes[name] for name in part})
    (path / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    listed = {name: file for file, part in halves.items() for name in part}
    index = path / "unet" / "diffusion_pytorch_model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": listed}))
    assert identify_folder(path).name == "SD2"
    assert read_folder(path).files[f"unet.{names[-1]}"].name == "two.safetensors"


@pytest.mark.parametrize(
    "named", ["../vae/diffusion_pytorch_model.safetensors", "/etc/passwd", "a.bin", ".."]
)
def test_shards_lie_beside_their_index(tmp_path: Path, named: str) -> None:
    path = folder(tmp_path / "a")
    (path / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    index = path / "unet" / "diffusion_pytorch_model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"conv_in.weight": named}}))
    with pytest.raises(CorruptCheckpoint, match="no file beside it"):
        identify_folder(path)


@pytest.mark.parametrize(
    ("part", "content"),
    [
        ("unet/config.json", {"auto_map": {"AutoModel": "mine.Unet"}}),
        ("text_encoder/config.json", {"auto_map": {}}),
        ("model_index.json", {"_class_name": "StableDiffusionPipeline", "auto_map": {"x": "y"}}),
        ("model_index.json", {"_class_name": ["mine", "Pipeline"], **PARTS}),
        ("model_index.json", {"_class_name": "P", "unet": ["mine", "Unet"]}),
        ("model_index.json", {"_class_name": "P", **PARTS, "extra": ["mine.code", "Part"]}),
    ],
)
def test_a_folder_with_code_of_its_own_is_refused(
    tmp_path: Path, part: str, content: dict[str, object]
) -> None:
    path = folder(tmp_path / "a")
    if part == "model_index.json":
        content = PARTS | content  # type: ignore[operator]
    (path / part).write_text(json.dumps(content))
    with pytest.raises(UnsupportedCheckpoint, match="names code of its own, which is never run"):
        identify_folder(path)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda path: (path / "model_index.json").write_text("["), "read as JSON"),
        (lambda path: (path / "model_index.json").write_text("[1]"), "not a table"),
        (lambda path: (path / "unet" / "config.json").write_bytes(b"\xff"), "read as JSON"),
        (
            lambda path: (path / "unet" / "diffusion_pytorch_model.safetensors").unlink(),
            "holds no diffusion_pytorch_model",
        ),
        (
            lambda path: (path / "text_encoder" / "model.safetensors").rename(
                path / "text_encoder" / "pytorch_model.bin"
            ),
            "are pickles",
        ),
        (lambda path: (path / "model_index.json").unlink(), "0 .safetensors files instead of one"),
    ],
)
def test_a_damaged_folder_is_refused(tmp_path: Path, change: object, reason: str) -> None:
    path = folder(tmp_path / "a")
    assert callable(change)
    change(path)
    with pytest.raises(CheckpointError, match=reason) as caught:
        identify_folder(path)
    assert caught.value.path.is_relative_to(path)


def test_a_folder_of_one_ldm_file_is_that_file(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").symlink_to(CHECKPOINTS / "tiny-sd15.safetensors")
    found = identify_folder(tmp_path)
    assert (found.name, found.layout, found.reason) == ("SD1", "ldm", None)
    with pytest.raises(CheckpointError, match="no such folder"):
        identify_folder(tmp_path / "gone")
