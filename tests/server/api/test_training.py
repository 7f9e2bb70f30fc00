"""Creating and training: what is offered, what is not, and what was missing."""

from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from models.catalog import CheckpointInfo
from models.embeddings.files import BadCreation, NewEmbedding

from ..fakes import FakeDevice
from .served import serve

ARGS = {"name": "made", "num_vectors_per_token": 2, "overwrite_old": False}


class Device(FakeDevice):
    """Remembers what was to be created."""

    def __init__(self) -> None:
        super().__init__()
        self.created: list[NewEmbedding] = []

    def create_embedding(self, wanted: NewEmbedding, checkpoint: CheckpointInfo) -> Path:
        if wanted.name == "taken":
            raise BadCreation("file /e/taken.pt already exists")
        self.created.append(wanted)
        return Path("/e") / f"{wanted.name}.pt"


@pytest.fixture
def device() -> Device:
    """Stands behind the client."""
    return Device()


@pytest.fixture
def client(tmp_path: Path, device: Device) -> TestClient:
    """A client of the whole app."""
    return serve(tmp_path, device=device)


def post(client: TestClient, what: str, args: Any) -> tuple[int, Any]:
    answer = client.post(f"/sdapi/v1/{what}", json=args)
    return answer.status_code, answer.json()


def test_an_embedding_is_created_as_asked(client: TestClient, device: Device) -> None:
    told = {"info": "create embedding filename: /e/made.pt"}
    assert post(client, "create/embedding", ARGS) == (200, told)
    lax = {"name": 7, "num_vectors_per_token": "3", "overwrite_old": "yes", "init_text": "", "x": 1}
    assert post(client, "create/embedding", lax)[0] == 200
    assert device.created == [
        NewEmbedding(name="made", count=2, text="*", overwrite=False),
        NewEmbedding(name="7", count=3, text="", overwrite=True),
    ]


def test_what_went_wrong_is_told_in_the_reply(client: TestClient) -> None:
    told = {"info": "create embedding error: file /e/taken.pt already exists"}
    assert post(client, "create/embedding", ARGS | {"name": "taken"}) == (200, told)


def test_an_argument_of_the_wrong_type_is_named(client: TestClient) -> None:
    status, answer = post(client, "create/embedding", ARGS | {"num_vectors_per_token": "many"})
    assert status == 422
    assert answer["detail"] == [
        {
            "loc": ["body", "num_vectors_per_token"],
            "msg": "value is not a valid integer",
            "type": "type_error.integer",
        }
    ]


def test_arguments_that_are_missing_are_named(client: TestClient) -> None:
    status, answer = post(client, "create/embedding", {"name": "x"})
    assert (status, answer["error"]) == (500, "TypeError")
    assert answer["errors"] == (
        "create_embedding() missing 2 required positional arguments: "
        "'num_vectors_per_token' and 'overwrite_old'"
    )


def test_hypernetworks_are_not_offered(client: TestClient) -> None:
    args = {"name": "x", "enable_sizes": [768], "overwrite_old": False}
    status, answer = post(client, "create/hypernetwork", args)
    assert (status, answer["detail"]) == (501, "hypernetworks are not offered by this server")


@pytest.mark.parametrize("kind", ["embedding", "hypernetwork"])
def test_nothing_is_trained_and_the_reply_says_so(client: TestClient, kind: str) -> None:
    status, answer = post(client, f"train/{kind}", {})
    asked = answer["info"].partition("arguments: ")[2]
    args = dict.fromkeys(asked.replace("and ", "").replace("'", "").split(", "))
    assert len(args) == (30 if kind == "embedding" else 29)
    assert post(client, f"train/{kind}", args) == (
        200,
        {"info": f"train {kind} error: this server trains nothing"},
    )
    assert status == 200


@pytest.mark.parametrize("what", ["create/embedding", "train/embedding"])
def test_arguments_come_as_an_object(client: TestClient, what: str) -> None:
    assert post(client, what, ["made"])[0] == 422
    assert client.post(f"/sdapi/v1/{what}").json()["detail"][0]["msg"] == "field required"
