"""The list endpoints beside the reference's recordings; memory, flags, signs of life."""

from pathlib import Path

from ..wire import Wire, recorded
from ..wire import wire as build


def test_samplers_are_the_references(wire: Wire) -> None:
    reference = recorded("get_samplers")["response"]
    ours = wire.client.get("/sdapi/v1/samplers").json()
    assert ours == reference
    assert [list(each["options"]) for each in ours] == [list(each["options"]) for each in reference]
    assert [list(each) for each in ours] == [list(each) for each in reference]


def test_schedulers_are_the_references(wire: Wire) -> None:
    reference = recorded("get_schedulers")["response"]
    ours = wire.client.get("/sdapi/v1/schedulers").json()
    assert ours == reference


def test_checkpoints_have_every_key(wire: Wire) -> None:
    keys = list(recorded("get_sd_models")["response"][0])
    hashed, fresh = wire.client.get("/sdapi/v1/sd-models").json()
    assert list(hashed) == list(fresh) == keys
    assert hashed == {
        "title": "circles.safetensors [c1c1c1c1c1]",
        "model_name": "circles",
        "hash": "c1c1c1c1c1",
        "sha256": "c1" * 32,
        "filename": "/models/circles.safetensors",
        "config": "/models/circles.yaml",
    }
    assert fresh == {
        "title": "old/squares.safetensors",
        "model_name": "old_squares",
        "hash": None,
        "sha256": None,
        "filename": "/models/old/squares.safetensors",
        "config": None,
    }


def test_refresh_looks_again(wire: Wire) -> None:
    answer = wire.client.post("/sdapi/v1/refresh-checkpoints", content=b'""')
    assert (answer.status_code, answer.json(), wire.shelf.scans) == (200, None, 1)


def test_memory_adds_up(wire: Wire) -> None:
    memory = wire.client.get("/sdapi/v1/memory").json()
    ram = memory["ram"]
    assert 0 < ram["used"] < ram["total"] == ram["used"] + ram["free"]
    assert memory["cuda"] == {"error": "unavailable"}


def test_flags_tell_no_secrets(tmp_path: Path) -> None:
    client = build(tmp_path, ["--api-auth", "user:xyzzy", "--port", "7999"]).client
    answer = client.get("/sdapi/v1/cmd-flags", auth=("user", "xyzzy"))
    assert answer.json()["port"] == "7999"
    assert answer.json()["api_auth"]
    assert "xyzzy" not in answer.text


def test_signs_of_life(wire: Wire) -> None:
    assert wire.client.get("/internal/ping").json() == {}
    assert "Darkroom" in wire.client.get("/").text
    assert wire.client.head("/").status_code == 200


def test_a_double_slash_is_another_path(wire: Wire) -> None:
    answer = wire.client.get("http://testserver//sdapi/v1/samplers")
    assert (answer.status_code, answer.json()) == (404, {"detail": "Not Found"})
