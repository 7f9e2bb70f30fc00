import torch

from models.memory import cuda, ram


def test_ram_adds_up_and_sees_this_process() -> None:
    figures = ram()
    assert set(figures) == {"free", "used", "total"}
    assert figures["free"] + figures["used"] == figures["total"]
    assert 10 << 20 < figures["used"] < figures["total"]


def test_a_cpu_has_no_cuda_figures() -> None:
    assert cuda(torch.device("cpu")) is None
