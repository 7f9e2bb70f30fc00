"""The list of tags as the options want it, and the one model in memory."""

import asyncio
import threading
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from models.captioning.files import WeightsMissing
from models.captioning.wording import BadWording
from models.errors import CorruptCheckpoint
from pipelines.watch import Cancelled, Watch
from server.errors import ApiError
from server.interrogation import MODELS, Interrogator, tag_list
from server.options import Options
from server.settings import Settings, parse

SCORES: Mapping[str, float] = {
    "solo": 0.5,
    "1girl": 0.9,
    "long_hair_(bangs)": 0.75,
    r"\o/": 0.6,
    "sky": 0.49,
}
OPTIONS = Options.defaults()
PICTURE = Image.new("RGB", (8, 8))


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({}, r"1girl, \\o/, long hair \(bangs\), solo"),
        ({"deepbooru_sort_alpha": False}, r"1girl, long hair \(bangs\), \\o/, solo"),
        ({"deepbooru_use_spaces": False}, r"1girl, \\o/, long_hair_\(bangs\), solo"),
        ({"deepbooru_escape": False}, r"1girl, \o/, long hair (bangs), solo"),
        ({"interrogate_deepbooru_score_threshold": 0.6}, r"1girl, \\o/, long hair \(bangs\)"),
        ({"interrogate_deepbooru_score_threshold": 1}, ""),
        ({"deepbooru_filter_tags": r"long hair (bangs) , \o/,x"}, "1girl, solo"),
        (
            {"interrogate_return_ranks": True, "deepbooru_filter_tags": r"\o/"},
            r"(1girl:0.900), (long hair \(bangs\):0.750), (solo:0.500)",
        ),
    ],
)
def test_tags_are_chosen_ordered_and_spelled_by_the_options(
    changes: dict[str, Any], told: str
) -> None:
    options, ignored = OPTIONS.with_overrides(changes)
    assert tag_list(SCORES, options) == told
    assert ignored == ()


@dataclass
class FakeModel:
    """A model that counts what is done with it and, while it is shut, waits within its work."""

    name: str = "fake"
    failure: Exception | None = None
    events: list[str] = field(default_factory=list)
    gate: threading.Event = field(default_factory=threading.Event)
    begun: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.gate.set()

    def find(self, settings: Settings) -> Any:
        if isinstance(self.failure, WeightsMissing):
            raise self.failure
        return self.name

    def open(self, files: Any) -> Any:
        self.events.append(f"open {files}")
        return object()

    def words(self, opened: Any, picture: Image.Image, options: Options, watch: Watch) -> str:
        self.events.append(threading.current_thread().name.partition("_")[0])
        self.begun.set()
        assert self.gate.wait(30)
        if self.failure is not None:
            raise self.failure
        return f"words of {self.name}"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return parse(["--data-dir", str(tmp_path)])


@pytest.fixture
def fake() -> FakeModel:
    return FakeModel()


@pytest.fixture
async def interrogator(fake: FakeModel) -> AsyncIterator[Interrogator]:
    made = Interrogator({"fake": fake})
    yield made
    made.close()


KEEPING = replace(OPTIONS, interrogate_keep_models_in_memory=True)


async def test_a_model_is_dropped_after_use_unless_it_is_to_be_kept(
    interrogator: Interrogator, fake: FakeModel, settings: Settings
) -> None:
    for options in (OPTIONS, OPTIONS, KEEPING, KEEPING, KEEPING):
        told = await interrogator.words("fake", PICTURE, options, settings, Watch())
        assert told == "words of fake"
    assert fake.events.count("open fake") == 3
    assert fake.events.count("interrogate") == 5


async def test_files_that_changed_are_read_again(
    interrogator: Interrogator, fake: FakeModel, settings: Settings
) -> None:
    await interrogator.words("fake", PICTURE, KEEPING, settings, Watch())
    fake.name = "later"
    await interrogator.words("fake", PICTURE, KEEPING, settings, Watch())
    assert [event for event in fake.events if "open" in event] == ["open fake", "open later"]


async def test_who_waits_finds_the_model_still_there_and_the_loop_stays_free(
    interrogator: Interrogator, fake: FakeModel, settings: Settings
) -> None:
    fake.gate.clear()
    asked = [
        asyncio.create_task(interrogator.words("fake", PICTURE, OPTIONS, settings, Watch()))
        for _ in range(3)
    ]
    async with asyncio.timeout(30):
        while not fake.begun.is_set():
            await asyncio.sleep(0.01)
    assert not any(task.done() for task in asked)
    fake.gate.set()
    assert await asyncio.gather(*asked) == ["words of fake"] * 3
    assert fake.events.count("open fake") == 1
    assert interrogator._held is None


async def test_nothing_is_done_for_who_has_gone(
    interrogator: Interrogator, fake: FakeModel, settings: Settings
) -> None:
    watch = Watch()
    watch.cancel()
    with pytest.raises(Cancelled):
        await interrogator.words("fake", PICTURE, OPTIONS, settings, watch)
    assert fake.events == []


@pytest.mark.parametrize(
    ("failure", "status", "body"),
    [
        (WeightsMissing("X", ["a.onnx"]), 404, "'X' of the models folder: a.onnx"),
        (BadWording("x is 3; allowed are 1 to 2"), 422, "x is 3; allowed are 1 to 2"),
        (CorruptCheckpoint(Path("/m/x.onnx"), "cut off"), 500, "/m/x.onnx: cut off"),
    ],
)
async def test_a_failure_is_told_and_the_next_is_served(
    interrogator: Interrogator,
    fake: FakeModel,
    settings: Settings,
    failure: Exception,
    status: int,
    body: str,
) -> None:
    fake.failure = failure
    with pytest.raises(ApiError) as caught:
        await interrogator.words("fake", PICTURE, OPTIONS, settings, Watch())
    assert caught.value.status == status
    assert body in caught.value.body["detail"]
    fake.failure = None
    told = await interrogator.words("fake", PICTURE, OPTIONS, settings, Watch())
    assert told == "words of fake"


def test_taggers_have_two_names() -> None:
    assert set(MODELS) == {"clip", "deepdanbooru", "deepbooru"}
