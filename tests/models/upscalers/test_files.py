"""The upscalers of the folders by the names that clients know."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from models.tool_files import ENDINGS, ToolFiles
from models.upscalers.files import KINDS, find_upscaler, find_upscalers

from ..files import one_tensor

Shelf = Callable[..., Mapping[str, ToolFiles]]


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    def make(*names: str) -> Mapping[str, ToolFiles]:
        for name in names:
            one_tensor(tmp_path / name)
        return {kind: ToolFiles(kind, (tmp_path / kind,)) for kind in ENDINGS}

    return make


@pytest.mark.parametrize(
    ("file", "name", "scale"),
    [
        ("RealESRGAN/RealESRGAN_x4plus.pth", "R-ESRGAN 4x+", 4),
        ("RealESRGAN/RealESRGAN_x4plus_anime_6B.pth", "R-ESRGAN 4x+ Anime6B", 4),
        ("RealESRGAN/RealESRGAN_x2plus.pth", "R-ESRGAN 2x+", 2),
        ("RealESRGAN/realesr-general-x4v3.pth", "R-ESRGAN General 4xV3", 4),
        ("RealESRGAN/realesr-general-wdn-x4v3.pth", "R-ESRGAN General WDN 4xV3", 4),
        ("RealESRGAN/realesr-animevideov3.pth", "R-ESRGAN AnimeVideo", 4),
        ("ESRGAN/ESRGAN.pth", "ESRGAN_4x", 4),
        ("ESRGAN/ESRGAN_4x.pth", "ESRGAN_4x", 4),
        ("ESRGAN/RealESRGAN_x4plus.pth", "R-ESRGAN 4x+", 4),
        ("DAT/DAT_x2.pth", "DAT x2", 2),
        ("DAT/DAT_x3.pth", "DAT x3", 3),
        ("DAT/DAT_x4.safetensors", "DAT x4", 4),
        ("ScuNET/scunet_color_real_gan.pth", "ScuNET GAN", 4),
        ("ScuNET/scunet_color_real_psnr.pth", "ScuNET PSNR", 4),
        (
            "SwinIR/003_realSR_BSRGAN_DFOWMFC_s64w8_SwinIR-L_x4_GAN.pth",
            "SwinIR 4x",
            4,
        ),
        ("SwinIR/Swin2SR_ClassicalSR_X2_64.pth", "Swin2SR_ClassicalSR_X2_64", 2),
        ("ESRGAN/4x-UltraSharp.pth", "4x-UltraSharp", 4),
        ("ESRGAN/2xNomos.safetensors", "2xNomos", 2),
        ("ESRGAN/1x_DeJPG.pth", "1x_DeJPG", 1),
        ("ESRGAN/ours-512x512.pth", "ours-512x512", 4),
        ("ESRGAN/5x what.pth", "5x what", 4),
        ("ESRGAN/below/Max.pt", "Max", 4),
        ("BSRGAN/BSRGAN.pth", "BSRGAN", 4),
    ],
)
def test_a_file_has_the_name_and_the_scale_that_clients_know(
    shelf: Shelf, tmp_path: Path, file: str, name: str, scale: float
) -> None:
    (upscaler,) = find_upscalers(shelf(file))
    assert (upscaler.name, upscaler.scale) == (name, scale)
    assert upscaler.path == tmp_path / file
    assert upscaler.kind == file.split("/")[0]


def test_they_are_in_the_order_of_their_names_whatever_the_case(shelf: Shelf) -> None:
    files = "ESRGAN/zebra.pth SwinIR/Alpha.pth DAT/beta.pth ESRGAN/ESRGAN.pth DAT/DAT_x2.pth"
    names = [file.name for file in find_upscalers(shelf(*files.split()))]
    assert names == ["Alpha", "beta", "DAT x2", "ESRGAN_4x", "zebra"]


def test_of_two_with_one_name_the_first_folder_wins(shelf: Shelf, tmp_path: Path) -> None:
    files = [f"{kind}/same.pth" for kind in reversed(KINDS)]
    (upscaler,) = find_upscalers(shelf(*files))
    assert upscaler.path == tmp_path / KINDS[0] / "same.pth"


def test_what_is_no_upscaler_is_not_listed(shelf: Shelf) -> None:
    files = "GFPGAN/GFPGANv1.4.pth LDSR/last.ckpt ESRGAN/.hidden.pth ESRGAN/readme.txt u2net/u.onnx"
    assert find_upscalers(shelf(*files.split())) == ()
    assert find_upscalers({}) == ()


def test_a_published_file_is_found_by_its_stem_too(shelf: Shelf) -> None:
    files = find_upscalers(shelf("ESRGAN/RealESRGAN_x4plus.pth", "DAT/x.pth"))
    assert find_upscaler(files, "RealESRGAN_x4plus") is find_upscaler(files, "R-ESRGAN 4x+")
    assert find_upscaler(files, "R-ESRGAN 4x+") == files[0]
    for name in ("", "X", "x.pth", "../x", "None", "DAT/x"):
        assert find_upscaler(files, name) is None
