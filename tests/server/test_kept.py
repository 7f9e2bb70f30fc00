"""Kept replies: how many, how large, how long, and for which request."""

import pytest
from fastapi import Response
from fastapi.responses import JSONResponse

from server.kept import Kept, Outcome


def outcome(text: str = "x", status: int = 200) -> Outcome:
    return Outcome.of(Response(text, status, {"X-Task-Id": text[:1]}, "application/json"))


def held(kept: Kept, *names: str) -> list[str]:
    return [name for name in names if kept.find(name) is not None]


def test_an_answer_is_sent_as_it_was() -> None:
    made = JSONResponse({"a": 1}, 422, {"X-Task-Id": "mine"})
    kept = Outcome.of(made)
    again = kept.response(more="told")
    assert (again.status_code, again.body) == (422, b'{"a":1}')
    assert dict(again.headers) == {**made.headers, "more": "told"}
    assert kept.response() is not kept.response()


def test_an_answer_is_kept_and_sent_without_a_copy() -> None:
    body = b"x" * 10_000
    kept = Kept()
    kept.put("a", Outcome.of(Response(body)), None)
    outcome = kept.find("a")
    assert outcome is not None
    assert outcome.body is body
    assert outcome.response().body is body


def test_the_oldest_goes_when_there_are_too_many() -> None:
    kept = Kept(count=2)
    for name in "abc":
        kept.put(name, outcome(), None)
    assert held(kept, "a", "b", "c") == ["b", "c"]


def test_the_oldest_go_when_they_are_too_large_but_never_the_newest() -> None:
    kept = Kept(size=10)
    kept.put("a", outcome("1234"), None)
    kept.put("b", outcome("1234"), None)
    assert held(kept, "a", "b") == ["a", "b"]
    kept.put("c", outcome("1234"), None)
    assert held(kept, "a", "b", "c") == ["b", "c"]
    kept.put("d", outcome("1" * 100), None)
    assert held(kept, "a", "b", "c", "d") == ["d"]
    kept.put("e", outcome("12345678"), None)
    assert held(kept, "d", "e") == ["e"]


def test_what_is_put_again_counts_once() -> None:
    kept = Kept(size=10)
    for _ in range(5):
        kept.put("a", outcome("12345"), None)
    kept.put("b", outcome("12345"), None)
    assert held(kept, "a", "b") == ["a", "b"]


def test_what_is_too_old_is_forgotten() -> None:
    now = [0.0]
    kept = Kept(seconds=10, clock=lambda: now[0])
    kept.put("a", outcome(), "same")
    now[0] = 6.0
    kept.put("b", outcome(), "same")
    now[0] = 9.9
    assert held(kept, "a", "b") == ["a", "b"]
    now[0] = 10.0
    assert kept.same("a", "same") is None
    assert held(kept, "a", "b") == ["b"]


@pytest.mark.parametrize(
    ("put", "asked", "found"), [("x", "x", True), ("x", "y", False), (None, "x", False)]
)
def test_only_the_same_request_is_answered_again(put: str | None, asked: str, found: bool) -> None:
    kept = Kept()
    kept.put("a", outcome(), put)
    assert (kept.same("a", asked) is not None) == found
    assert kept.same("b", asked) is None
