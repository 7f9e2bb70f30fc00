"""What can go wrong between a file and a model on a device."""

from pathlib import Path


class CheckpointError(Exception):
    """A checkpoint that cannot be used; `reason` says why in one line."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason


class CheckpointNotFound(CheckpointError):
    """The file is not there."""


class CorruptCheckpoint(CheckpointError):
    """The file is damaged, or is not what its name says."""


class UnsupportedCheckpoint(CheckpointError):
    """The file is sound, and of a kind that is not supported."""


class ClipSkipOutOfRange(IndexError):
    """More text encoder layers were to be skipped than there are."""

    def __init__(self, clip_skip: int, layers: int) -> None:
        super().__init__(f"clip skip {clip_skip}: the text encoder allows 1 to {layers + 1}")


class NansException(ArithmeticError):
    """A module gave not-a-number values, even in float32; named as clients of the API know it."""

    def __init__(self, module: str, checkpoint: str | None = None) -> None:
        where = "" if checkpoint is None else f" with the checkpoint {checkpoint!r}"
        self.module = module
        super().__init__(
            f"the {module} produced NaN values{where}: the weights are damaged, or a number asked "
            "for (a prompt's weight, a scale, a setting of the schedule) is out of all proportion"
        )


def is_overflow(answer: object) -> bool:
    """Whether an answer says that the UNet's numbers left the range of their format."""
    return isinstance(answer, NansException) and answer.module == "UNet"


class NoSpandrel(RuntimeError):
    """spandrel, which builds upscalers and face restorers from their files, is not installed."""

    def __init__(self) -> None:
        super().__init__("spandrel is not installed; ./launch.sh install brings it")
