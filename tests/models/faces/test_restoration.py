"""Faces restored by networks whose doing is known, and by the true ones with random weights."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from models import torchvision_ops as torchvision_ops  # before spandrel
from models.errors import CorruptCheckpoint, NansException, UnsupportedCheckpoint
from models.faces.alignment import SIDE
from models.faces.restoration import FaceRestorer, open_restorer

from . import photographs
from .nets import GFPGAN_CALL, Broken, Paint, Same, install

CPU = torch.device("cpu")
GREEN = (-1.0, 1.0, -1.0)
SIX = photographs.points(photographs.GROUP_POINTS)


def restorer(
    monkeypatch: pytest.MonkeyPatch, model: torch.nn.Module, name: str = "GFPGAN"
) -> FaceRestorer:
    install(monkeypatch, model, name)
    return open_restorer(Path("faces.pth"), name, device=CPU)


def unwatched(share: float) -> None:
    """Nobody is told."""


def test_a_network_that_changes_nothing_leaves_the_picture(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = Same()
    picture = photographs.group()
    made = restorer(monkeypatch, model).restore(picture, SIX, 0.5, unwatched)
    difference = np.abs(np.asarray(made, int) - np.asarray(picture, int))
    assert difference.max() <= 24
    assert difference.mean() < 0.3
    assert [tuple(seen.shape) for seen in model.seen] == [(1, 3, SIDE, SIDE)] * 6
    assert min(seen.min() for seen in model.seen) >= -1
    assert max(seen.max() for seen in model.seen) <= 1


def test_what_the_network_paints_is_where_the_faces_are(monkeypatch: pytest.MonkeyPatch) -> None:
    picture = photographs.group()
    before = np.asarray(picture, int)
    made = restorer(monkeypatch, Paint(*GREEN)).restore(picture, SIX, 0.5, unwatched)
    after = np.asarray(made, int)
    for x, y in np.rint(SIX).astype(int).reshape(-1, 2):
        assert tuple(after[y, x]) == (0, 255, 0)
    changed = (before != after).any(-1)
    # the six squares, and nothing of the table
    assert 0.09 < changed.mean() < 0.2
    assert not changed[520:].any()
    np.testing.assert_array_equal(np.asarray(picture, int), before)


def test_values_out_of_range_are_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    made = restorer(monkeypatch, Paint(-3.0, 0.0, 7.0)).restore(
        photographs.portrait(), photographs.points(photographs.PORTRAIT_POINTS), 0.5, unwatched
    )
    # 0 lies between 127 and 128
    assert made.getpixel((224, 128)) in {(0, 127, 255), (0, 128, 255)}


@pytest.mark.parametrize(
    ("name", "call"), [("GFPGAN", GFPGAN_CALL), ("CodeFormer", {"weight": 0.25})]
)
def test_each_network_is_called_in_its_own_way(
    monkeypatch: pytest.MonkeyPatch, name: str, call: dict[str, Any]
) -> None:
    model = Same()
    restorer(monkeypatch, model, name).restore(photographs.group(), SIX[:2], 0.25, unwatched)
    assert model.calls == [call, call]


def test_without_a_face_the_picture_is_the_very_same(monkeypatch: pytest.MonkeyPatch) -> None:
    model = Paint(*GREEN)
    picture = photographs.group()
    opened = restorer(monkeypatch, model)
    assert opened.restore(picture, [], 0.5, unwatched) is picture
    assert model.calls == []


def test_faces_too_small_or_elsewhere_are_left_as_they_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = Paint(*GREEN)
    picture = photographs.group()
    small = (SIX[0] - SIX[0].mean(0)) * 0.08 + 300
    elsewhere = SIX[1] + 5000
    huge = (SIX[2] - SIX[2].mean(0)) * 500
    opened = restorer(monkeypatch, model)
    assert opened.restore(picture, [small, elsewhere, huge], 0.5, unwatched) is picture
    made = opened.restore(picture, [small, SIX[3]], 0.5, unwatched)
    assert len(model.calls) == 1
    assert made.getpixel((773, 432)) == (0, 255, 0)
    assert made.getpixel((300, 300)) == picture.getpixel((300, 300))


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_alpha_is_kept(monkeypatch: pytest.MonkeyPatch, mode: str) -> None:
    picture = photographs.group().convert(mode)
    picture.putalpha(Image.linear_gradient("L").resize(picture.size))
    made = restorer(monkeypatch, Paint(*GREEN)).restore(picture, SIX[:1], 0.5, unwatched)
    assert made.mode == "RGBA"
    assert made.getchannel("A").tobytes() == picture.getchannel("A").tobytes()
    assert made.getpixel((121, 340))[:3] == (0, 255, 0)  # type: ignore[index]


def test_progress_is_told_face_by_face(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[float] = []
    restorer(monkeypatch, Same()).restore(photographs.group(), SIX[:4], 0.5, told.append)
    assert told == [0.0, 0.25, 0.5, 0.75, 1.0]


def test_who_is_told_may_stop_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    class Enough(Exception):
        """Enough."""

    def stop(share: float) -> None:
        if share >= 0.5:
            raise Enough

    model = Same()
    with pytest.raises(Enough):
        restorer(monkeypatch, model).restore(photographs.group(), SIX[:4], 0.5, stop)
    assert len(model.calls) == 2


def test_who_waits_for_a_turn_is_told_meanwhile_and_may_leave(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Gone(Exception):
        """Gone."""

    told: list[float] = []

    def leave(share: float) -> None:
        told.append(share)
        if len(told) > 2:
            raise Gone

    turn = threading.Lock()
    install(monkeypatch, Same(), "GFPGAN")
    opened = open_restorer(Path("faces.pth"), "GFPGAN", device=CPU, turn=turn)
    with turn, pytest.raises(Gone):
        opened.restore(photographs.group(), SIX[:1], 0.5, leave)
    assert told == [0.0, 0.0, 0.0]


def test_faces_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    class Slow(Same):
        """Counts how many run at a time."""

        running, most = 0, 0

        def made(self, given: torch.Tensor) -> torch.Tensor:
            self.running += 1
            self.most = max(self.most, self.running)
            time.sleep(0.02)
            self.running -= 1
            return given

    model = Slow()
    opened = restorer(monkeypatch, model)
    with ThreadPoolExecutor(4) as threads:
        jobs = [
            threads.submit(opened.restore, photographs.group(), SIX[:2], 0.5, unwatched)
            for _ in range(4)
        ]
        pictures = {job.result().tobytes() for job in jobs}
    assert (model.most, len(model.calls), len(pictures)) == (1, 8, 1)


def test_not_a_number_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    opened = restorer(monkeypatch, Paint(0.0, float("nan"), 0.0), "CodeFormer")
    with pytest.raises(NansException, match="face restorer CodeFormer produced NaN"):
        opened.restore(photographs.group(), SIX[:1], 0.5, unwatched)


def test_a_network_that_cannot_be_run_is_told_by_its_file(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CorruptCheckpoint, match=r"faces\.pth: cannot be run \(mat1 and mat2"):
        restorer(monkeypatch, Broken()).restore(photographs.group(), SIX[:1], 0.5, unwatched)


def test_a_network_of_another_kind_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, Same(), "ESRGAN")
    with pytest.raises(UnsupportedCheckpoint, match="of the kind ESRGAN, not GFPGAN"):
        open_restorer(Path("faces.pth"), "GFPGAN", device=CPU)


@pytest.mark.slow
@pytest.mark.weights
@pytest.mark.parametrize("name", ["GFPGAN", "CodeFormer"])
def test_the_true_networks_run_on_random_weights(tmp_path: Path, name: str) -> None:
    """No sense in what they paint: their calls, sizes and reading are what is looked at."""
    networks = _networks()
    torch.manual_seed(1)
    path = tmp_path / f"{name}.pth"
    torch.save({"params_ema": networks[name]().state_dict()}, path)
    opened = open_restorer(path, name, device=CPU)
    picture = photographs.portrait()
    points = photographs.points(photographs.PORTRAIT_POINTS)
    made = [np.asarray(opened.restore(picture, points, weight, unwatched)) for weight in (0, 0, 1)]
    np.testing.assert_array_equal(made[0], made[1])
    assert (made[0] != made[2]).any() == (name == "CodeFormer")
    changed = (made[0] != np.asarray(picture)).any(-1)
    assert changed[60:180, 170:270].mean() > 0.9
    assert not changed[300:].any()


def _networks() -> dict[str, Any]:
    from_main = pytest.importorskip("spandrel.architectures.GFPGAN")
    from_extra = pytest.importorskip("spandrel_extra_arches.architectures.CodeFormer")
    return {"GFPGAN": from_main.GFPGAN, "CodeFormer": from_extra.CodeFormer}
