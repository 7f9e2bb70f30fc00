"""A reply posted to its client's address, by a receiver that does what the test says."""

import json

import pytest
from fastapi.responses import JSONResponse

from server.kept import Outcome
from server.options import Options
from server.remote import BadAddress, LocalAddress
from server.webhook import TIMEOUT_S, content, deliver

OUTCOME = Outcome.of(JSONResponse({"images": ["x"]}, 200))
URL = "https://example.org/hook"


class Receiver:
    """Answers one after the other, and remembers what it was sent."""

    def __init__(self, *answers: int | Exception) -> None:
        self.answers = list(answers)
        self.sent: list[bytes] = []

    async def post(self, url: str, body: bytes, options: Options, timeout_s: float) -> int:
        assert (url, timeout_s) == (URL, TIMEOUT_S)
        self.sent.append(body)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def test_the_reply_is_told_with_its_job() -> None:
    told = json.loads(content('task("a")', OUTCOME))
    assert told == {"id_task": 'task("a")', "status": 200, "reply": {"images": ["x"]}}


@pytest.mark.parametrize(
    ("answers", "tries"),
    [
        ([200], 1),
        ([204], 1),
        ([500, 200], 2),
        ([BadAddress("slow"), 302, 201], 3),
        ([404, 404, 404], 3),
        ([LocalAddress("moved inside")], 1),
    ],
)
async def test_who_does_not_take_it_is_asked_again(
    answers: list[int | Exception], tries: int
) -> None:
    receiver = Receiver(*answers)
    await deliver(URL, "a", OUTCOME, Options.defaults(), post=receiver.post, pauses=(0.0, 0.0))
    assert receiver.sent == [content("a", OUTCOME)] * tries
    assert receiver.answers == []
