"""`/sdapi/v1/options` as clients use it."""

import json

from models.errors import CorruptCheckpoint

from ..wire import CIRCLES, SQUARES, Wire

PATH = "/sdapi/v1/options"


def test_options_name_a_checkpoint_from_the_start(wire: Wire) -> None:
    settings = wire.client.get(PATH).json()
    assert settings["sd_model_checkpoint"] == CIRCLES.title
    assert settings["sd_checkpoint_hash"] == CIRCLES.sha256
    assert len(settings) == 325


def test_the_whole_object_can_be_sent_back(wire: Wire) -> None:
    before = wire.client.get(PATH).json()
    answer = wire.client.post(PATH, json={**before, "CLIP_stop_at_last_layers": 2.0})
    assert (answer.status_code, answer.json()) == (200, None)
    assert wire.client.get(PATH).json() == {**before, "CLIP_stop_at_last_layers": 2}
    assert wire.loader.loaded == []


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
        ({"sd_model_checkpoint": "squares"}, 500, "truncated"),
        ({"CLIP_stop_at_last_layers": "two"}, 422, "cannot be 'two'"),
        ({"sd_model_checkpoint": {"a": 1}}, 422, "cannot be {'a': 1}"),
    ):
        answer = wire.client.post(PATH, json={"tiling": True, **wrong})
        assert answer.status_code == status
        assert told in json.dumps(answer.json())
        assert wire.client.get(PATH).json() == before
    assert not wire.config.exists()


def test_unknown_and_locked_keys_are_ignored(wire: Wire) -> None:
    before = wire.client.get(PATH).json()
    answer = wire.client.post(PATH, json={"forge_preset": "sd", "api_enable_requests": False})
    assert answer.status_code == 200
    assert wire.client.get(PATH).json() == before


def test_a_trailing_slash_is_redirected_with_its_body(wire: Wire) -> None:
    answer = wire.client.post(f"{PATH}/", json={"tiling": True}, follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (307, f"http://testserver{PATH}")
    wire.client.post(f"{PATH}/", json={"tiling": True})
    assert wire.client.get(PATH).json()["tiling"] is True
