"""Whatever JSON is posted as settings, the answer is one of the wire's and the settings hold."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from server.option_table import NOTES, defaults
from server.options import OptionsStore

from ..wire import CIRCLES, SQUARES, Wire
from ..wire import wire as build

PATH = "/sdapi/v1/options"

LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([10**400, -(2**63), 1e308, 5e-324])
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["\ud800", "\0", "9" * 400, "1e999", "NaN", "true", CIRCLES.name])
    | st.sampled_from([SQUARES.name, SQUARES.title, "../x.safetensors", "Automatic", "None"])
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=6,
)
MODEL_KEYS = ("sd_model_checkpoint", "sd_vae", "sd_vae_overrides_per_model_preferences")
KEYS = (
    st.sampled_from(sorted({*defaults(), *NOTES}))
    | st.sampled_from(MODEL_KEYS)
    | st.text(max_size=12)
)
CHANGES = st.dictionaries(KEYS, VALUES, max_size=6)


@pytest.fixture(scope="module")
def wire(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wire]:
    """One app that all examples change in turn."""
    built = build(tmp_path_factory.mktemp("any"))
    with built.client:
        yield built


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(changes=CHANGES)
@example(changes={"n_rows": "9" * 400})
@example(changes={"eta_ddim": 10**400})
@example(changes={"jpeg_quality": 1e308})
@example(changes={"font": "x" * 70_000})
@example(changes={"quicksettings_list": ["x"] * 10_001})
@example(changes={"quicksettings_list": [[1]], "tiling": True})
@example(changes={"sd_model_checkpoint": True})
@example(changes={"sd_model_checkpoint": "\ud800"})
def test_any_object(wire: Wire, changes: dict[str, Any]) -> None:
    before = wire.client.get(PATH).json()

    answer = wire.client.post(
        PATH, content=json.dumps(changes), headers={"Content-Type": "application/json"}
    )

    if answer.status_code == 200:
        assert answer.json() is None
    elif answer.status_code == 500:
        told = answer.json()
        assert (told["error"], told["detail"]) == ("RuntimeError", "")
        assert told["errors"] == f"model {str(changes['sd_model_checkpoint'])!r} not found"
    else:
        assert answer.status_code == 422
        assert [set(each) >= {"loc", "msg", "type"} for each in answer.json()["detail"]] == [True]
    after = wire.client.get(PATH).json()
    if answer.status_code != 200:
        assert after == before
    assert_valid(wire, after)


def assert_valid(wire: Wire, told: dict[str, Any]) -> None:
    """Of the types of the defaults; kept on disk as in memory; taken when sent back."""
    for key, default in defaults().items():
        value = told[key]
        if isinstance(default, bool) or not isinstance(default, int | float):
            assert type(value) is type(default) or default is None, key
        else:
            assert type(value) in (int, float), key
    assert kept(wire.config) == {key: told[key] for key in defaults() if key not in DERIVED}
    assert wire.client.post(PATH, json=told).status_code == 200
    assert wire.client.get(PATH).json() == told


DERIVED = ("sd_model_checkpoint", "sd_checkpoint_hash")
"""Told from the catalog."""


def kept(config: Path) -> dict[str, Any]:
    """The settings that a server started now would have."""
    current = OptionsStore(config).current.as_wire()
    return {key: value for key, value in current.items() if key not in DERIVED}
