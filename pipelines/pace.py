"""How large a load is worth while: what forwards have shown of the device's speed."""

import statistics
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

#: measurements that a speed is the median of
_KEPT = 7
#: measurements that a speed needs: the first forward of a new size is slow, whatever runs it
_NEEDED = 4
#: seconds after which a speed is no longer believed, and may be tried again
_BELIEVED_S = 300.0
#: of the best speed: a smaller load that has this share of it is preferred
_ENOUGH = 0.92


@dataclass(slots=True)
class _Speeds:
    """The newest speeds at loads of one octave, in pixels a second, and when the last one was."""

    values: deque[float] = field(default_factory=lambda: deque(maxlen=_KEPT))
    at: float = 0.0


class Pace:
    """Learns from forwards of a model which load the device needs to be busy.

    A load is the pixels of all latents in a forward, each taken one step further: pixel-steps.
    Loads are told apart by octaves. Where a larger one is not known, one octave more than is known
    may be tried; of those known the smallest is worth while that is nearly as fast as the fastest.
    More would only make every job in it slower.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Nothing is known yet; `clock` counts seconds."""
        self._clock = clock
        self._speeds: dict[int, _Speeds] = {}

    def note(self, load: int, seconds: float) -> None:
        """A forward of `load` took so long."""
        speeds = self._speeds.setdefault(_octave(load), _Speeds())
        speeds.values.append(load / max(seconds, 1e-9))
        speeds.at = self._clock()

    def is_worth(self, load: int, least: int) -> bool:
        """Whether forwards of `load` do more in a second than smaller ones, as far as is known.

        While nothing is known, twice `least`, the load of one job, may be tried.
        """
        known = self._known()
        if not known:
            return load <= 2 * least
        best = max(known.values())
        enough = min(octave for octave, speed in known.items() if speed >= _ENOUGH * best)
        largest = max(known)
        # nothing larger is known: whether it is faster is still to be seen
        reach = largest + 1 if enough == largest else enough
        return _octave(load) <= reach

    def _known(self) -> dict[int, float]:
        now = self._clock()
        return {
            octave: statistics.median(speeds.values)
            for octave, speeds in self._speeds.items()
            if len(speeds.values) >= _NEEDED and now - speeds.at < _BELIEVED_S
        }


def _octave(load: int) -> int:
    return max(load, 1).bit_length()
