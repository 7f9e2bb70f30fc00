"""Models that swap faces: only files that are found, only INSwappers, and only a face's place."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from extensions.protocol import Missing, Workshop
from extensions.roop.networks import open_swapper
from extensions.roop.swapper import CannotSwap, Swapper, open_model
from models.errors import CorruptCheckpoint
from models.onnx import session_options
from models.sessions import SessionCache
from tests.models.faces.standins import Graph, write_faces

from .workshop import Fake, face

onnx = pytest.importorskip("onnx")

FILES = {
    "b.onnx": Path("/m/roop/b.onnx"),
    "sub/b.onnx": Path("/m/roop/sub/b.onnx"),
    "a.onnx": Path("/m/roop/a.onnx"),
    "old.pth": Path("/m/roop/old.pth"),
}


def opened(name: str | None) -> str:
    """The path of the file that a name leads to."""
    paths: list[Path] = []

    def session(key: Any, files: Any, open: Callable[[], Any]) -> None:
        paths.extend(files)

    workshop = replace(Fake({}, files={"roop": FILES}).workshop(), session=session)
    assert open_model(workshop, name).name == paths[0].name
    return paths[0].as_posix()


def test_a_model_is_found_by_the_names_of_its_file() -> None:
    assert opened(None) == "/m/roop/b.onnx"
    assert opened("a.onnx") == opened("/m/roop/a.onnx") == "/m/roop/a.onnx"
    assert opened("b.onnx") == "/m/roop/b.onnx"
    assert opened("sub/b.onnx") == opened("sub\\b.onnx") == "/m/roop/sub/b.onnx"


@pytest.mark.parametrize(
    "name",
    ["c.onnx", "../roop/a.onnx", "/m/roop/../roop/a.onnx", "/etc/passwd", "./a.onnx", "a", "\0"],
)
def test_no_other_file_is_opened(name: str) -> None:
    with pytest.raises(Missing, match="no such model") as raised:
        opened(name)
    assert repr(name) in str(raised.value)
    assert "b.onnx, sub/b.onnx, a.onnx, old.pth" in str(raised.value)


def test_a_file_of_torch_is_none_for_insightface() -> None:
    with pytest.raises(Missing, match=r"old.pth is no ONNX file"):
        opened("old.pth")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    write_faces(folder)
    return folder


def real(models: Path) -> Workshop:
    """What the server lends, as far as a swapper needs it."""
    files = {"roop": {each.name: each for each in sorted((models / "roop").glob("*.onnx"))}}
    return replace(
        Fake({}, files=files).workshop(),
        session=SessionCache(10**9).get,
        onnx=lambda: session_options("cpu"),
    )


def test_a_model_is_opened_once_and_says_nothing(
    models: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    workshop = real(models)
    swapper = open_model(workshop, None)
    assert open_model(workshop, "inswapper_128.onnx").network is swapper.network
    assert "inswapper-shape" not in capfd.readouterr().out


@pytest.mark.parametrize(
    "name",
    ["det_10g.onnx", "w600k_r50.onnx", "genderage.onnx", "2d106det.onnx"],
)
def test_models_of_other_kinds_are_refused(models: Path, name: str) -> None:
    path = models / "insightface/models/buffalo_l" / name
    with pytest.raises(Missing, match=f"{name} is no INSwapper that can be run"):
        open_swapper(path, session_options("cpu"))


def _other(path: Path, *, emap: int = 512, side: int = 128, out: int = 128, rank: int = 4) -> None:
    """Almost an INSwapper: it adds the mean of the source to the target."""
    graph = Graph()
    graph.add("ReduceMean", ["source"], "mean", axes=[1], keepdims=0)
    graph.add("Add", ["target", "mean"], "sum")
    target = [1, 3, side, side][:rank]
    shape = [1, 3, out, out]
    size = graph.constant("size", shape, np.int64)
    graph.add("Resize", ["sum", "", "", size] if rank == 4 else ["sum"], "output")
    graph.constant("emap", np.eye(emap))
    graph.save(path, {"target": target, "source": (1, 512)}, {"output": shape})


def test_almost_an_inswapper_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.onnx"
    _other(path)
    open_swapper(path, session_options("cpu"))
    for wrong, reason in (
        ({"emap": 500}, "its last constant is no map"),
        ({"side": 256, "out": 256}, "its inputs and outputs are those of another kind"),
        ({"out": 64}, "its output has the shape"),
    ):
        _other(path, **wrong)
        with pytest.raises(Missing, match=reason):
            open_swapper(path, session_options("cpu"))


@pytest.mark.parametrize("content", [b"", b"no model at all", b"\x08\x08" * 500])
def test_damaged_files_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "inswapper_128.onnx"
    path.write_bytes(content)
    with pytest.raises(Missing, match=r"inswapper_128.onnx is no INSwapper"):
        open_swapper(path, session_options("cpu"))


def test_weights_in_other_files_are_not_followed(models: Path, tmp_path: Path) -> None:
    (tmp_path / "roop").mkdir()
    model = onnx.load(str(models / "roop/inswapper_128.onnx"))
    onnx.save(
        model,
        str(tmp_path / "roop/evil.onnx"),
        save_as_external_data=True,
        location="secret.bin",
        size_threshold=0,
    )
    with pytest.raises((Missing, CorruptCheckpoint), match=r"evil.onnx"):
        open_model(real(tmp_path), None)


@pytest.fixture
def swapper(models: Path) -> Swapper:
    return open_model(real(models), None)


def _picture(height: int = 400, width: int = 600) -> Any:
    return np.random.default_rng(5).integers(0, 256, (height, width, 3), np.uint8)


def _source(value: float = 1.0) -> Any:
    return SimpleNamespace(normed_embedding=np.full(512, value * 512**-0.5, np.float32))


@pytest.mark.parametrize("at", [(300, 200), (4, 6), (598, 398), (0, 200), (300, 399)])
def test_only_the_place_of_a_face_is_worked_on(swapper: Swapper, at: tuple[int, int]) -> None:
    """As by insightface on the whole picture, to rounding; the rest bit by bit."""
    picture = _picture()
    target = face(*at)
    target.kps = (target.kps - at) * 4 + at
    whole = swapper.network.get(picture, target, _source())
    changed = swapper.swapped(picture, target, _source())
    assert np.abs(changed.astype(int) - whole).max() <= 2
    touched = (changed != picture).any(2)
    assert touched.sum() > 1000
    assert (touched & ~(whole != picture).any(2)).sum() < 20
    y, x = np.nonzero(touched)
    assert np.hypot(x - at[0], y - at[1]).max() < 120


def test_a_face_of_less_than_a_pixel_changes_no_more(swapper: Swapper) -> None:
    picture, target = _picture(), face(300, 200)
    target.kps = (target.kps - (300, 200)) / 500 + (300, 200)
    changed = swapper.swapped(picture, target, _source())
    assert (changed != picture).any(2).sum() <= 4


@pytest.mark.parametrize(
    ("points", "reason"),
    [(np.nan, "nowhere"), (np.inf, "nowhere"), (7.0, "coincide"), (-5000.0, "coincide")],
)
def test_points_that_are_no_face_are_told(swapper: Swapper, points: float, reason: str) -> None:
    target = face(300, 200)
    target.kps = np.full((5, 2), points, np.float32)
    with pytest.raises(CannotSwap, match=reason):
        swapper.swapped(_picture(), target, _source())


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_an_embedding_that_is_none_is_told(swapper: Swapper, value: float) -> None:
    with pytest.raises(CannotSwap, match="no embedding"):
        swapper.swapped(_picture(), face(300, 200), _source(value))


def test_numbers_that_are_none_become_no_colours(models: Path) -> None:
    """An embedding of nothing divides by zero within the model."""
    swapper = open_model(real(models), None)
    picture = _picture()
    with pytest.raises(CannotSwap, match="invalid value"):
        swapper.swapped(picture, face(300, 200), _source(0.0))
