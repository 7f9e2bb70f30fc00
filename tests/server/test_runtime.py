"""What of options and flags decides what stays loaded, and where."""

from pathlib import Path

import pytest
import torch

from models.residence import Frugality, Keeping
from server.option_rules import Rules
from server.options import OptionsStore
from server.runtime import _frugality, _keeping
from server.settings import parse


def test_what_stays_loaded_follows_the_options(tmp_path: Path) -> None:
    store = OptionsStore(tmp_path / "config.json", Rules.of(parse([])))
    assert _keeping(store.current) == Keeping(limit=1, in_ram=True)
    store.set({"sd_checkpoints_limit": 3, "sd_checkpoints_keep_in_cpu": False})
    assert _keeping(store.current) == Keeping(limit=3, in_ram=False)


@pytest.mark.parametrize(
    ("flags", "wanted"),
    [
        ([], Frugality()),
        (["--medvram"], Frugality(any_model="parts", sdxl="parts")),
        (["--medvram-sdxl"], Frugality(any_model="nothing", sdxl="parts")),
        (["--lowvram"], Frugality(any_model="blocks", sdxl="blocks")),
        (["--medvram", "--lowvram"], Frugality(any_model="blocks", sdxl="blocks")),
    ],
)
def test_flags_say_what_is_spared(flags: list[str], wanted: Frugality) -> None:
    assert _frugality(parse(flags)) == wanted


@pytest.mark.parametrize(
    ("settings", "wanted"),
    [
        ({}, (torch.float32,)),
        ({"auto_vae_precision_bfloat16": True}, (torch.bfloat16, torch.float32)),
        ({"auto_vae_precision": False}, ()),
    ],
)
def test_what_a_vae_is_tried_in_after_an_overflow_follows_the_options(
    tmp_path: Path, settings: dict[str, bool], wanted: tuple[torch.dtype, ...]
) -> None:
    store = OptionsStore(tmp_path / "config.json", Rules.of(parse([])))
    store.set(settings)
    assert _keeping(store.current).vae_retries == wanted
