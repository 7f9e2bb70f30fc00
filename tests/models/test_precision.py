"""Which number formats parts get, by the flags, the device and the file."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from models.catalog import CheckpointInfo
from models.precision import Formats, Precision, has_bfloat16, precision_for
from models.residence import stored

from .files import CHECKPOINTS, one_tensor

CPU, GPU = torch.device("cpu"), torch.device("cuda")
HALF, BRAIN, FULL = torch.float16, torch.bfloat16, torch.float32


def formats(precision: Precision) -> tuple[torch.dtype, ...]:
    found = precision.formats
    return found.unet, found.vae, found.text


def test_half_precision_is_usual_and_float32_is_asked_for() -> None:
    assert formats(precision_for(GPU, full=False)) == (HALF, HALF, HALF)
    assert formats(precision_for(GPU, full=False, full_vae=True)) == (HALF, FULL, HALF)
    assert formats(precision_for(GPU, full=True, bfloat16=True)) == (FULL, FULL, FULL)


def test_a_gpu_alone_has_its_channels_last() -> None:
    assert precision_for(GPU, full=True).formats.channels_last
    assert not precision_for(CPU, full=True).formats.channels_last
    assert not has_bfloat16(CPU)


def test_what_overflowed_goes_on_in_the_next_format() -> None:
    able, unable = (precision_for(GPU, full=False, bfloat16=each) for each in (True, False))
    assert [able.after(each) for each in (HALF, BRAIN, FULL)] == [BRAIN, FULL, None]
    assert [unable.after(each) for each in (HALF, FULL)] == [FULL, None]
    assert precision_for(GPU, full=True).after(FULL) is None
    assert Precision().after(HALF) is None


@pytest.mark.parametrize("bfloat16", [True, False])
@pytest.mark.parametrize("full_vae", [True, False])
def test_bfloat16_of_a_file_is_kept_where_the_device_has_it(bfloat16: bool, full_vae: bool) -> None:
    precision = precision_for(GPU, full=False, full_vae=full_vae, bfloat16=bfloat16)
    usual = precision.formats
    assert precision.of(unet=HALF, vae=FULL) == usual
    assert precision.of(unet=None, vae=None) == usual
    found = precision.of(unet=BRAIN, vae=BRAIN)
    assert found.unet is (BRAIN if bfloat16 else HALF)
    assert found.vae is (FULL if full_vae else BRAIN if bfloat16 else HALF)
    assert found.text is HALF
    assert precision.of(unet=BRAIN, vae=None, overflowed=FULL).unet is FULL


def test_float32_stays_it_whatever_the_file_has() -> None:
    precision = precision_for(GPU, full=True, bfloat16=True)
    assert precision.of(unet=BRAIN, vae=BRAIN) == Formats(channels_last=True)


def told(path: Path) -> tuple[torch.dtype | None, torch.dtype | None]:
    return stored(CheckpointInfo(path=path, name=path.name, model_name=path.stem))


def test_a_file_s_formats_are_those_of_most_of_its_numbers(tmp_path: Path) -> None:
    whole = load_file(CHECKPOINTS / "tiny-sd15.safetensors")
    unet, vae = "model.diffusion_model.", "first_stage_model."
    for name, part in whole.items():
        if name.startswith((unet, vae)) and part.is_floating_point():
            whole[name] = part.to(BRAIN if name.startswith(unet) else FULL)
    # a trainer may keep its norms in float32
    whole[f"{unet}out.0.bias"] = whole[f"{unet}out.0.bias"].float()
    save_file(whole, tmp_path / "mixed.safetensors")
    assert told(tmp_path / "mixed.safetensors") == (BRAIN, FULL)
    assert told(one_tensor(tmp_path / "none.safetensors")) == (None, None)
    assert told(tmp_path / "pickle.ckpt") == (None, None)
