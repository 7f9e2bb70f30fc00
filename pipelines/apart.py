"""What can fail for one job and must not for another: an error is an answer like any other."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import structlog
import torch

from models.memory import forget_frames, give_back, is_out_of_memory

log = structlog.get_logger(__name__)

Item = TypeVar("Item")
Answer = TypeVar("Answer")


def attempt(
    action: Callable[..., Answer], *arguments: Any
) -> tuple[Answer | None, Exception | None]:
    """The result of `action`, or its error: whatever it is, it ends one job and no other."""
    try:
        return action(*arguments), None
    except Exception as error:  # noqa: BLE001  # the one broad except of this room
        return None, error


def whole(answers: Sequence[Answer | Exception]) -> list[Answer] | Exception:
    """All answers, or the first error among them."""
    found: list[Answer] = []
    for each in answers:
        if isinstance(each, Exception):
            return each
        found.append(each)
    return found


def answered(
    action: Callable[[Sequence[Item]], Sequence[Answer]],
    items: Sequence[Item],
    device: torch.device,
    failed: Callable[[Sequence[Item], Exception], object] = lambda items, error: None,
) -> list[Answer | Exception]:
    """An answer an item, all by one `action`; where that fails, by halves, down to the culprit.

    What was too much for the memory is so split too. `failed` is told of each failure.
    """
    if not items:
        return []
    answers, error = attempt(action, items)
    if error is None:
        assert answers is not None
        return list(answers)
    failed(items, error)
    if is_out_of_memory(error):
        # the frames that it passed through hold what there was no room for
        forget_frames(error)
        give_back(device)
    if len(items) == 1:
        return [error]
    log.warning("failed together, trying by halves", count=len(items), error=repr(error))
    middle = len(items) // 2
    halves = items[:middle], items[middle:]
    return [each for half in halves for each in answered(action, half, device, failed)]
