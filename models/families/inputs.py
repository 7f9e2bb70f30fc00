"""What a UNet is told at a step, and how it is run on it."""

from collections.abc import Callable, Hashable
from dataclasses import dataclass

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class UnetInputs:
    """Latents x [R,C,h,w], timesteps [R] and context [R,L,D] of R rows.

    `text` [R,P] and `numbers` [R,n] are there where more than the context guides the UNet.
    """

    x: Tensor
    timestep: Tensor
    context: Tensor
    text: Tensor | None = None
    numbers: Tensor | None = None

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return len(self.x)

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """Those that are there."""
        every = (self.x, self.timestep, self.context, self.text, self.numbers)
        return tuple(each for each in every if each is not None)

    @property
    def kind(self) -> Hashable:
        """Equal where a row is of the same shape."""
        return self.text is not None, *(tuple(each.shape[1:]) for each in self.tensors)

    def take(self, others: "UnetInputs") -> None:
        """Copy the rows of `others` over the first of these, in the order of the device's work."""
        for mine, theirs in zip(self.tensors, others.tensors, strict=True):
            mine[: len(theirs)].copy_(theirs, non_blocking=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Where and how a UNet takes its inputs; timesteps and numbers are float32 all the same."""

    device: torch.device
    dtype: torch.dtype
    channels_last: bool = False

    def placed(self, inputs: UnetInputs) -> UnetInputs:
        """The inputs as the UNet takes them; waits for no device.

        A copy from RAM is not waited for either: the driver has taken the numbers when it returns.
        """
        return UnetInputs(
            x=inputs.x.to(
                self.device, self.dtype, non_blocking=True, memory_format=self._format(inputs.x)
            ),
            timestep=inputs.timestep.to(self.device, torch.float32, non_blocking=True),
            context=inputs.context.to(self.device, self.dtype, non_blocking=True),
            text=_moved(inputs.text, self.device, self.dtype),
            numbers=_moved(inputs.numbers, self.device, torch.float32),
        )

    def blank(self, inputs: UnetInputs, rows: int) -> UnetInputs:
        """Zeros for so many rows such as these."""
        like = self.placed(inputs)

        def zeros(each: Tensor) -> Tensor:
            made = torch.zeros((rows, *each.shape[1:]), dtype=each.dtype, device=each.device)
            return made.to(memory_format=self._format(each))

        return UnetInputs(
            x=zeros(like.x),
            timestep=zeros(like.timestep),
            context=zeros(like.context),
            text=None if like.text is None else zeros(like.text),
            numbers=None if like.numbers is None else zeros(like.numbers),
        )

    def _format(self, each: Tensor) -> torch.memory_format:
        images = self.channels_last and each.dim() == 4
        return torch.channels_last if images else torch.preserve_format


#: runs a UNet, as it is or otherwise: its raw output [R,4,h,w]
Forward = Callable[[UnetInputs], Tensor]


def run_unet(unet: UNet2DConditionModel, inputs: UnetInputs) -> Tensor:
    """The UNet's raw output [R,4,h,w] for inputs that are placed."""
    added = None
    if inputs.text is not None:
        added = {"text_embeds": inputs.text, "time_ids": inputs.numbers}
    output: Tensor = unet(
        inputs.x,
        inputs.timestep,
        encoder_hidden_states=inputs.context,
        added_cond_kwargs=added,
        return_dict=False,
    )[0]
    return output


def _moved(each: Tensor | None, device: torch.device, dtype: torch.dtype) -> Tensor | None:
    return None if each is None else each.to(device, dtype, non_blocking=True)
