"""What stands in for CUDA graphs on a CPU: a tape of operations and the memory they were done on.

As a graph does, it knows nothing of the Python that called for them: it reads and writes the same
addresses again, and sees neither hooks nor flags nor weights put in others' places.
"""

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from models.graphs import WARM_UPS, Recording


class _Listening(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Puts down what is done while it is on."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.done: list[tuple[Any, tuple[Any, ...], Mapping[str, Any], Any]] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        self.done.append((func, args, kwargs or {}, result))
        return result


class Tape:
    """Records calls; counts the recordings, and the plays of all of them."""

    def __init__(self) -> None:
        self.recordings = 0
        self.plays = 0

    def __call__(self, run: Callable[[], Tensor]) -> Recording:
        for _ in range(WARM_UPS):
            run()
        with _Listening() as heard:
            output = run()
        self.recordings += 1

        def replay() -> None:
            self.plays += 1
            for func, args, kwargs, result in heard.done:
                _same_memory(func(*args, **kwargs), result)

        return Recording(replay=replay, output=output)


class Blank:
    """Fails to record, as where something waits for the device."""

    def __init__(self) -> None:
        self.tried = 0

    def __call__(self, run: Callable[[], Tensor]) -> Recording:
        self.tried += 1
        raise RuntimeError("operation not permitted when stream is capturing")


def _same_memory(again: Any, before: Any) -> None:
    """Have what was made anew where the first was."""
    for new, old in zip(tree_leaves(again), tree_leaves(before), strict=True):
        if isinstance(new, Tensor) and new.data_ptr() != old.data_ptr():
            old.copy_(new)
