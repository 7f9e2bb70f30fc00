"""`/sdapi/v1/options` as clients use it."""

import asyncio
import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from models.catalog import CheckpointInfo
from models.choice import ModelChoice
from models.errors import CorruptCheckpoint
from server.option_table import NOTES

from ..wire import CIRCLES, SQUARES, Wire, recorded
from ..wire import wire as build

PATH = "/sdapi/v1/options"
TITLE, HASH = "sd_model_checkpoint", "sd_checkpoint_hash"


def checkpoint(name: str, sha256: str) -> CheckpointInfo:
    return CheckpointInfo(
        path=Path(f"/data/models/Stable-diffusion/{name}.safetensors"),
        name=f"{name}.safetensors",
        model_name=name,
        sha256=sha256,
    )


@pytest.fixture
def reference(tmp_path: Path) -> Wire:
    """An app with the checkpoints and the VAE of the recordings."""
    (tmp_path / "VAE").mkdir()
    save_file({"x": np.zeros(1, np.float32)}, tmp_path / "VAE" / "tiny-alt.vae.safetensors")
    first = recorded("get_options")["response"][HASH]
    second = recorded("get_options_after_switch")[HASH]
    return build(
        tmp_path,
        checkpoints=(checkpoint("tiny-sd15", first), checkpoint("tiny-other", second)),
    )


def test_options_name_a_checkpoint_from_the_start(wire: Wire) -> None:
    settings = wire.client.get(PATH).json()
    assert settings[TITLE] == CIRCLES.title
    assert settings[HASH] == CIRCLES.sha256
    assert len(settings) == 330


def test_every_setting_of_the_reference_is_told_as_there(reference: Wire) -> None:
    theirs = recorded("get_options")["response"]
    ours = reference.client.get(PATH).json()
    local = {key for key in theirs if key.startswith("outdir_")} | set(NOTES)
    assert {key: ours[key] for key in theirs if key not in local} == {
        key: theirs[key] for key in theirs if key not in local
    }
    kinds = {key: type(theirs[key]) for key in theirs}
    assert {key: type(ours[key]) for key in theirs} == kinds, "80.0 where it says 80.0"


def test_the_whole_object_can_be_sent_back(wire: Wire) -> None:
    before = wire.client.get(PATH).json()
    answer = wire.client.post(PATH, json={**before, "CLIP_stop_at_last_layers": 2.0})
    assert (answer.status_code, answer.json()) == (200, None)
    assert wire.client.get(PATH).json() == {**before, "CLIP_stop_at_last_layers": 2}
    assert wire.loader.loaded == []
    assert "x-darkroom-warning" not in answer.headers


def test_the_whole_object_with_another_model_loads_it_once(wire: Wire) -> None:
    for title in (SQUARES.title, SQUARES.title, SQUARES.name):
        whole = wire.client.get(PATH).json()
        assert wire.client.post(PATH, json={**whole, TITLE: title}).status_code == 200
        assert wire.client.get(PATH).json()[TITLE] == SQUARES.title
    assert wire.loader.loaded == [SQUARES.name]


@pytest.mark.parametrize(
    "name",
    ["err_options_empty", "err_options_not_object", "err_options_unknown_model",
     "err_options_restore_clip", "err_options_restricted_key", "post_options_switch_model",
     "post_options_switch_back", "post_options_undo", "post_options_vae", "post_options_vae_auto",
     "post_options_vae_none"],
)  # fmt: skip
def test_answers_as_the_reference(reference: Wire, name: str) -> None:
    record = recorded(name)
    answer = reference.ask(record)
    assert (answer.status_code, answer.json()) == (record["status"], record["response"])


def test_a_switch_is_told_as_in_the_reference(reference: Wire) -> None:
    before = reference.client.get(PATH).json()
    reference.ask(recorded("post_options_switch_model"))
    assert reference.client.get(PATH).json() == before | recorded("get_options_after_switch")
    reference.ask(recorded("post_options_switch_back"))
    assert reference.client.get(PATH).json() == before
    assert reference.loader.loaded == ["tiny-other.safetensors", "tiny-sd15.safetensors"]


def test_an_unknown_model_changes_nothing(reference: Wire) -> None:
    before = reference.client.get(PATH).json()
    reference.ask(recorded("err_options_unknown_model"))
    assert reference.client.get(PATH).json() == before
    assert reference.loader.loaded == []


def test_a_vae_is_loaded_before_the_answer_and_only_when_it_is_another(reference: Wire) -> None:
    for step in ("post_options_vae", "post_options_vae", "post_options_vae_none",
                 "post_options_vae_auto", "post_options_vae"):  # fmt: skip
        reference.ask(recorded(step))
    names = [choice.vae.name if choice.vae else None for choice in reference.loader.choices]
    # None and Automatic both mean the checkpoint's own here
    assert names == ["tiny-alt.vae.safetensors", None, "tiny-alt.vae.safetensors"]
    assert reference.client.get(PATH).json()["sd_vae"] == "tiny-alt.vae.safetensors"


def test_of_two_switches_the_one_loaded_last_holds(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[str] = []

    async def slow_at_first(choice: ModelChoice) -> None:
        loaded.append(choice.checkpoint.title)
        await asyncio.sleep(1 if len(loaded) == 1 else 0)

    monkeypatch.setattr(wire.loader, "load", slow_at_first)
    with wire.client as client, ThreadPoolExecutor() as threads:
        first = threads.submit(client.post, PATH, json={TITLE: SQUARES.title})
        while not loaded:
            time.sleep(0.01)
        client.post(PATH, json={"tiling": True})
        assert not first.done(), "other settings need not wait"
        client.post(PATH, json={TITLE: SQUARES.title, "save_txt": True})
        client.post(PATH, json={TITLE: CIRCLES.title})
        assert client.get(PATH).json()[TITLE] == loaded[-1] == CIRCLES.title
        assert loaded == [SQUARES.title, CIRCLES.title]


def test_an_unknown_vae_is_kept_as_in_the_reference_and_told(reference: Wire) -> None:
    answer = reference.client.post(PATH, json={"sd_vae": "n\u00f6pe.pt"})
    assert answer.status_code == 200
    assert answer.headers["x-darkroom-warning"].startswith("unknown VAE 'n\\xf6pe.pt'")
    assert reference.client.get(PATH).json()["sd_vae"] == "n\u00f6pe.pt"
    assert reference.loader.loaded == []


@pytest.mark.parametrize(
    "name", ["err_options_bad_type", "options_after_bad_type", "err_options_unknown_key"]
)
def test_what_we_do_otherwise_on_purpose(reference: Wire, name: str) -> None:
    """The reference takes any value and then cannot tell its settings; see docs/deviations.md."""
    record = recorded(name)
    ours = {"err_options_bad_type": 422}.get(name, 200)
    assert record["status"] != ours
    reference.ask(recorded("err_options_bad_type"))
    assert reference.ask(record).status_code == ours


def test_a_new_checkpoint_is_loaded_before_the_answer(wire: Wire) -> None:
    answer = wire.client.post(PATH, json={"sd_model_checkpoint": "squares", "send_seed": "false"})
    assert (answer.status_code, wire.loader.loaded) == (200, [SQUARES.name])
    settings = wire.client.get(PATH).json()
    assert (settings["sd_model_checkpoint"], settings["send_seed"]) == (SQUARES.title, False)
    assert settings["sd_checkpoint_hash"] == ""


def test_nothing_changes_where_something_is_wrong(wire: Wire) -> None:
    before = wire.client.get(PATH).json()
    wire.loader.failure = CorruptCheckpoint(SQUARES.path, "truncated")
    for wrong, status, told in (
        ({"sd_model_checkpoint": "nope"}, 500, "model 'nope' not found"),
        ({"sd_model_checkpoint": 5}, 500, "model '5' not found"),
        ({"sd_model_checkpoint": "squares"}, 500, "truncated"),
        ({"CLIP_stop_at_last_layers": "two"}, 422, "cannot be 'two'"),
        ({"sd_model_checkpoint": {"a": 1}}, 422, "cannot be {'a': 1}"),
    ):
        answer = wire.client.post(PATH, json={"tiling": True, **wrong})
        assert answer.status_code == status
        assert told in json.dumps(answer.json())
        assert wire.client.get(PATH).json() == before
    assert not wire.config.exists()


@pytest.mark.parametrize("nothing", [None, ""])
def test_no_checkpoint_named_is_none_changed(wire: Wire, nothing: str | None) -> None:
    wire.client.post(PATH, json={TITLE: SQUARES.title})
    assert wire.client.post(PATH, json={TITLE: nothing, "tiling": True}).status_code == 200
    settings = wire.client.get(PATH).json()
    assert (settings[TITLE], settings["tiling"]) == (SQUARES.title, True)


def test_settings_of_forks_and_of_old_versions_are_ignored(wire: Wire) -> None:
    before = wire.client.get(PATH).json()
    foreign = {
        "forge_preset": "sd",
        "forge_additional_modules": [],
        "sd_modules": ["a"],
        "sd_vae_as_default": True,
        "k_sched_type": "karras",
        "enable_emphasis": True,
        "extra_options": [],
        "dont_fix_second_order_samplers_schedule": False,
        "experimental_persistent_cond_cache": True,
    }
    answer = wire.client.post(PATH, json=foreign | {"api_enable_requests": False})
    assert answer.status_code == 200
    assert answer.headers["x-darkroom-warning"].startswith("10 settings ignored: forge_preset, ")
    assert wire.client.get(PATH).json() == before
    assert wire.client.post("/sdapi/v1/txt2img", json={"override_settings": foreign}).is_success


def test_what_is_told_but_not_kept_is_taken_without_a_word(wire: Wire) -> None:
    told = {HASH: "f" * 64, **dict.fromkeys(NOTES, "mine")}
    answer = wire.client.post(PATH, json=told)
    assert (answer.status_code, "x-darkroom-warning" in answer.headers) == (200, False)
    settings = wire.client.get(PATH).json()
    assert {key: settings[key] for key in NOTES} == dict(NOTES)
    assert settings[HASH] == CIRCLES.sha256


def test_a_trailing_slash_is_redirected_with_its_body(wire: Wire) -> None:
    answer = wire.client.post(f"{PATH}/", json={"tiling": True}, follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (307, f"http://testserver{PATH}")
    wire.client.post(f"{PATH}/", json={"tiling": True})
    assert wire.client.get(PATH).json()["tiling"] is True


def test_without_a_checkpoint_settings_still_change(tmp_path: Path) -> None:
    wire = build(tmp_path, checkpoints=())
    whole = wire.client.get(PATH).json()
    assert (whole[TITLE], whole[HASH]) == ("", "")
    assert wire.client.post(PATH, json=whole | {"sd_vae": "None"}).status_code == 200
    assert wire.client.get(PATH).json() == whole | {"sd_vae": "None"}


def frozen() -> Iterator[tuple[list[str], dict[str, object], str]]:
    tiling: dict[str, object] = {"tiling": True}
    yield ["--freeze-settings"], tiling, "'tiling': it is frozen with --freeze-settings"
    sections = ["--freeze-settings-in-sections", "vae, sd"]
    yield sections, tiling, "--freeze-settings-in-sections sd"
    yield sections, {"sd_vae": "None"}, "--freeze-settings-in-sections vae"
    keys = ["--freeze-specific-settings", "send_seed,tiling"]
    yield keys, tiling, "'tiling': it is frozen with --freeze-specific-settings"
    yield ["--freeze-settings"], {TITLE: SQUARES.title}, "sd_model_checkpoint"


@pytest.mark.parametrize(("flags", "change", "told"), list(frozen()))
def test_frozen_settings_stay(
    tmp_path: Path, flags: list[str], change: dict[str, object], told: str
) -> None:
    wire = build(tmp_path, flags)
    before = wire.client.get(PATH).json()
    answer = wire.client.post(PATH, json={"send_size": True, **change})
    assert (answer.status_code, answer.json()["error"]) == (500, "AssertionError")
    assert told in answer.json()["errors"]
    assert wire.client.get(PATH).json() == before
    assert wire.client.post(PATH, json=before).status_code == 200, "what is as it was may be sent"
    assert wire.loader.loaded == []


def test_what_is_not_frozen_changes(tmp_path: Path) -> None:
    wire = build(tmp_path, ["--freeze-settings-in-sections", "sd"])
    assert wire.client.post(PATH, json={"send_seed": False}).status_code == 200
    assert wire.client.get(PATH).json()["send_seed"] is False


def test_folders_can_be_kept_from_clients(tmp_path: Path) -> None:
    wire = build(tmp_path, ["--hide-ui-dir-config"])
    before = wire.client.get(PATH).json()
    paths: dict[str, object] = {key: "/x" for key in before if key.startswith("outdir_")}
    patterns = {"samples_filename_pattern": "x", "directories_filename_pattern": "x"}
    answer = wire.client.post(PATH, json=paths | patterns | {"tiling": True})
    assert answer.status_code == 200
    assert wire.client.get(PATH).json() == before | {"tiling": True}
