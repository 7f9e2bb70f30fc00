"""The always-on scripts that every webui has.

Their arguments belong to its page: sent through the API they have no effect there either, but for
those of soft inpainting (`server.soft_inpainting`).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from extensions.wanted import Mode, Names

Arg = Mapping[str, object]
_BOTH: tuple[Mode, ...] = ("txt2img", "img2img")


@dataclass(frozen=True, slots=True, kw_only=True)
class StockScript:
    """A script as clients are told of it; `args` are made from the names of what there is.

    All are known, but not all of them are `listed` by title, nor `described` with arguments.
    """

    title: str
    args: Callable[[Names], tuple[Arg, ...]] = lambda _: ()
    modes: tuple[Mode, ...] = _BOTH
    listed: bool = True
    described: bool = True


def _arg(
    label: str,
    value: object,
    minimum: float | None = None,
    maximum: float | None = None,
    step: float | None = None,
    choices: object = None,
) -> Arg:
    return MappingProxyType(
        {
            "label": label,
            "value": value,
            "minimum": minimum,
            "maximum": maximum,
            "step": step,
            "choices": choices,
        }
    )


def _soft_inpainting(_: Names) -> tuple[Arg, ...]:
    return (
        _arg("Soft inpainting", False),
        _arg("Schedule bias", 1, 0, 8, 0.1),
        _arg("Preservation strength", 0.5, 0, 8, 0.05),
        _arg("Transition contrast boost", 4, 1, 32, 0.5),
        _arg("Mask influence", 0, 0, 1, 0.05),
        _arg("Difference threshold", 0.5, 0, 8, 0.25),
        _arg("Difference contrast", 2, 0, 8, 0.25),
    )


def _refiner(names: Names) -> tuple[Arg, ...]:
    return (
        _arg("Refiner", False),
        _arg("Checkpoint", "", choices=names["checkpoints"]),
        _arg("Switch at", 0.8, 0.01, 1.0, 0.01),
    )


def _sampler(names: Names) -> tuple[Arg, ...]:
    samplers, schedulers = names["samplers"], names["schedulers"]
    return (
        _arg("Sampling steps", 20, 1, 150, 1),
        _arg("Sampling method", samplers[0], choices=samplers),
        _arg("Schedule type", schedulers[0], choices=schedulers),
    )


def _seed(_: Names) -> tuple[Arg, ...]:
    return (
        _arg("Seed", -1, step=1),
        _arg("Extra", False),
        _arg("Variation seed", -1, step=1),
        _arg("Variation strength", 0.0, 0, 1, 0.01),
        _arg("Resize seed from width", 0, 0, 2048, 8),
        _arg("Resize seed from height", 0, 0, 2048, 8),
    )


STOCK_SCRIPTS = (
    StockScript(title="extra options"),
    StockScript(title="Hypertile", described=False),
    StockScript(title="soft inpainting", args=_soft_inpainting, modes=("img2img",)),
    StockScript(title="refiner", args=_refiner),
    StockScript(title="sampler", args=_sampler),
    StockScript(title="seed", args=_seed),
    StockScript(title="comments", listed=False, described=False),
)
"""In the order in which clients are told of them."""
