import torch

from models.memory import cuda


def test_a_cpu_has_no_cuda_figures() -> None:
    assert cuda(torch.device("cpu")) is None
