"""How the UNet of a loaded checkpoint is run: simply, compiled, from graphs, or both."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from .choice import ModelChoice
from .compiling import Compiled
from .families import Checkpoint
from .families.inputs import Forward, run_unet
from .graphs import Graphs, Recorder


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """What makes UNets fast: `recorders` make a recorder of CUDA graphs for each; None for none.

    With `compiled` their repeated blocks are.
    """

    recorders: Callable[[], Recorder] | None = None
    compiled: bool = False


class Runner:
    """Runs one checkpoint's UNet as `Running` says; weights that visit the device are just run."""

    def __init__(self, bare: Checkpoint, running: Running, *, visiting: bool) -> None:
        """Stand before the UNet of `bare`."""
        self._placement = bare.placement
        self._compiled = Compiled(bare.unet) if running.compiled and not visiting else None
        self._graphs: Graphs | None = None
        if running.recorders is not None and not visiting:
            run: Forward = self._compiled or partial(run_unet, bare.unet)
            self._graphs = Graphs(bare.unet, self._placement, run, running.recorders)

    def under(self, choice: ModelChoice) -> Forward | None:
        """What runs the UNet, which is fitted as `choice` wants it; None where it is just called.

        To be asked for anew after every change.
        """
        if self._compiled is not None:
            # Merging tokens hooks into the blocks.
            self._compiled.use(choice.token_merging == 0)
        if self._graphs is not None:
            return self._graphs.under((choice.tiling, choice.token_merging))
        if self._compiled is None:
            return None
        compiled, placement = self._compiled, self._placement
        return lambda inputs: compiled(placement.placed(inputs))

    def lighten(self) -> bool:
        """Let go of what only makes it fast, for good; whether there was any."""
        return self._graphs is not None and self._graphs.lighten()

    def forget(self) -> None:
        """Let go of all graphs; needed before the weights move."""
        if self._graphs is not None:
            self._graphs.forget()
