from pathlib import Path

import pytest

from models.faces.files import FaceWeightsMissing, find_analyser, find_restorer
from models.tool_files import ENDINGS, ToolFiles


def tools(models: Path) -> dict[str, ToolFiles]:
    return {kind: ToolFiles(kind, (models / kind,)) for kind in ENDINGS}


def put(models: Path, *names: str) -> None:
    for name in names:
        path = models / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


@pytest.mark.parametrize(
    ("name", "there", "found"),
    [
        ("GFPGAN", ("GFPGANv1.3.pth", "GFPGANv1.4.pth"), "GFPGANv1.4.pth"),
        ("GFPGAN", ("GFPGANv1.3.pth", "GFPGANv1.pth"), "GFPGANv1.3.pth"),
        ("GFPGAN", ("detection_Resnet50_Final.pth", "my-gfpgan.pth"), "my-gfpgan.pth"),
        ("GFPGAN", ("gfpgan.safetensors", "parsing_parsenet.pth"), "gfpgan.safetensors"),
        ("CodeFormer", ("codeformer.pth", "codeformer-v0.1.0.pth"), "codeformer-v0.1.0.pth"),
        ("CodeFormer", ("a.pth", "CodeFormer.pth"), "CodeFormer.pth"),
        ("CodeFormer", ("a.pth", "sub/codeformer_v2.pth"), "codeformer_v2.pth"),
    ],
)
def test_of_several_weights_the_usual_ones_are_taken(
    tmp_path: Path, name: str, there: tuple[str, ...], found: str
) -> None:
    folder = {"GFPGAN": "GFPGAN", "CodeFormer": "Codeformer"}[name]
    put(tmp_path, *(f"{folder}/{each}" for each in there))
    assert find_restorer(tools(tmp_path), name).path.name == found


@pytest.mark.parametrize(
    ("name", "wanted", "folder"),
    [
        ("GFPGAN", "GFPGANv1.4.pth", "GFPGAN"),
        ("CodeFormer", "codeformer-v0.1.0.pth", "Codeformer"),
    ],
)
def test_weights_that_are_missing_are_named_with_their_folder(
    tmp_path: Path, name: str, wanted: str, folder: str
) -> None:
    # what a webui fetches beside them is no restorer
    put(tmp_path, f"{folder}/detection_Resnet50_Final.pth")
    with pytest.raises(FaceWeightsMissing) as caught:
        find_restorer(tools(tmp_path), name)
    assert str(caught.value) == (
        f"{wanted} is not installed; it belongs into the folder {tmp_path / folder}"
    )


def test_the_analyser_is_a_folder_as_insightface_has_it(tmp_path: Path) -> None:
    there = tools(tmp_path)
    with pytest.raises(FaceWeightsMissing) as caught:
        find_analyser(there)
    folder = tmp_path / "insightface" / "models" / "buffalo_l"
    assert str(caught.value) == (
        f"det_10g.onnx (with w600k_r50.onnx) is not installed; it belongs into the folder {folder}"
    )
    put(folder, "det_10g.onnx", "w600k_r50.onnx", "notes.txt", "deeper/x.onnx")
    put(tmp_path, "insightface/models/antelopev2/glintr100.onnx")
    found, files = find_analyser(tools(tmp_path))
    assert found == folder
    assert [file.name for file in files] == ["det_10g.onnx", "w600k_r50.onnx"]
