"""Folders that diffusers wrote: the modules are those of the LDM file with the same weights."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import (
    DDIMScheduler,
    StableDiffusionPipeline,
    StableDiffusionXLImg2ImgPipeline,
    StableDiffusionXLPipeline,
)
from safetensors.torch import load_file, save_file
from transformers import CLIPTextModel

from models.errors import CheckpointError, CorruptCheckpoint, UnsupportedCheckpoint
from models.families import Checkpoint, check

from .hand_made import REFINER_UNET, SD2_UNET, XL_UNET, unet, vae
from .tiny_xl import write_tiny
from .variants import info_of, load_path, reference

Saved = tuple[Checkpoint, Path]
SHORT: dict[str, Any] = {"safety_checker": None, "feature_extractor": None}


def scheduler(**more: Any) -> DDIMScheduler:
    """Stable Diffusion's, as its model cards have it."""
    return DDIMScheduler(
        beta_schedule="scaled_linear",
        beta_start=0.00085,
        beta_end=0.012,
        clip_sample=False,
        steps_offset=1,
        **more,
    )


@pytest.fixture(scope="module")
def xl(tmp_path_factory: pytest.TempPathFactory) -> Saved:
    """The tiny SDXL base, and a folder of it in shards and in half precision."""
    folder = tmp_path_factory.mktemp("xl")
    path = write_tiny(folder / "a.safetensors", "sdxl")
    checkpoint, state = load_path(path), load_file(path)
    texts: list[Any] = [each.module for each in checkpoint.encoders]
    first, second = (text.half() for text in texts)
    pipeline = StableDiffusionXLPipeline(
        unet=unet(state, XL_UNET).half(),
        vae=vae(state, 0.13025).half(),
        text_encoder=first,
        text_encoder_2=second,
        tokenizer=None,
        tokenizer_2=None,
        scheduler=scheduler(),
    )
    pipeline.save_pretrained(folder / "saved", variant="fp16", max_shard_size="9MB")
    return load_path(path), folder / "saved"


def same(found: Checkpoint, own: Checkpoint) -> None:
    """Both have the same weights, bit for bit, read alike, and the same traits."""
    pairs: list[tuple[Any, Any]] = [(found.unet, own.unet), (found.vae, own.vae)]
    for mine, theirs in zip(found.encoders, own.encoders, strict=True):
        pairs.append((mine.module, theirs.module))
        assert (mine.layer, mine.normed, mine.pad) == (theirs.layer, theirs.normed, theirs.pad)
    for left, right in pairs:
        weights, expected = left.state_dict(), right.state_dict()
        assert weights.keys() == expected.keys()
        assert all(torch.equal(weights[name], expected[name]) for name in expected)
        assert config_of(left) == config_of(right)
    numbers = (
        "prediction",
        "latent_scale",
        "latent_channels",
        "in_channels",
        "latent_space",
        "sizes",
    )
    for name in numbers:
        assert getattr(found.traits, name) == getattr(own.traits, name), name
    alphas, expected_alphas = found.traits.alphas_cumprod, own.traits.alphas_cumprod
    # as coarse as half precision, in which the reference model has them
    torch.testing.assert_close(alphas, expected_alphas, atol=3e-4, rtol=0)


def config_of(module: Any) -> dict[str, Any]:
    """What a module was built by, without what saving it notes there."""
    config = module.config
    values = dict(config) if isinstance(config, Mapping) else config.to_dict()
    noted = ("architectures", "dtype", "transformers_version")
    return {n: v for n, v in values.items() if n not in noted and not n.startswith("_")}


def test_sdxl_in_shards_of_half_precision(xl: Saved) -> None:
    own, folder = xl
    assert len(list((folder / "unet").glob("*-of-*.safetensors"))) > 1
    check(info_of(folder))
    same(load_path(folder), own)


def test_the_refiner_has_its_second_encoder_alone(tmp_path: Path) -> None:
    path = write_tiny(tmp_path / "a.safetensors", "refiner", dtype=torch.float32)
    checkpoint, state = load_path(path), load_file(path)
    pipeline = StableDiffusionXLImg2ImgPipeline(
        unet=unet(state, REFINER_UNET),
        vae=vae(state, 0.13025),
        text_encoder=None,
        text_encoder_2=checkpoint.encoders[0].module,
        tokenizer=None,
        tokenizer_2=None,
        scheduler=scheduler(),
        requires_aesthetics_score=True,
    )
    pipeline.save_pretrained(tmp_path / "saved")
    same(load_path(tmp_path / "saved"), checkpoint)


def test_sd2s_scheduler_says_v_and_a_last_step_of_noise_alone(tmp_path: Path) -> None:
    path = write_tiny(tmp_path / "a.safetensors", "sd2", dtype=torch.float32)
    checkpoint, state = load_path(path), load_file(path)
    spread = scheduler(prediction_type="v_prediction", rescale_betas_zero_snr=True)
    pipeline = StableDiffusionPipeline(
        unet=unet(state, SD2_UNET),
        vae=vae(state),
        text_encoder=checkpoint.encoders[0].module,
        tokenizer=None,
        scheduler=spread,
        **SHORT,
    )
    pipeline.save_pretrained(tmp_path / "saved")
    found = load_path(tmp_path / "saved")
    assert found.traits.prediction == "v"
    torch.testing.assert_close(
        found.traits.alphas_cumprod[:-1], spread.alphas_cumprod[:-1], atol=1e-5, rtol=0
    )
    traits = replace(
        found.traits, prediction="epsilon", alphas_cumprod=checkpoint.traits.alphas_cumprod
    )
    same(replace(found, traits=traits), checkpoint)


def saved_sd15(folder: Path) -> Path:
    """The reference model tiny-vpred as diffusers writes it; its configurations tell the heads."""
    own = reference("tiny-vpred")
    text = own.encoders[0].module
    assert isinstance(text, CLIPTextModel)
    pipeline = StableDiffusionPipeline(
        unet=own.unet,
        vae=own.vae,
        text_encoder=text,
        tokenizer=None,
        scheduler=scheduler(prediction_type="v_prediction"),
        **SHORT,
    )
    pipeline.save_pretrained(folder)
    return folder


def test_sd1_whose_configurations_tell_the_heads(tmp_path: Path) -> None:
    same(load_path(saved_sd15(tmp_path / "saved")), reference("tiny-vpred"))


@pytest.mark.parametrize("prefix", ["", "text_model."])
def test_a_single_file_with_diffusers_names(tmp_path: Path, prefix: str) -> None:
    path = write_tiny(tmp_path / "ldm.safetensors", "sd2", dtype=torch.float32)
    own = load_path(path)
    parts = {"unet.": own.unet, "vae.": own.vae, f"text_encoder.{prefix}": own.encoders[0].module}
    state = {
        f"{part}{name}": tensor.contiguous()
        for part, module in parts.items()
        for name, tensor in module.state_dict().items()
    }
    single = tmp_path / "single.safetensors"
    save_file(state, single)
    same(load_path(single), own)


def edited(path: Path, **changes: object) -> None:
    values = json.loads(path.read_text())
    path.write_text(json.dumps(values | changes))


@pytest.mark.parametrize(
    ("change", "error", "reason"),
    [
        (
            lambda folder: edited(folder / "unet" / "config.json", _class_name="MyUnet"),
            UnsupportedCheckpoint,
            "'MyUnet'; supported: UNet2DConditionModel",
        ),
        (
            lambda folder: edited(folder / "unet" / "config.json", attention_head_dim=[8, 8]),
            CorruptCheckpoint,
            "heads for 2 levels",
        ),
        (
            lambda folder: edited(folder / "unet" / "config.json", attention_head_dim="8"),
            CorruptCheckpoint,
            "attention_head_dim is '8'",
        ),
        (
            lambda folder: edited(folder / "text_encoder" / "config.json", hidden_act="relu"),
            UnsupportedCheckpoint,
            "'relu'",
        ),
        (
            lambda folder: edited(
                folder / "scheduler" / "scheduler_config.json", prediction_type="sample"
            ),
            UnsupportedCheckpoint,
            "'sample'",
        ),
        (
            lambda folder: edited(
                folder / "scheduler" / "scheduler_config.json", beta_schedule="linear"
            ),
            UnsupportedCheckpoint,
            "'linear'; supported: scaled_linear",
        ),
        (
            lambda folder: (folder / "vae" / "diffusion_pytorch_model.safetensors").unlink(),
            CheckpointError,
            "safetensors",
        ),
    ],
    ids=["class", "levels", "heads", "activation", "prediction", "betas", "no vae"],
)
def test_a_folder_that_does_not_fit_is_refused(
    tmp_path: Path, change: Callable[[Path], None], error: type[Exception], reason: str
) -> None:
    folder = saved_sd15(tmp_path / "saved")
    change(folder)
    with pytest.raises(error, match=reason):
        check(info_of(folder))
    with pytest.raises(error, match=reason):
        load_path(folder)
