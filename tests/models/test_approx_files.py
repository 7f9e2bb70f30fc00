from pathlib import Path

from models.approx_files import NO_APPROXIMATIONS, ApproxFiles, find_approx


def made(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")
    return folder


def test_nothing_is_found_where_nothing_is(tmp_path: Path) -> None:
    assert find_approx(tmp_path, allow_pickle=True) == NO_APPROXIMATIONS


def test_pickles_count_only_where_allowed_and_after_safetensors(tmp_path: Path) -> None:
    made(
        tmp_path,
        "VAE-taesd/taesd_decoder.pth",
        "VAE-taesd/taesd_decoder.safetensors",
        "VAE-taesd/taesd_encoder.pth",
        "VAE-approx/model.pt",
    )
    decoder = tmp_path / "VAE-taesd" / "taesd_decoder.safetensors"
    assert find_approx(tmp_path, allow_pickle=False)["SD1"] == ApproxFiles(taesd_decoder=decoder)
    assert find_approx(tmp_path, allow_pickle=True)["SD1"] == ApproxFiles(
        taesd_decoder=decoder,
        taesd_encoder=tmp_path / "VAE-taesd" / "taesd_encoder.pth",
        network=tmp_path / "VAE-approx" / "model.pt",
    )


def test_sdxl_has_files_of_its_own(tmp_path: Path) -> None:
    made(tmp_path, "VAE-taesd/taesdxl_decoder.safetensors", "VAE-approx/vaeapprox-sdxl.pt")
    found = find_approx(tmp_path, allow_pickle=True)
    assert found["SD1"] == ApproxFiles()
    assert found["SDXL"] == ApproxFiles(
        taesd_decoder=tmp_path / "VAE-taesd" / "taesdxl_decoder.safetensors",
        network=tmp_path / "VAE-approx" / "vaeapprox-sdxl.pt",
    )
