"""The real insightface over stand-ins of true shapes, and files that are not what they say."""

import io
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps

from models.errors import CorruptCheckpoint
from models.faces.analysis import Analyser, NoInsightface, open_analyser
from models.faces.files import FaceWeightsMissing
from models.onnx import session_options

from . import photographs
from .standins import Detector, Graph, onnx, write_faces


def analyser(models: Path, detector: Detector = "photographs") -> Analyser:
    return open_analyser(write_faces(models, detector=detector), session_options("cpu"))


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Analyser:
    return analyser(tmp_path_factory.mktemp("faces"))


def again(picture: Image.Image, kind: str) -> Image.Image:
    """The picture as it comes back from a file."""
    file = io.BytesIO()
    picture.save(file, kind, quality=90)
    return Image.open(file)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_six_faces_left_to_right_where_they_are(found: Analyser, kind: str) -> None:
    faces = found.faces(again(photographs.group(), kind))
    boxes = np.stack([face.bbox for face in faces])
    np.testing.assert_allclose(boxes, photographs.GROUP_BOXES, atol=1)
    points = np.stack([face.kps for face in faces])
    np.testing.assert_allclose(points, photographs.points(photographs.GROUP_POINTS), atol=1)
    assert all(face.det_score > 0.9 for face in faces)


def test_a_face_is_told_by_its_embedding(found: Analyser) -> None:
    embeddings = np.stack([face.normed_embedding for face in found.faces(photographs.group())])
    again = np.stack([face.normed_embedding for face in found.faces(photographs.group())])
    assert embeddings.shape == (6, 512)
    likeness = embeddings @ again.T
    np.testing.assert_allclose(np.diag(likeness), 1, atol=1e-5)
    assert (likeness - np.eye(6) < 0.85).all()


def test_without_embeddings_the_faces_are_the_same(found: Analyser) -> None:
    (face,) = found.detect(photographs.portrait())
    assert face.embedding is None
    np.testing.assert_allclose(face.bbox, photographs.PORTRAIT_BOXES[0], atol=1)


def test_large_faces_are_found_in_the_second_look(found: Analyser) -> None:
    corner = photographs.group().crop((0, 0, 640, 640))
    faces = found.faces(corner)
    np.testing.assert_allclose(
        np.stack([face.bbox for face in faces]), photographs.GROUP_BOXES[:3], atol=1
    )


@pytest.mark.parametrize(
    "picture",
    [
        Image.new("RGB", (64, 64)),
        Image.new("RGB", (512, 512), (128, 128, 128)),
        Image.new("RGB", (1, 1), (255, 0, 0)),
        Image.new("RGB", (1, 5000), (255, 0, 0)),
        Image.new("RGB", (5000, 2), (255, 0, 0)),
        ImageOps.mirror(photographs.group()),
    ],
)
def test_where_there_is_no_face_none_is_found(found: Analyser, picture: Image.Image) -> None:
    assert found.faces(picture) == ()


@pytest.mark.parametrize("mode", ["RGBA", "LA", "L", "P", "CMYK", "I;16"])
def test_a_picture_of_any_mode_is_looked_at(found: Analyser, mode: str) -> None:
    picture = photographs.portrait()
    if mode == "I;16":
        grey = np.asarray(picture.convert("L"), np.uint16)
        assert isinstance(found.detect(Image.fromarray(grey * 256)), tuple)
        return
    # those that keep the colours keep the face
    faces = found.detect(picture.convert(mode))
    assert len(faces) == (1 if mode in {"RGBA", "CMYK", "P"} else len(faces))


def test_a_large_picture_is_looked_at_reduced(found: Analyser) -> None:
    faces = found.faces(photographs.group().resize((6400, 4430), Image.Resampling.BILINEAR))
    points = np.stack([face.kps for face in faces])
    # insightface rounds the height that it looks at
    np.testing.assert_allclose(points, photographs.points(photographs.GROUP_POINTS) * 5, atol=15)


def test_a_picture_longer_than_opencv_warps_is_looked_at_all_the_same(found: Analyser) -> None:
    long = Image.new("RGB", (33000, 3300))
    long.paste(photographs.portrait().resize((3300, 3300)), (0, 0))
    assert len(found.faces(long)) <= 1


def test_a_hundred_faces_are_a_hundred(tmp_path: Path) -> None:
    faces = analyser(tmp_path, "crowd").faces(Image.new("RGB", (640, 640), (90, 60, 30)))
    assert len(faces) == 100
    lefts = [float(face.bbox[0]) for face in faces]
    assert lefts == sorted(lefts)


def test_one_analyser_serves_many_threads(found: Analyser) -> None:
    group, corner = photographs.group(), photographs.group().crop((0, 0, 640, 640))
    pictures = [group, photographs.portrait(), corner, Image.new("RGB", (9, 9))] * 3
    with ThreadPoolExecutor(8) as threads:
        counts = [len(faces) for faces in threads.map(found.faces, pictures)]
    assert counts == [6, 1, 3, 0] * 3


def test_nothing_is_written_to_the_standard_output(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    analyser(tmp_path).faces(photographs.portrait())
    assert capfd.readouterr() == ("", "")


def test_a_folder_without_models_is_never_filled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fetch(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("something was to be fetched")

    monkeypatch.setattr("insightface.app.face_analysis.ensure_available", fetch)
    folder = tmp_path / "models" / "buffalo_l"
    with pytest.raises(FaceWeightsMissing, match=f"det_10g.onnx .* folder {folder}"):
        open_analyser(folder, session_options("cpu"))
    assert not folder.exists()


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    folder = write_faces(tmp_path)
    (folder / "w600k_r50.onnx").unlink()
    halved = open_analyser(folder, session_options("cpu"))
    assert len(halved.detect(photographs.group())) == 6
    with pytest.raises(FaceWeightsMissing, match=f"w600k_r50.onnx is not .* folder {folder}"):
        halved.faces(photographs.group())
    (folder / "det_10g.onnx").unlink()
    with pytest.raises(FaceWeightsMissing, match=r"det_10g\.onnx is not installed"):
        open_analyser(folder, session_options("cpu"))


def test_without_insightface_its_name_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "insightface.app.face_analysis", None)
    with pytest.raises(NoInsightface, match="insightface is not installed"):
        analyser(tmp_path)


def one_output(path: Path, *, given: tuple[int | str, ...], made: int = 4) -> None:
    """A model that gives `made` numbers for whatever it is given."""
    graph = Graph()
    graph.constant("always", np.zeros((1, made)))
    graph.add("ReduceMean", ["data"], "mean", keepdims=0)
    graph.add("Mul", ["mean", graph.constant("nothing", 0.0)], "zero")
    graph.add("Add", ["zero", "always"], "fc1")
    graph.save(path, {"data": given}, {"fc1": (1, made)})


def test_a_detector_of_the_wrong_shape_is_told(tmp_path: Path) -> None:
    folder = write_faces(tmp_path)
    one_output(folder / "det_10g.onnx", given=(1, 3, 640, 640))
    with pytest.raises(CorruptCheckpoint, match=r"det_10g\.onnx: is no detector .* 1 outputs"):
        open_analyser(folder, session_options("cpu"))


@pytest.mark.parametrize(("given", "made"), [((1, 3, 112, 112), 256), ((1, 3, 128, 128), 512)])
def test_a_recogniser_of_the_wrong_shape_is_told(
    tmp_path: Path, given: tuple[int | str, ...], made: int
) -> None:
    folder = write_faces(tmp_path)
    one_output(folder / "w600k_r50.onnx", given=given, made=made)
    with pytest.raises(CorruptCheckpoint, match=r"w600k_r50\.onnx: is no recogniser of faces"):
        open_analyser(folder, session_options("cpu"))


def test_a_model_that_insightface_cannot_take_is_told(tmp_path: Path) -> None:
    folder = write_faces(tmp_path)
    one_output(folder / "aaa.onnx", given=(1, 3))
    with pytest.raises(CorruptCheckpoint, match=r"buffalo_l: insightface cannot open it"):
        open_analyser(folder, session_options("cpu"))


def nine_outputs(folder: Path, widths: tuple[int | str, ...]) -> None:
    """A detector that gives the picture itself nine times over."""
    graph = Graph()
    graph.add("Flatten", ["input.1"], "flat", axis=1)
    names = [str(number) for number in range(9)]
    for name in names:
        graph.add("Identity", ["flat"], name)
    slots = {name: (1, width) for name, width in zip(names, widths, strict=True)}
    graph.save(folder / "det_10g.onnx", {"input.1": (1, 3, "?", "?")}, slots)


def test_a_detector_without_five_points_a_face_is_told(tmp_path: Path) -> None:
    folder = write_faces(tmp_path)
    nine_outputs(folder, (1, 1, 1, 4, 4, 4, 10, 12, 10))
    said = r"det_10g\.onnx: is no detector .* its output 7 has 12 numbers a place, .* 10"
    with pytest.raises(CorruptCheckpoint, match=said):
        open_analyser(folder, session_options("cpu"))


def test_a_detector_whose_outputs_do_not_fit_is_told_when_it_runs(tmp_path: Path) -> None:
    folder = write_faces(tmp_path)
    nine_outputs(folder, ("n",) * 9)
    opened = open_analyser(folder, session_options("cpu"))
    with pytest.raises(CorruptCheckpoint, match=r"det_10g\.onnx: insightface cannot run it"):
        opened.faces(photographs.portrait())


def test_a_recogniser_that_knows_nobody_is_told(tmp_path: Path) -> None:
    folder = write_faces(tmp_path)
    one_output(folder / "w600k_r50.onnx", given=(1, 3, 112, 112), made=512)
    opened = open_analyser(folder, session_options("cpu"))
    with pytest.raises(CorruptCheckpoint, match=r"w600k_r50\.onnx: cannot tell faces apart"):
        opened.faces(photographs.portrait())


def test_weights_in_another_file_are_not_followed(tmp_path: Path) -> None:
    folder = write_faces(tmp_path)
    path = folder / "w600k_r50.onnx"
    model = onnx.load(str(path))
    location = "../../../../etc/passwd"
    onnx.external_data_helper.convert_model_to_external_data(
        model, location="weights.bin", size_threshold=0
    )
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = location
        tensor.data_location = onnx.TensorProto.EXTERNAL
        tensor.ClearField("raw_data")
    path.write_bytes(model.SerializeToString())
    with pytest.raises(CorruptCheckpoint, match=r"w600k_r50\.onnx: its weights are in other files"):
        open_analyser(folder, session_options("cpu"))


def test_a_damaged_file_is_told(tmp_path: Path) -> None:
    folder = write_faces(tmp_path)
    path = folder / "det_10g.onnx"
    path.write_bytes(path.read_bytes()[:30000])
    with pytest.raises(CorruptCheckpoint, match=r"det_10g\.onnx"):
        open_analyser(folder, session_options("cpu"))
