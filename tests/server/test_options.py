"""Options: defaults, coercion, copies, and config.json."""

import json
from pathlib import Path
from threading import Thread

import pytest

from server.option_rules import FrozenOption, Rules
from server.option_table import defaults, sections
from server.options import BadConfig, BadOption, Options, OptionsStore
from server.settings import parse

from .wire import recorded


def test_defaults_are_the_references() -> None:
    reference = recorded("get_options")["response"]
    ours = Options.defaults().as_wire()
    shared = {key for key in reference if key in ours}
    local = {key for key in shared if key.startswith("outdir_")} | {
        "sd_model_checkpoint",
        "sd_checkpoint_hash",
    }
    assert {key: ours[key] for key in shared - local} == {
        key: reference[key] for key in shared - local
    }
    assert len(shared) == 308


def test_wire_order_is_the_tables() -> None:
    assert list(Options.defaults().as_wire()) == list(defaults())


@pytest.mark.parametrize(
    ("key", "given", "expected"),
    [
        ("CLIP_stop_at_last_layers", "2", 2),
        ("CLIP_stop_at_last_layers", 2.0, 2),
        ("jpeg_quality", 80.7, 80),
        ("notification_volume", 0.5, 0.5),
        ("eta_ddim", 1, 1),
        ("eta_ddim", 1.0, 1.0),
        ("eta_ddim", "1", 1.0),
        ("send_seed", "false", False),
        ("tiling", 1, True),
        ("samples_format", "jpg", "jpg"),
        ("gallery_height", 5, "5"),
        ("sd_model_checkpoint", "a.safetensors", "a.safetensors"),
        ("quicksettings_list", [1, "b"], ["1", "b"]),
        ("randn_source", None, "GPU"),
        ("upscaler_for_img2img", None, None),
        ("notification_volume", "12", 12),
        ("send_seed", "No", False),
    ],
)
def test_values_take_the_defaults_type(key: str, given: object, expected: object) -> None:
    changed, ignored = Options.defaults().with_overrides({key: given})
    value = changed.as_wire()[key]
    assert (value, type(value), ignored) == (expected, type(expected), ())


@pytest.mark.parametrize(
    ("key", "given"),
    [
        ("CLIP_stop_at_last_layers", "two"),
        ("send_seed", [1]),
        ("quicksettings_list", "x"),
        ("eta_ddim", float("nan")),
        ("sd_model_checkpoint", {"a": 1}),
        ("samples_format", "\ud800"),
        ("samples_format", "x" * 65_537),
        ("samples_format", ["png"]),
        ("quicksettings_list", [["a"]]),
        ("quicksettings_list", ["a"] * 10_001),
        ("n_rows", "9" * 400),
        ("n_rows", 10**400),
        ("n_rows", float("inf")),
        ("eta_ddim", 10**400),
        ("eta_ddim", "1e999"),
    ],
)
def test_values_of_another_type_are_refused(key: str, given: object) -> None:
    with pytest.raises(BadOption, match=key) as refusal:
        Options.defaults().with_overrides({"tiling": True, key: given})
    assert refusal.value.key == key


def test_overrides_make_a_copy_and_tell_what_they_ignore() -> None:
    standard = Options.defaults()
    one, ignored = standard.with_overrides({"tiling": True, "forge_preset": "sd", "send_seed": 0})
    two, _ = standard.with_overrides({"CLIP_stop_at_last_layers": 2})
    assert ignored == ("forge_preset",)
    assert (one.tiling, one.CLIP_stop_at_last_layers, one.extra["send_seed"]) == (True, 1, False)
    assert (two.tiling, two.CLIP_stop_at_last_layers) == (False, 2)
    assert standard == Options.defaults()


def test_fetching_pictures_is_no_clients_choice() -> None:
    changed, ignored = Options.defaults().with_overrides(
        {"api_forbid_local_requests": False, "api_useragent": "x"}
    )
    assert (changed.api_forbid_local_requests, changed.api_useragent) == (True, "")
    assert ignored == ("api_forbid_local_requests", "api_useragent")


def test_what_is_sent_back_as_told_is_not_called_ignored() -> None:
    options = Options.defaults()
    told = options.as_wire() | {"sd_checkpoint_hash": "0" * 64}
    assert options.with_overrides(told) == (options, ())
    assert options.with_overrides(told | {"api_useragent": "x"})[1] == ("api_useragent",)


def test_every_setting_has_the_section_of_the_references_page() -> None:
    assert list(sections()) == list(defaults())
    expected = {
        "notification_volume": "saving-images",
        "outdir_save": "saving-paths",
        "CLIP_stop_at_last_layers": "sd",
        "sd_vae": "vae",
        "overlay_inpaint": "img2img",
        "s_noise": "sampler-params",
        "show_progress_type": "ui",
        "quicksettings_list": "ui",
        "add_version_to_infotext": "infotext",
        "disabled_extensions": "",
        "lora_preferred_name": "extra_networks",
        "lora_functional": "compatibility",
        "enable_prompt_comments": "sd",
        "SWIN_tile": "upscaling",
    }
    assert {key: sections()[key] for key in expected} == expected


def test_rules_hold_for_overrides_and_for_the_store(tmp_path: Path) -> None:
    flags = ["--freeze-specific-settings", "tiling, send_seed", "--hide-ui-dir-config"]
    store = OptionsStore(tmp_path / "config.json", Rules.of(parse(flags)))
    assert store.current.with_overrides({"tiling": "false", "outdir_save": "/x"}) == (
        store.current,
        ("outdir_save",),
    )
    for refused in (lambda: store.current.with_overrides({"tiling": True}),
                    lambda: store.set({"save_txt": True, "send_seed": False})):  # fmt: skip
        with pytest.raises(FrozenOption, match="--freeze-specific-settings"):
            refused()
    assert store.current.save_txt is False


def test_frozen_settings_are_read_from_the_file(tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    config.write_text('{"tiling": true}')
    assert OptionsStore(config, Rules(all_frozen=True)).current.tiling is True


def test_changes_outlive_the_store(tmp_path: Path) -> None:
    config = tmp_path / "new" / "config.json"
    assert OptionsStore(config).set({"CLIP_stop_at_last_layers": "2", "nope": 1}) == ("nope",)
    assert json.loads(config.read_text()) == {"CLIP_stop_at_last_layers": 2}
    assert OptionsStore(config).current.CLIP_stop_at_last_layers == 2
    assert [path.name for path in config.parent.iterdir()] == ["config.json"]


def test_a_webuis_config_keeps_what_we_do_not_know(tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    config.write_text('{"theme_of_a_fork": [1], "send_seed": true, "api_useragent": "me"}')
    store = OptionsStore(config)
    assert store.current.api_useragent == "me"
    store.set({"tiling": True})
    assert json.loads(config.read_text()) == {
        "theme_of_a_fork": [1],
        "send_seed": True,
        "api_useragent": "me",
        "tiling": True,
    }


def test_a_bad_value_in_the_file_is_left_out(tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    config.write_text('{"jpeg_quality": "best", "tiling": true}')
    current = OptionsStore(config).current
    assert (current.jpeg_quality, current.tiling) == (80, True)


@pytest.mark.parametrize("content", ["", "{", "[1]", "\udcff", "[" * 10**5])
def test_a_file_that_is_no_object_is_refused(tmp_path: Path, content: str) -> None:
    config = tmp_path / "config.json"
    config.write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(BadConfig, match=r"config\.json is not a settings file"):
        OptionsStore(config)
    assert config.read_bytes() == content.encode(errors="surrogateescape")


def test_nothing_changes_when_the_file_cannot_be_written(tmp_path: Path) -> None:
    store = OptionsStore(tmp_path / "config.json")
    (tmp_path / "config.json").mkdir()
    with pytest.raises(OSError, match=r"config\.json"):
        store.set({"tiling": True})
    assert store.current.tiling is False


def test_unsaved_changes_stay_in_memory(tmp_path: Path) -> None:
    store = OptionsStore(tmp_path / "config.json")
    store.set({"tiling": True}, save=False)
    assert store.current.tiling is True
    assert not (tmp_path / "config.json").exists()


def test_an_unsaved_change_is_saved_when_it_is_asked_for(tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    store = OptionsStore(config)
    store.set({"tiling": True}, save=False)
    store.set({"tiling": True})
    assert json.loads(config.read_text()) == {"tiling": True}


def test_concurrent_changes_all_arrive(tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    store = OptionsStore(config)
    keys = ("tiling", "upcast_attn", "save_txt", "samples_log_stdout", "pin_memory")
    threads = [Thread(target=store.set, args=({key: True},)) for key in keys]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert json.loads(config.read_text()) == dict.fromkeys(keys, True)
