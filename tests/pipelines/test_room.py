"""What forwards need, learned from peaks and from failures."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from pipelines import room
from pipelines.room import Room

CPU = torch.device("cpu")
PIXELS = 4096


class Card:
    """A GPU with so many bytes to spare, whose forwards need so many a pixel."""

    def __init__(self, free: int, need: int) -> None:
        self.free, self.need = free, need
        self.load = 0
        self.measured = 0

    def spare(self, device: torch.device) -> int:
        return self.free

    def peak_of(self, device: torch.device, run: Callable[[], Any]) -> tuple[Any, int]:
        self.measured += 1
        return run(), self.need * self.load


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> Card:
    made = Card(free=100 * PIXELS * 50, need=50)
    monkeypatch.setattr(room, "spare", made.spare)
    monkeypatch.setattr(room, "peak_of", made.peak_of)
    return made


def run(known: Room, card: Card, rows: int) -> int:
    card.load = rows * PIXELS
    return known.measured(card.load, lambda: rows)


def test_nothing_is_known_at_first() -> None:
    assert Room(CPU).most(PIXELS) > 10_000


def test_a_peak_tells_how_many_fit(card: Card) -> None:
    known = Room(CPU)
    assert run(known, card, 2) == 2
    # nine tenths of what is free
    assert known.most(PIXELS) == 90
    assert known.most(4 * PIXELS) == 22
    assert known.load == 90 * PIXELS


def test_only_larger_loads_than_before_are_measured(card: Card) -> None:
    known = Room(CPU)
    for rows in (2, 2, 1, 4, 4):
        run(known, card, rows)
    assert card.measured == 2


def test_the_highest_need_counts(card: Card) -> None:
    known = Room(CPU)
    run(known, card, 2)
    card.need = 100
    run(known, card, 4)
    card.need = 50
    run(known, card, 8)
    assert known.most(PIXELS) == 45


def test_what_comes_free_or_is_taken_is_seen_after_a_while(card: Card) -> None:
    known = Room(CPU)
    run(known, card, 2)
    card.free //= 10
    for _ in range(40):
        run(known, card, 1)
    assert known.most(PIXELS) == 9


def test_at_least_one_goes(card: Card) -> None:
    known = Room(CPU)
    card.free = 10
    run(known, card, 1)
    assert known.most(PIXELS) == 1


def test_a_load_that_failed_is_not_tried_again_for_a_long_time() -> None:
    known = Room(CPU)
    known.failed(8 * PIXELS, torch.OutOfMemoryError())
    known.failed(16 * PIXELS, torch.OutOfMemoryError())
    assert known.most(PIXELS) == 7
    for _ in range(2000):
        known.measured(PIXELS, int)
    assert known.most(PIXELS) == 7
    known.measured(PIXELS, int)
    assert known.most(PIXELS) > 10_000


def test_other_failures_tell_nothing_of_memory() -> None:
    known = Room(CPU)
    known.failed(8 * PIXELS, ValueError("boom"))
    assert known.most(PIXELS) > 10_000


def test_a_cpu_counts_no_peaks() -> None:
    known = Room(CPU)
    assert known.measured(PIXELS, lambda: "picture") == "picture"
    assert known.most(PIXELS) > 10_000
