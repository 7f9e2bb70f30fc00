from pathlib import Path

import torch
from diffusers import AutoencoderTiny
from safetensors.torch import save_file
from structlog.testing import capture_logs

from models.approx import ApproxVaes
from models.approx_files import ApproxFiles, Approximations


def approx(files: ApproxFiles) -> ApproxVaes:
    approximations: Approximations = {"SD1": files, "SDXL": ApproxFiles()}
    return ApproxVaes(
        approximations, device=torch.device("cpu"), dtype=torch.float32, allow_pickle=False
    )


def test_absent_weights_give_nothing() -> None:
    vaes = approx(ApproxFiles())
    assert vaes.taesd_decoded(torch.zeros(1, 4, 2, 2), "SD1") is None
    assert vaes.taesd_encoded(torch.zeros(1, 3, 16, 16), "SD1") is None
    assert vaes.network_decoded(torch.zeros(1, 4, 2, 2), "SD1") is None


def test_images_come_out_one_by_one_as_together(tmp_path: Path) -> None:
    tiny = AutoencoderTiny().eval()
    save_file(tiny.decoder.state_dict(), tmp_path / "a.safetensors")
    latents = torch.randn(3, 4, 2, 2)
    decoded = approx(ApproxFiles(taesd_decoder=tmp_path / "a.safetensors")).taesd_decoded(
        latents, "SD1"
    )
    assert decoded is not None
    assert (
        approx(ApproxFiles(taesd_decoder=tmp_path / "a.safetensors")).taesd_decoded(latents, "SDXL")
        is None
    )
    with torch.no_grad():
        assert torch.allclose(decoded, tiny.decode(latents).sample, atol=1e-5)


def test_weights_that_cannot_be_loaded_cost_one_warning(tmp_path: Path) -> None:
    save_file({"x": torch.zeros(1)}, tmp_path / "a.safetensors")
    vaes = approx(ApproxFiles(network=tmp_path / "a.safetensors"))
    with capture_logs() as logs:
        assert vaes.network_decoded(torch.zeros(1, 4, 2, 2), "SD1") is None
        assert vaes.network_decoded(torch.zeros(1, 4, 2, 2), "SD1") is None
    assert [log["log_level"] for log in logs] == ["warning"]
