"""The cache of opened models: its budget, its order, changed files, many askers at once."""

import os
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from models.errors import CorruptCheckpoint
from models.sessions import SessionCache

WAIT = 20


class Maker:
    """Opens by counting; each thing opened is a list of its own."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> list[int]:
        self.count += 1
        return [self.count]


@pytest.fixture
def make(tmp_path: Path) -> Callable[[str, int], Path]:
    """A file of so many bytes."""

    def write(name: str, size: int) -> Path:
        path = tmp_path / name
        path.write_bytes(b"x" * size)
        return path

    return write


def test_what_is_kept_is_given_again(make: Callable[[str, int], Path]) -> None:
    cache, maker = SessionCache(100), Maker()
    files = [make("a", 10), make("b", 5)]
    first = cache.get("key", files, maker)
    assert cache.get("key", files, maker) is first
    assert (maker.count, cache.held) == (1, 15)
    cache.clear()
    assert cache.held == 0
    assert cache.get("key", files, maker) == [2]


def test_who_was_used_least_lately_goes_first(make: Callable[[str, int], Path]) -> None:
    cache, makers = SessionCache(30), {name: Maker() for name in "abcd"}
    files = {name: [make(name, 10)] for name in "abcd"}
    for name in "abcad":
        cache.get(name, files[name], makers[name])
    assert cache.held == 30
    for name in "acd":
        assert cache.get(name, files[name], makers[name]) == [1]
    assert cache.get("b", files["b"], makers["b"]) == [2]


def test_as_many_go_as_must(make: Callable[[str, int], Path]) -> None:
    cache, maker = SessionCache(30), Maker()
    for name in "abc":
        cache.get(name, [make(name, 10)], maker)
    cache.get("large", [make("large", 25)], maker)
    assert cache.held == 25


def test_what_exceeds_the_budget_is_given_and_not_kept(make: Callable[[str, int], Path]) -> None:
    cache, small, large = SessionCache(30), Maker(), Maker()
    near, far = [make("near", 10)], [make("far", 31)]
    cache.get("near", near, small)
    assert [cache.get("far", far, large) for _ in range(2)] == [[1], [2]]
    assert cache.held == 10
    assert cache.get("near", near, small) == [1]


def test_a_changed_file_is_opened_anew(make: Callable[[str, int], Path]) -> None:
    cache, maker = SessionCache(100), Maker()
    files = [make("a", 10), make("b", 5)]
    cache.get("key", files, maker)
    make("b", 7)
    assert cache.get("key", files, maker) == [2]
    assert cache.held == 17
    os.utime(files[0], ns=(1, 1))
    assert cache.get("key", files, maker) == [3]
    assert cache.get("key", files[:1], maker) == [4]
    assert cache.held == 10
    files[0].unlink()
    assert cache.get("key", files[:1], maker) == [5]
    make("a", 101)
    assert cache.get("key", files[:1], maker) == [6]
    assert cache.held == 0


def test_what_has_no_files_goes_too() -> None:
    cache, maker = SessionCache(2**20), Maker()
    for number in range(6):
        cache.get(number, (), maker)
    assert cache.held == 2**20
    assert cache.get(5, (), maker) == [6]
    assert cache.get(0, (), maker) == [7]


def test_a_failure_changes_nothing(make: Callable[[str, int], Path]) -> None:
    def fail() -> Any:
        raise ZeroDivisionError("broken")

    cache, maker = SessionCache(20), Maker()
    old, new = [make("old", 15)], [make("new", 10)]
    cache.get("old", old, maker)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            cache.get("new", new, fail)
    assert cache.held == 15
    assert cache.get("old", old, maker) == [1]
    assert cache.get("new", new, maker) == [2]
    assert cache.held == 10


def test_an_onnx_file_is_looked_at_before(make: Callable[[str, int], Path]) -> None:
    cache, maker = SessionCache(100), Maker()
    with pytest.raises(CorruptCheckpoint, match=r"a\.ONNX: no sound ONNX file"):
        cache.get("key", [make("a.ONNX", 10)], maker)
    assert (maker.count, cache.held) == (0, 0)


@pytest.mark.parametrize("budget", [100, 5])
def test_many_who_ask_at_once_wait_for_one_opening(
    make: Callable[[str, int], Path], budget: int
) -> None:
    cache, go, maker = SessionCache(budget), threading.Event(), Maker()
    slow, quick = [make("slow", 10)], [make("quick", 1)]
    asking = threading.Barrier(9)

    def open_slowly() -> list[int]:
        assert go.wait(WAIT)
        return maker()

    def ask() -> list[int]:
        asking.wait(WAIT)
        return cache.get("slow", slow, open_slowly)

    with ThreadPoolExecutor(8) as pool:
        answers: list[Future[list[int]]] = [pool.submit(ask) for _ in range(8)]
        asking.wait(WAIT)
        # another key is not held up, nor is a changed file
        assert cache.get("quick", quick, lambda: "at once") == "at once"
        while sum(each.askers for each in cache._openings.values()) < 8:
            assert not any(answer.done() for answer in answers)
        go.set()
        first = answers[0].result(WAIT)
        assert all(answer.result(WAIT) is first for answer in answers)
    assert maker.count == 1
    assert cache._openings == {}


def test_those_who_wait_try_after_a_failure(make: Callable[[str, int], Path]) -> None:
    cache, go, maker = SessionCache(100), threading.Event(), Maker()
    files, tried = [make("a", 10)], threading.Event()

    def fail() -> list[int]:
        tried.set()
        assert go.wait(WAIT)
        raise ZeroDivisionError

    with ThreadPoolExecutor(4) as pool:
        failing = pool.submit(cache.get, "key", files, fail)
        assert tried.wait(WAIT)
        others = [pool.submit(cache.get, "key", files, maker) for _ in range(3)]
        while sum(each.askers for each in cache._openings.values()) < 4:
            pass
        go.set()
        with pytest.raises(ZeroDivisionError):
            failing.result(WAIT)
        assert [other.result(WAIT) for other in others] == [[1]] * 3
    assert cache._openings == {}


def test_threads_in_a_throng_keep_the_budget(make: Callable[[str, int], Path]) -> None:
    cache = SessionCache(50)
    files = {number: [make(str(number), 10 + number)] for number in range(8)}

    def work(seed: int) -> None:
        for turn in range(200):
            number = (seed * 31 + turn * 7) % 8
            given = cache.get(number, files[number], partial("model {}".format, number))
            assert given == f"model {number}"
            assert cache.held <= 50

    with ThreadPoolExecutor(8) as pool:
        for done in [pool.submit(work, seed) for seed in range(8)]:
            done.result(WAIT)
    assert 0 < cache.held <= 50
    assert cache._openings == {}
