import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from models.header import Header, TensorEntry, read_header
from models.identify import Kind, identify

from ..families.tiny_xl import TINY, TRUE, Model, header, short
from ..files import CHECKPOINTS, REFERENCE
from .public import UNET, Shapes, diffusers, joint, ldm, prefixed, stripped, text_shapes

FIRST = f"{UNET}input_blocks.0.0.weight"
PROJECTION = "conditioner.embedders.1.model.text_projection"
CLIP_WORDS = "cond_stage_model.transformer.text_model.embeddings.token_embedding.weight"


def shapes_of(made: Header) -> dict[str, tuple[int, ...]]:
    return {name: entry.shape for name, entry in made.tensors.items()}


def wider(made: Header, in_channels: int) -> Header:
    """The same UNet with another number of input channels."""
    first = made.tensors[FIRST]
    shape = (first.shape[0], in_channels, 3, 3)
    return replace(made, tensors={**made.tensors, FIRST: replace(first, shape=shape)})


def marked(made: Header, *marks: str, **metadata: str) -> Header:
    entry = TensorEntry(dtype="F32", shape=())
    said = {f"modelspec.{key}": value for key, value in metadata.items()}
    return Header(tensors={**made.tensors, **dict.fromkeys(marks, entry)}, metadata=said)


def kind(name: str, family: str, variant: str = "base", prediction: str | None = "epsilon") -> Kind:
    made: dict[str, object] = {"name": name, "family": family, "variant": variant}
    return Kind(layout="ldm", prediction=prediction, storage=("F16",), **made)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("made", "found"),
    [
        (ldm("sd1"), kind("SD1", "SD1")),
        (ldm("sd1", 9), kind("SD1 inpainting", "SD1", "inpainting")),
        (ldm("sd1", 8), kind("SD1 instruct-pix2pix", "SD1", "edit")),
        (ldm("sd2"), kind("SD2", "SD2", prediction=None)),
        (ldm("sd2-inpainting"), kind("SD2 inpainting", "SD2", "inpainting")),
        (ldm("sdxl"), kind("SDXL", "SDXL")),
        (ldm("sdxl-inpainting"), kind("SDXL inpainting", "SDXL", "inpainting")),
        (ldm("sdxl-edit"), kind("SDXL instruct-pix2pix", "SDXL", "edit")),
        (ldm("refiner"), kind("SDXL refiner", "SDXL", "refiner")),
        (ldm("ssd-1b"), kind("SSD-1B", "SDXL")),
    ],
    ids=lambda value: value.name if isinstance(value, Kind) else "",
)
def test_a_public_checkpoint_is_known_by_its_header(made: Header, found: Kind) -> None:
    assert identify(made) == found


@pytest.mark.parametrize(
    ("model", "in_channels", "name", "prediction"),
    [
        ("sd1", 4, "SD1", "epsilon"),
        ("sd1", 9, "SD1 inpainting", "epsilon"),
        ("sd1", 8, "SD1 instruct-pix2pix", "epsilon"),
        ("sd2", 4, "SD2", None),
        ("sd2", 9, "SD2 inpainting", "epsilon"),
        ("sdxl", 4, "SDXL", "epsilon"),
        ("sdxl", 9, "SDXL inpainting", "epsilon"),
        ("sdxl", 8, "SDXL instruct-pix2pix", "epsilon"),
        ("refiner", 4, "SDXL refiner", "epsilon"),
        ("ssd-1b", 4, "SSD-1B", "epsilon"),
    ],
)
def test_a_single_file_in_diffusers_layout_is_the_same_kind(
    model: str, in_channels: int, name: str, prediction: str | None
) -> None:
    found = identify(stripped(diffusers(model, in_channels)))
    assert (found.name, found.prediction, found.reason) == (name, prediction, None)
    assert found.layout == "diffusers"


@pytest.mark.parametrize("name", TINY)
@pytest.mark.parametrize("change", [lambda model: model, short])
def test_a_tiny_model_of_the_same_topology_is_the_same_kind(
    name: str, change: Callable[[Model], Model]
) -> None:
    assert identify(header(change(TINY[name]))) == identify(header(TRUE[name]))


@pytest.mark.parametrize(
    ("name", "found"),
    [("tiny-sd15", "SD1"), ("tiny-vpred", "SD1")],
)
def test_the_reference_checkpoints_are_sd1(name: str, found: str) -> None:
    made = identify(read_header(CHECKPOINTS / f"{name}.safetensors"))
    assert (made.name, made.reason) == (found, None)


@pytest.mark.parametrize(
    ("made", "prediction", "zero_snr"),
    [
        (marked(ldm("sd1"), "v_pred"), "v", False),
        (marked(ldm("sd1"), prediction_type="v"), "v", False),
        (marked(ldm("sdxl"), "v_pred", "ztsnr"), "v", True),
        (marked(ldm("sdxl"), prediction_type="epsilon"), "epsilon", False),
        (marked(ldm("sd2"), architecture="stable-diffusion-v2-768-v"), "v", False),
        (marked(ldm("sd2"), architecture="stable-diffusion-v2-512"), "epsilon", False),
        (marked(ldm("sd2"), prediction_type="v"), "v", False),
        (marked(ldm("sd2"), prediction_type="something else"), None, False),
        (marked(ldm("sd2"), "v_pred", prediction_type="epsilon"), "v", False),
    ],
)
def test_v_prediction_is_told_by_trainers_marks(
    made: Header, prediction: str | None, zero_snr: bool
) -> None:
    found = identify(made)
    assert (found.prediction, found.zero_snr, found.reason) == (prediction, zero_snr, None)


@pytest.mark.parametrize("dtype", ["F32", "F16", "BF16", "F8_E4M3", "F8_E5M2"])
def test_the_storage_is_named(dtype: str) -> None:
    assert identify(header(TRUE["sdxl"], dtype)).storage == (dtype,)


def test_mixed_storage_names_the_most_first() -> None:
    made = {
        name: replace(entry, dtype="F32" if name.startswith("first_stage_model.") else "BF16")
        for name, entry in ldm("sd1").tensors.items()
    }
    assert identify(Header(tensors=made, metadata={})).storage == ("BF16", "F32")


def test_averaged_weights_are_seen_and_change_nothing_else() -> None:
    plain = ldm("sd1")
    entries = {
        "model_ema." + name.removeprefix("model.").replace(".", ""): entry
        for name, entry in plain.tensors.items()
        if name.startswith(UNET)
    }
    assert "model_ema.diffusion_modelinput_blocks00weight" in entries
    found = identify(replace(plain, tensors={**plain.tensors, **entries}))
    assert found == replace(identify(plain), ema=True)
    assert identify(replace(plain, tensors=entries)).reason is not None


def vector(made: Shapes, rows: int, width: int) -> dict[str, tuple[int, ...]]:
    return {**made, f"{UNET}label_emb.0.0.weight": (rows, width)}


SD2, SDXL = shapes_of(ldm("sd2")), shapes_of(ldm("sdxl"))


@pytest.mark.parametrize(
    ("made", "name", "family", "reason"),
    [
        (wider(ldm("sd2"), 5), "SD2 depth", "SD2", "not supported"),
        (stripped(vector(SD2, 1280, 2048)), "SD2 unclip", "SD2", "not supported"),
        (
            stripped({**SD2, FIRST: (256, 7, 3, 3), f"{UNET}label_emb.weight": (1000, 1024)}),
            "SD2 x4 upscaler",
            "SD2",
            "not supported",
        ),
        (marked(ldm("sdxl"), "edm_mean", "edm_std"), "Playground v2.5", "SDXL", "not supported"),
        (
            marked(ldm("sdxl-edit"), "edm_vpred.sigma_max", "edm_vpred.sigma_min"),
            "CosXL",
            "SDXL",
            "not supported",
        ),
        (marked(ldm("sd1", 8), "cc_projection.weight"), "Zero123", "SD1", "not supported"),
        (stripped(joint(24, 1536)), "SD3 medium", "SD3", "not supported"),
        (
            stripped(
                joint(24, 1536)
                | prefixed("text_encoders.clip_l.transformer.", text_shapes(768, 12))
                | {"first_stage_model.decoder.conv_in.weight": (512, 16, 3, 3)}
            ),
            "SD3 medium",
            "SD3",
            "not supported",
        ),
        (
            stripped(joint(24, 1536, doubled=13, normed=True)),
            "SD3.5 medium",
            "SD3",
            "not supported",
        ),
        (stripped(joint(38, 2432, normed=True)), "SD3.5 large", "SD3", "not supported"),
    ],
)
def test_what_is_not_supported_is_named_with_its_reason(
    made: Header, name: str, family: str, reason: str
) -> None:
    found = identify(made)
    assert (found.name, found.family) == (name, family)
    assert reason in str(found.reason)


def without(made: Header, *starts: str) -> Header:
    kept = {name: entry for name, entry in made.tensors.items() if not name.startswith(starts)}
    return replace(made, tensors=kept)


def renamed(made: Header, old: str, new: str) -> Header:
    tensors = {
        new + name.removeprefix(old) if name.startswith(old) else name: entry
        for name, entry in made.tensors.items()
    }
    return replace(made, tensors=tensors)


@pytest.mark.parametrize(
    ("made", "name", "reason"),
    [
        (wider(ldm("sd1"), 5), "SD1 of 5 input channels", "5 input channels; known: 4, 8 and 9"),
        (wider(ldm("sdxl"), 5), "SDXL of 5 input channels", "5 input channels"),
        (wider(ldm("sd1"), 0), "SD1 of 0 input channels", "0 input channels"),
        (without(ldm("sdxl"), "conditioner.embedders.1."), "SDXL", "one of SDXL's two text"),
        (without(ldm("sdxl"), "conditioner.embedders.0."), "SDXL", "one of SDXL's two text"),
        (
            without(stripped(diffusers("sdxl")), "text_encoder_2."),
            "SDXL",
            "one of SDXL's two text",
        ),
        (without(ldm("sdxl"), "conditioner."), "a UNet alone (SDXL)", "no text encoder"),
        (without(ldm("sd1"), "cond_stage_model."), "a UNet alone (SD1)", "no text encoder"),
        (without(ldm("sd2"), "cond_stage_model."), "a UNet alone (SD2)", "no text encoder"),
        (
            renamed(without(ldm("refiner"), "conditioner."), UNET, ""),
            "a UNet alone (SDXL refiner)",
            "begin with '' instead of 'model.diffusion_model.'",
        ),
        (renamed(ldm("sd1"), "model.", ""), "a UNet alone (SD1)", "begin with 'diffusion_model.'"),
        (renamed(ldm("sd1"), "model.", "model.model."), "a UNet alone (SD1)", "'model.model.dif"),
        (without(ldm("sd1"), f"{UNET}out."), "SD1", "last layer is missing"),
        (without(ldm("sd1"), FIRST), "a UNet of no known kind", "first layer is missing"),
        (
            stripped(shapes_of(ldm("sd1")) | {CLIP_WORDS: (49408, 1024)}),
            "SD1",
            "text of width 1024 for a UNet that reads 768",
        ),
        (
            stripped(shapes_of(ldm("refiner")) | {f"{UNET}label_emb.0.0.weight": (1536, 2563)}),
            "SDXL refiner",
            "2563 numbers does not fit",
        ),
        (stripped(SDXL | {PROJECTION: (1280, 2816)}), "SDXL", "does not fit a pooled text of 2816"),
        (
            marked(header(TRUE["sdxl"], "F8_E4M3"), "scaled_fp8"),
            "SDXL",
            "quantised ('scaled_fp8')",
        ),
        (Header(tensors={}, metadata={}), "an empty file", "no tensors"),
        (stripped({"anything": (4, 4)}), "a file of no known kind", "none of its names"),
    ],
)
def test_a_near_miss_is_refused_with_its_reason(made: Header, name: str, reason: str) -> None:
    found = identify(made)
    assert found.name == name
    assert reason in str(found.reason)


def test_an_sd1_that_lacks_some_tensors_is_still_sd1() -> None:
    block = f"{UNET}output_blocks.5."
    found = identify(without(ldm("sd1"), block, f"{UNET}input_blocks.1.", "first_stage_model.dec"))
    assert (found.name, found.reason) == ("SD1", None)


def test_a_lora_in_the_names_of_a_checkpoint_is_a_lora() -> None:
    parts = {
        f"{name.removesuffix('.weight')}.lora_{side}.weight": (4, 320)
        for name, entry in ldm("sd1").tensors.items()
        if name.startswith(UNET) and len(entry.shape) == 2 and name.endswith(".weight")
        for side in ("down", "up")
    }
    found = identify(stripped(parts))
    assert len(parts) > 200
    assert (found.name, found.family) == ("a LoRA", None)
    assert "models/Lora" in str(found.reason)


def test_a_checkpoint_with_a_few_tensors_of_a_lora_is_a_checkpoint() -> None:
    made = marked(ldm("sd1"), "lora_unet_mid_block.lora_down.weight")
    assert identify(made).name == "SD1"


@pytest.mark.parametrize(
    "name",
    [
        f"{UNET}input_blocks.1.1.transformer_blocks.16.norm1.weight",
        f"{UNET}output_blocks.32.0.in_layers.0.weight",
        "conditioner.embedders.1.model.transformer.resblocks.999999999.ln_1.weight",
        "first_stage_model.encoder.down.8.block.0.conv1.weight",
    ],
)
def test_a_model_deeper_than_any_is_refused_before_it_is_built(name: str) -> None:
    assert f"{name!r} is beyond the" in str(identify(marked(ldm("sdxl"), name)).reason)


def test_nothing_heavy_is_imported() -> None:
    code = (
        "import sys, models.identify; "
        "print({'torch', 'diffusers', 'transformers', 'numpy'} & set(sys.modules))"
    )
    root = Path(__file__).parents[3]
    run = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, check=True)
    assert run.stdout.strip() == b"set()"


def test_other_reference_files_are_told_from_checkpoints() -> None:
    files = {
        "Lora/tinylora.safetensors": "a LoRA",
        "embeddings/tinyemb.safetensors": "a textual inversion embedding",
    }
    for name, found in files.items():
        assert identify(read_header(REFERENCE / name)).name == found
