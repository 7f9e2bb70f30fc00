"""Clients that have pictures painted: requests of many kinds, and how many at a time."""

import itertools
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Any

from tests.bench.servers import T2I, Site

Body = Mapping[str, Any]

SAMPLERS = ("Euler a", "DPM++ 2M", "Euler", "DPM++ 2M SDE", "Heun", "DDIM", "LMS", "UniPC")
#: of one chunk each, as most prompts are; longer ones share a forward with their like alone
PROMPTS = ("1 girl", "a red fox in the snow, oil painting", "a lighthouse at night", "green hills")
SCALES = (4.0, 5.5, 7.0, 9.0)
LEAST_STEPS, MOST_STEPS = 12, 28
#: apart from the number of samplers and of steps, so that all go with all
STRIDE = 5


def mixed(count: int, side: int, steps: int | None = None) -> list[Body]:
    """`count` requests that differ in sampler, steps (unless given), seed, prompt and scale."""
    span = MOST_STEPS - LEAST_STEPS + 1
    return [
        {
            "prompt": PROMPTS[number // 2 % len(PROMPTS)],
            "negative_prompt": "blurry, text",
            "sampler_name": SAMPLERS[number % len(SAMPLERS)],
            "steps": steps or LEAST_STEPS + number * STRIDE % span,
            "cfg_scale": SCALES[number % len(SCALES)],
            "seed": 1000 + number,
            "width": side,
            "height": side,
        }
        for number in range(count)
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Painted:
    """What clients got: the seconds that all took, and each picture's."""

    seconds: float
    each: tuple[float, ...]

    @property
    def rate(self) -> float:
        """Pictures a second."""
        return len(self.each) / self.seconds


def paint(site: Site, bodies: Sequence[Body], clients: int) -> Painted:
    """Have all of `bodies` painted by so many clients, each of which asks when it has its last."""
    with ThreadPoolExecutor(clients) as pool:
        start = time.perf_counter()
        each = tuple(pool.map(partial(seconds, site), bodies))
        return Painted(seconds=time.perf_counter() - start, each=each)


def seconds(site: Site, body: Body) -> float:
    """How long one picture takes its client."""
    start = time.perf_counter()
    site.post(T2I, body)
    return time.perf_counter() - start


class Crowd:
    """Within a `with`, so many clients have pictures painted without a pause."""

    def __init__(self, site: Site, bodies: Sequence[Body], clients: int) -> None:
        """Nothing is asked for yet."""
        self._site, self._bodies, self._clients = site, bodies, clients
        self._over = threading.Event()
        self._pool = ThreadPoolExecutor(max(clients, 1))
        self._work: list[Future[None]] = []

    def __enter__(self) -> "Crowd":
        self._work = [self._pool.submit(self._ask_on, first) for first in range(self._clients)]
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self._pool.shutdown()
        for work in self._work:
            work.result()

    def _ask_on(self, first: int) -> None:
        for number in itertools.count(first, self._clients):
            if self._over.is_set():
                return
            self._site.post(T2I, self._bodies[number % len(self._bodies)])
