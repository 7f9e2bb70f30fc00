"""CUDA graphs of a UNet: what a forward does is recorded once and played again, launch by launch.

One for each kind of call: the rows, rounded up, the sizes of a row, and how the UNet is set up. A
recording holds addresses and no weights, so what is written into the weights counts in the next
play; weights that lie elsewhere make all of them worthless.
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import structlog
import torch
from torch import Tensor, nn

from .families.inputs import Forward, Placement, UnetInputs
from .memory import forget_frames

log = structlog.get_logger(__name__)

#: Rows that are recorded; between them blank rows fill up. Pictures bring a row with their prompt
#: and one without, so that all even numbers are there: what blank rows would cost in every step, a
#: recording costs once. 1 and 3 are the rows of one picture without guidance and of an edit model.
#: Above, a GPU is busy for longer than launching takes.
BUCKETS = (1, 2, 3, 4, 6, 8, 10, 12, 14, 16)
#: Graphs of a model: all buckets of two sizes. They share the memory that a forward works in; each
#: has inputs and outputs of its own, and some MB of the driver's.
MAX_GRAPHS = 20
#: calls of a kind that are run as they are before it is recorded: the first time, and again after
#: its graph had to make room, lest more kinds than there is room for be recorded by turns
FIRST, AGAIN = 1, 20
#: kinds of calls that are remembered, so that strange sizes cost no memory for ever
MAX_KNOWN = 256
#: forwards on the side before one is recorded: libraries set themselves up in the first
WARM_UPS = 2


@dataclass(frozen=True, slots=True, eq=False)
class Recording:
    """Work that was recorded: `replay` does it anew, and leaves the result in `output`."""

    replay: Callable[[], None]
    output: Tensor


class Recorder(Protocol):
    """Records what a call does; the recordings of one recorder share memory to work in."""

    def __call__(self, run: Callable[[], Tensor]) -> Recording:
        """Record `run`, which is called a few times for it. Raises RuntimeError."""


class CudaRecorder:
    """Records on a side stream of a CUDA device."""

    def __init__(self, stream: torch.cuda.Stream) -> None:
        """Record on `stream`: the same one for all, as libraries keep memory for each."""
        self._stream = stream
        self._pool = torch.cuda.graph_pool_handle()

    def __call__(self, run: Callable[[], Tensor]) -> Recording:
        """Record `run`, which is called a few times for it. Raises RuntimeError."""
        with torch.cuda.device(self._stream.device):
            current = torch.cuda.current_stream()
            self._stream.wait_stream(current)
            with torch.cuda.stream(self._stream):
                for _ in range(WARM_UPS):
                    run()
            current.wait_stream(self._stream)
            graph = torch.cuda.CUDAGraph()
            recording = torch.cuda.graph(
                graph,
                pool=self._pool,
                stream=self._stream,
                # Others may go on: the next model's weights may be coming onto the device.
                capture_error_mode="thread_local",
            )
            # Should the end of it fail, torch leaves the side stream in use.
            with torch.cuda.stream(current), recording:
                output = run()
        return Recording(replay=graph.replay, output=output)


def cuda_recorders(device: torch.device) -> Callable[[], Recorder] | None:
    """What makes recorders for a device, one a model; None for one that has no graphs."""
    if device.type != "cuda" or not torch.cuda.is_available():
        return None
    stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    return partial(CudaRecorder, stream)


@dataclass(frozen=True, slots=True, eq=False)
class _Graph:
    """A recording and the inputs that it reads."""

    inputs: UnetInputs
    recording: Recording

    def play(self, inputs: UnetInputs) -> Tensor:
        """The output of these rows in float32, in memory of its own; nothing waits."""
        self.inputs.take(inputs)
        self.recording.replay()
        output = self.recording.output[: inputs.rows]
        plain = torch.contiguous_format
        return output.to(torch.float32, copy=True, memory_format=plain)


class Graphs:
    """Runs a module's forwards from recordings where it pays, and as they are elsewhere.

    A kind of call is recorded when it comes a second time, and never again if that fails. Not safe
    for several threads: it belongs to the one that runs the module.
    """

    def __init__(
        self,
        module: nn.Module,
        placement: Placement,
        run: Forward,
        recorders: Callable[[], Recorder],
        *,
        limit: int = MAX_GRAPHS,
    ) -> None:
        """Stand before `run`, which runs `module` on placed inputs; keep the `limit` used last."""
        self._module = module
        self._placement = placement
        self._run = run
        self._recorders = recorders
        self._limit = limit
        self._recorder: Recorder | None = None
        self._graphs: OrderedDict[Hashable, _Graph] = OrderedDict()
        #: by the kind, the calls until it is recorded; None where that failed
        self._until: OrderedDict[Hashable, int | None] = OrderedDict()
        self._lying: tuple[Hashable, ...] = ()

    def __len__(self) -> int:
        """How many graphs there are."""
        return len(self._graphs)

    def under(self, state: Hashable) -> Forward:
        """The forward while `state`, all beside the weights that it depends on, is what it is.

        To be asked for anew after every change of either.
        """
        if self._graphs and self._lying != _lying(self._module):
            log.info("CUDA graphs let go: weights lie elsewhere", graphs=len(self._graphs))
            self.forget()
        return partial(self._forward, state)

    def forget(self) -> None:
        """Let go of all graphs and their memory; needed before the weights move."""
        self._graphs.clear()
        # Torch gives the memory of a pool back once the last of its graphs is gone, and does not
        # take the name of such a pool again.
        self._recorder = None

    def lighten(self) -> bool:
        """Let go of all graphs as memory is short, for good; whether there were any."""
        if not self._graphs:
            return False
        log.warning("CUDA graphs let go: memory is short", graphs=len(self._graphs))
        self._until |= dict.fromkeys(self._graphs)
        self.forget()
        return True

    def _forward(self, state: Hashable, inputs: UnetInputs) -> Tensor:
        rows = next((each for each in BUCKETS if each >= inputs.rows), None)
        graph = None if rows is None else self._graph((state, rows, inputs.kind), inputs, rows)
        if graph is None:
            return self._run(self._placement.placed(inputs))
        return graph.play(inputs)

    def _graph(self, key: Hashable, inputs: UnetInputs, rows: int) -> _Graph | None:
        """The graph for a kind of call; None where it has none, which it may get next time."""
        graph = self._graphs.get(key)
        until = self._until.pop(key, FIRST)
        if graph is None and until == 0:
            graph = self._recorded(inputs, rows)
            until = None if graph is None else 0
        elif graph is None and until is not None:
            until -= 1
        self._until[key] = until
        if len(self._until) > MAX_KNOWN:
            self._until.popitem(last=False)
        if graph is not None:
            self._graphs[key] = graph
            self._graphs.move_to_end(key)
            if len(self._graphs) > self._limit:
                gone, _ = self._graphs.popitem(last=False)
                self._until[gone] = AGAIN
        return graph

    def _recorded(self, inputs: UnetInputs, rows: int) -> _Graph | None:
        """A new graph; None where the work cannot be recorded."""
        if not self._graphs or self._recorder is None:
            self._recorder = self._recorders()
            self._lying = _lying(self._module)
        try:
            still = self._placement.blank(inputs, rows)
            still.take(inputs)
            return _Graph(still, self._recorder(partial(self._run, still)))
        except RuntimeError as error:
            shape = (rows, *inputs.x.shape[1:])
            reason = str(error.__context__ or error)[:200]
            log.warning("no CUDA graph for forwards of this shape", shape=shape, reason=reason)
            forget_frames(error)
        return None


def _lying(module: nn.Module) -> tuple[Hashable, ...]:
    """Where all that a module reads beside its inputs lies."""
    tensors = (*module.parameters(), *module.buffers())
    return tuple((each.data_ptr(), each.dtype) for each in tensors)
