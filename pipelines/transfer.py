"""Numbers on their way between the host and the device, without waiting for the device."""

import torch
from torch import Tensor


def sent(values: Tensor, device: torch.device) -> Tensor:
    """`values` of the host on `device`.

    From pageable memory a copy to a GPU waits for all that was asked of it before, from pinned
    memory it takes its turn.
    """
    if device.type != "cuda" or values.is_cuda:
        return values.to(device)
    return values.pin_memory().to(device, non_blocking=True)
