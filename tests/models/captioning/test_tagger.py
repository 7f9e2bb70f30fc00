"""Taggers: what they are given, what is made of their scores, and files that do not fit."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from models.captioning.files import find_tagger
from models.captioning.tagger import Tagger, open_tagger, read_tags
from models.errors import CorruptCheckpoint, UnsupportedCheckpoint

from .standins import SIDE, FakeRuntime, tagger_files

SCORES = np.array([[0.99, 0.9, 0.125, 0.5, 0.25]], np.float32)
Install = Callable[..., FakeRuntime]


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Install:
    """Puts a stand-in in the place of onnxruntime."""

    def installed(
        scores: NDArray[np.float32] = SCORES,
        shape: Sequence[int | str | None] = ("batch", SIDE, SIDE, 3),
        inputs: int = 1,
    ) -> FakeRuntime:
        fake = FakeRuntime(scores=lambda _: scores, shape=shape, inputs=inputs)
        monkeypatch.setitem(sys.modules, "onnxruntime", fake.module())
        return fake

    return installed


def opened(models: Path) -> Tagger:
    return open_tagger(find_tagger(models))


def test_every_tag_has_its_score_and_ratings_are_left_out(install: Install, tmp_path: Path) -> None:
    install()
    tagger_files(tmp_path / "torch_deepdanbooru")
    assert opened(tmp_path).scores(Image.new("RGB", (9, 9))) == {
        "1girl": pytest.approx(0.9),
        "long_hair_(bangs)": 0.125,
        "solo": 0.5,
        "hatsune_miku_(vocaloid)": 0.25,
    }


def test_a_wd14_tagger_sees_blue_green_red_on_white(install: Install, tmp_path: Path) -> None:
    fake = install()
    tagger_files(tmp_path / "torch_deepdanbooru")
    wide = Image.new("RGBA", (SIDE * 2, SIDE), (255, 128, 0, 255))
    opened(tmp_path).scores(wide)
    (given,) = fake.given
    assert given.shape == (1, SIDE, SIDE, 3)
    assert given.dtype == np.float32
    assert given[0, SIDE // 2, 0].tolist() == [0, 128, 255]
    assert given[0, 0, 0].tolist() == [255, 255, 255]

    wide.putalpha(0)
    opened(tmp_path).scores(wide)
    assert (fake.given[-1] == 255).all()


def test_deepdanbooru_sees_red_green_blue_with_its_edges_drawn_out(
    install: Install, tmp_path: Path
) -> None:
    fake = install(np.array([[0.75, 0.5]], np.float32))
    tagger_files(
        tmp_path / "torch_deepdanbooru", tags="1girl\nsolo\n\nrating:safe\n", name="tags.txt"
    )
    fake.scores = lambda _: np.array([[0.75, 0.5, 1.0]], np.float32)
    tall = np.zeros((SIDE, SIDE // 2, 3), np.uint8)
    tall[:, 0] = (255, 0, 0)
    tall[:, -1] = (0, 0, 255)
    assert opened(tmp_path).scores(Image.fromarray(tall)) == {"1girl": 0.75, "solo": 0.5}
    row = fake.given[0][0, SIDE // 2]
    assert row[: SIDE // 4 + 1].tolist() == [[1, 0, 0]] * (SIDE // 4 + 1)
    assert row[-SIDE // 4 :].tolist() == [[0, 0, 1]] * (SIDE // 4)


@pytest.mark.parametrize(("name", "side"), [("selected_tags.csv", 448), ("tags.txt", 512)])
def test_an_open_size_is_that_of_the_layout(
    install: Install, tmp_path: Path, name: str, side: int
) -> None:
    fake = install(shape=("N", "H", None, 3))
    tags = "name,category\n" + "\n".join(f"t{n},0" for n in range(5))
    tagger_files(
        tmp_path / "torch_deepdanbooru",
        tags=tags if name.endswith("csv") else "a\nb\nc\nd\ne",
        name=name,
    )
    opened(tmp_path).scores(Image.new("RGB", (5, 7)))
    assert fake.given[0].shape == (1, side, side, 3)


@pytest.mark.parametrize(
    "shape", [(1, 3, 448, 448), (1, 448, 224, 3), (1, 448), (1, 99_999, 99_999, 3), (1, 0, 0, 3)]
)
def test_an_input_of_another_shape_is_named(
    install: Install, tmp_path: Path, shape: tuple[int, ...]
) -> None:
    install(shape=shape)
    tagger_files(tmp_path / "torch_deepdanbooru")
    with pytest.raises(UnsupportedCheckpoint, match="taggers take"):
        opened(tmp_path)


@pytest.mark.parametrize(
    ("scores", "reason"),
    [
        (SCORES[:, :4], r"5 tags; the model's output is \[1, 4\]"),
        (SCORES[0], r"5 tags; the model's output is \[5\]"),
        (SCORES * 20, "no probabilities"),
        (SCORES * np.float32(np.nan), "no probabilities"),
    ],
)
def test_scores_that_fit_no_tags_are_refused(
    install: Install, tmp_path: Path, scores: NDArray[np.float32], reason: str
) -> None:
    install(scores)
    tagger_files(tmp_path / "torch_deepdanbooru")
    with pytest.raises(CorruptCheckpoint, match=reason):
        opened(tmp_path).scores(Image.new("RGB", (4, 4)))


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("selected_tags.csv", "tag_id,name\n1,a\n", "line 2 has no name and category"),
        ("selected_tags.csv", "name,category\na,0\n,0\n", "line 3"),
        ("selected_tags.csv", "name,category\n", "no tags"),
        ("selected_tags.csv", "name,category\n" + "x" * 200_000 + ",0\n", "not a CSV table"),
        ("tags.txt", " \nrating:safe\n", "no tags"),
    ],
)
def test_a_damaged_list_of_tags_is_named(
    tmp_path: Path, name: str, content: str, reason: str
) -> None:
    path = tmp_path / name
    path.write_text(content, "utf-8")
    with pytest.raises(CorruptCheckpoint, match=reason):
        read_tags(path)
