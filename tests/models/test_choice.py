"""What the device is asked to be: which choices mean the same state of it."""

import dataclasses
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from models.catalog import CheckpointInfo
from models.choice import ModelChoice
from models.folders import Stamp
from models.networks.files import NetworkInfo, NetworkUse
from models.vae_files import VaeInfo

CHECKPOINT = CheckpointInfo(path=Path("/a.safetensors"), name="a.safetensors", model_name="a")
VAE = VaeInfo(path=Path("/v.safetensors"), name="v.safetensors")
STYLE, LIGHT = (
    NetworkInfo(path=Path(f"/{name}.safetensors"), name=name, alias=name)
    for name in ("style", "light")
)
BARE = ModelChoice(checkpoint=CHECKPOINT)
WORN = ModelChoice(
    checkpoint=CHECKPOINT,
    vae=VAE,
    networks=(NetworkUse(network=STYLE), NetworkUse(network=LIGHT, unet_weight=0.5)),
    tiling=True,
    token_merging=0.5,
)


def test_a_bare_checkpoint_has_nothing_on_it() -> None:
    assert (BARE.vae, BARE.networks, BARE.tiling, BARE.token_merging) == (None, (), False, 0.0)


def test_equal_choices_have_one_key_that_can_be_looked_up() -> None:
    again = replace(WORN)
    assert again == WORN
    assert len({WORN.key, again.key, BARE.key}) == 2
    assert {WORN: 1}[again] == 1


@pytest.mark.parametrize(
    "change",
    [
        {"checkpoint": replace(CHECKPOINT, sha256="f" * 64)},
        {"vae": replace(VAE, sha256="f" * 64)},
        {"networks": (NetworkUse(network=replace(STYLE, short_hash="f" * 12)), WORN.networks[1])},
    ],
    ids=["checkpoint", "vae", "network"],
)
def test_a_hash_that_is_known_by_now_is_no_other_state(change: dict[str, Any]) -> None:
    assert replace(WORN, **change).key == WORN.key


@pytest.mark.parametrize(
    "change",
    [
        {"checkpoint": replace(CHECKPOINT, path=Path("/b.safetensors"))},
        {"checkpoint": replace(CHECKPOINT, stamp=Stamp(1, 2))},
        {"vae": replace(VAE, stamp=Stamp(1, 2))},
        {"networks": (NetworkUse(network=replace(STYLE, stamp=Stamp(1, 2))), WORN.networks[1])},
        {"vae": None},
        {"vae": replace(VAE, path=Path("/sub/v.safetensors"))},
        {"networks": ()},
        {"networks": WORN.networks[:1]},
        {"networks": WORN.networks[::-1]},
        {"networks": (replace(WORN.networks[0], text_weight=0.9), WORN.networks[1])},
        {"networks": (replace(WORN.networks[0], unet_weight=0.9), WORN.networks[1])},
        {"networks": (replace(WORN.networks[0], dyn_dim=4), WORN.networks[1])},
        {"tiling": False},
        {"token_merging": 0.4},
    ],
    ids=str,
)
def test_anything_else_is_another_state(change: dict[str, Any]) -> None:
    assert replace(WORN, **change).key != WORN.key


def test_every_part_of_a_choice_is_in_its_key() -> None:
    """One that is added later and forgotten would let jobs of different states share a forward."""
    fields = {field.name for field in dataclasses.fields(ModelChoice)}
    assert fields == {"checkpoint", "vae", "networks", "tiling", "token_merging"}
