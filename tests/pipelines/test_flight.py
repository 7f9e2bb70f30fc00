"""How long forwards take, on the host and, by events, on a GPU."""

import pytest
import torch

from pipelines import flight as flights
from pipelines.flight import CudaFlight, HostFlight, flight


def test_on_the_host_a_forward_is_over_when_it_returns() -> None:
    times = iter([1.0, 1.5, 2.0, 4.0])
    host = HostFlight(lambda: next(times))
    assert host.run(10, lambda: "a") == "a"
    assert host.run(20, lambda: "b") == "b"
    assert host.landed() == [(10, 0.5), (20, 2.0)]
    assert host.landed() == []


def test_a_forward_that_fails_is_not_counted() -> None:
    host = HostFlight()
    with pytest.raises(ZeroDivisionError):
        host.run(10, lambda: 1 / 0)
    assert host.landed() == []


class Event:
    """Stands in for a GPU's events: every second one is an end, and `done` of those are over."""

    made = 0
    done = 0
    waited: list[int] = []  # noqa: RUF012 (each test begins anew)

    def __init__(self) -> None:
        self.number, Event.made = Event.made, Event.made + 1

    def record(self) -> None:
        pass

    def query(self) -> bool:
        return self.number // 2 < Event.done

    def synchronize(self) -> None:
        Event.waited.append(self.number // 2)

    def elapsed_time(self, end: "Event") -> float:
        return 1000.0 * (end.number // 2 + 1)


def test_the_host_is_at_most_two_forwards_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    Event.made, Event.done, Event.waited = 0, 0, []
    monkeypatch.setattr(flights, "_event", Event)
    gpu = CudaFlight()
    for load in (10, 20):
        gpu.run(load, lambda: None)
    assert gpu.landed() == []
    gpu.run(30, lambda: None)
    assert gpu.landed() == [(10, 1.0)]
    assert Event.waited == [0]
    Event.done = 3
    assert gpu.landed() == [(20, 2.0), (30, 3.0)]
    assert gpu.landed() == []


def test_the_device_decides() -> None:
    assert isinstance(flight(torch.device("cpu")), HostFlight)
    assert isinstance(flight(torch.device("cuda")), CudaFlight)
