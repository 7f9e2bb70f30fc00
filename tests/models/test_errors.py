from pathlib import Path

import pytest

from models.errors import (
    CheckpointError,
    CheckpointNotFound,
    ClipSkipOutOfRange,
    CorruptCheckpoint,
    NansException,
    UnsupportedCheckpoint,
)


@pytest.mark.parametrize("kind", [CheckpointNotFound, CorruptCheckpoint, UnsupportedCheckpoint])
def test_a_checkpoint_error_names_the_file_and_the_reason(kind: type[CheckpointError]) -> None:
    error = kind(Path("/m/a.safetensors"), "cut off")
    assert isinstance(error, CheckpointError)
    assert str(error) == "/m/a.safetensors: cut off"
    assert (error.path, error.reason) == (Path("/m/a.safetensors"), "cut off")


def test_the_nan_error_names_the_checkpoint_in_use() -> None:
    assert "with the checkpoint 'a.safetensors'" in str(NansException("VAE", "a.safetensors"))
    assert "NaN values: the" in str(NansException("UNet"))


def test_the_clip_skip_error_says_what_is_allowed() -> None:
    error = ClipSkipOutOfRange(99, 12)
    assert isinstance(error, IndexError)
    assert "99" in str(error)
    assert "1 to 13" in str(error)
