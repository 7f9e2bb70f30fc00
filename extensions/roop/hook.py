"""roop as jobs use it: swaps in their init pictures and in what they draw."""

from PIL.Image import Image

from ..protocol import BadScriptArgs, Hook, Host, Touched
from ..wanted import Wanted
from .args import Args, Order, order_of
from .swap import Outcome, swap

TOLD, TOLD_OF_INIT = "Roop", "Roop init"
"""The names of what infotexts tell, of drawn pictures and of init pictures."""


class Roop(Hook):
    """The swaps of one job."""

    def __init__(self, host: Host, order: Order, *, in_source: bool, in_generated: bool) -> None:
        """Nothing is looked at before there is a picture to swap in."""
        self._host = host
        self._order = order
        self._in_source = in_source
        self._in_generated = in_generated
        self._of_init: dict[str, object] = {}

    def before_job(self, wanted: Wanted) -> Wanted:
        """The job on init pictures with swapped faces, where that is asked for."""
        if not self._in_source or wanted.mode != "img2img" or self._order.source is None:
            return wanted
        outcomes = [self._swap(image) for image in wanted.init_images]
        self._of_init[TOLD_OF_INIT] = " | ".join(dict.fromkeys(each.told for each in outcomes))
        return wanted.changed(init_images=tuple(each.image for each in outcomes))

    def finish(self, image: Image) -> Touched:
        """A drawn picture with swapped faces, where that is asked for."""
        if not self._in_generated:
            return Touched(image, self._of_init)
        outcome = self._swap(image)
        return Touched(outcome.image, {**self._of_init, TOLD: outcome.told})

    def _swap(self, image: Image) -> Outcome:
        return swap(self._host, image, self._order, self._host.stopped)


class Refused(Hook):
    """In place of swaps that cannot be made of what was sent: every picture tells why."""

    def __init__(self, reason: str) -> None:
        """`reason` names the value and what is allowed."""
        self._reason = reason

    def finish(self, image: Image) -> Touched:
        """The picture as it is."""
        return Touched(image, {TOLD: f"not swapped: {self._reason}"})


def begin(host: Host, wanted: Wanted, args: Args) -> Hook:
    """The hook of a job; one that does nothing unless enabled."""
    if not args.enable:
        return Hook()
    try:
        order = order_of(args)
    except BadScriptArgs as mistake:
        return Refused(str(mistake))
    return Roop(host, order, in_source=args.swap_in_source, in_generated=args.swap_in_generated)
