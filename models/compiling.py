"""A UNet whose repeated blocks are compiled, for as long as the compiler does its part."""

from collections.abc import Callable
from typing import Any

import structlog
from diffusers import UNet2DConditionModel
from torch import Tensor

from .families.inputs import UnetInputs, run_unet

log = structlog.get_logger(__name__)

#: Variants of a block's code that may be compiled, by width, by attention and by number format, of
#: all models together; torch's own limit of 8 would leave the second model as it is.
MAX_VARIANTS = 64
#: where the errors of torch's compiler come from; to import it only for their names takes seconds
COMPILER = ("torch._dynamo", "torch._inductor", "torch._functorch", "triton")


class Compiled:
    """Runs a UNet, its repeated blocks compiled while that is `use`d.

    A block is compiled when it first runs, for all sizes at once: that takes a minute or so. Should
    it fail, the UNet runs as it is from then on, and one line in the log says so.
    """

    def __init__(self, unet: UNet2DConditionModel) -> None:
        """Stand before `unet`; nothing is compiled yet."""
        self._unet = unet
        #: the blocks and what calls them
        self._blocks: dict[Any, Callable[..., Any]] = {}
        self._used = self._failed = False

    def use(self, wanted: bool) -> None:
        """Run compiled blocks from now on, or those that there are.

        What is hooked onto a block's layers reaches no compiled one.
        """
        if wanted and not self._blocks and not self._failed:
            try:
                self._unet.compile_repeated_blocks(dynamic=True, recompile_limit=MAX_VARIANTS)
            except (RuntimeError, ValueError) as error:
                self._give_up(error)
            self._blocks = {
                block: block._compiled_call_impl
                for block in self._unet.modules()
                if block._compiled_call_impl is not None
            }
        self._used = wanted and not self._failed
        for block, call in self._blocks.items():
            block._compiled_call_impl = call if self._used else None

    def __call__(self, inputs: UnetInputs) -> Tensor:
        """The raw output [R,4,h,w] for placed inputs."""
        try:
            return run_unet(self._unet, inputs)
        except RuntimeError as error:
            if not self._used or not _of_compiler(error):
                raise
            self._give_up(error)
        return run_unet(self._unet, inputs)

    def _give_up(self, error: Exception) -> None:
        reason = str(error).strip().partition("\n")[0][:200]
        log.warning("the UNet is not compiled: the compiler failed", reason=reason)
        self._failed = True
        self.use(False)


def _of_compiler(error: BaseException | None) -> bool:
    """Whether the compiler raised it, and not what it compiled."""
    kinds = type(error).__mro__
    return any(kind.__module__.startswith(COMPILER) for kind in kinds)
