"""A picture in words: which model is meant, and the one of them that is in memory. Torch-free.

The models run on the CPU, on a thread of their own, beside whatever the device does: they need none
of its memory, and no job waits for them.
"""

import asyncio
import contextvars
import re
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any, Protocol

import structlog
from PIL import Image

from models.captioning.files import (
    BlipFiles,
    TaggerFiles,
    WeightsMissing,
    find_blip,
    find_tagger,
)
from models.captioning.tagger import Tagger, open_tagger
from models.captioning.wording import BadWording, Wording
from models.errors import CheckpointError
from models.onnx import NoOnnxruntime
from pipelines.watch import Cancelled, Watch

from .errors import ApiError
from .heavy import heavy
from .options import Options
from .settings import Settings

log = structlog.get_logger(__name__)


class _Model(Protocol):
    """One of the models that clients can ask for."""

    def find(self, settings: Settings) -> Any:
        """Its files: a value that is equal while they are the same. Raises `WeightsMissing`."""

    def open(self, files: Any) -> Any:
        """The model in memory. Raises `CheckpointError` and `NoOnnxruntime`."""

    def words(self, opened: Any, picture: Image.Image, options: Options, watch: Watch) -> str:
        """What it says of a picture. Raises `BadWording` and `CheckpointError`."""


class _Blip:
    """A sentence, by BLIP."""

    def find(self, settings: Settings) -> BlipFiles:
        return find_blip(settings.models_path, allow_pickle=settings.allow_pickle)

    def open(self, files: BlipFiles) -> Any:
        return heavy("models.captioning.blip").open_captioner(files)

    def words(self, opened: Any, picture: Image.Image, options: Options, watch: Watch) -> str:
        wording = Wording(
            beams=options.interrogate_clip_num_beams,
            shortest=options.interrogate_clip_min_length,
            longest=options.interrogate_clip_max_length,
        )
        caption: str = opened.caption(picture, wording, lambda: watch.stopping or watch.cancelled)
        return caption


class _Tags:
    """A list of tags, by a tagger in ONNX."""

    def find(self, settings: Settings) -> TaggerFiles:
        return find_tagger(settings.models_path)

    def open(self, files: TaggerFiles) -> Tagger:
        return open_tagger(files)

    def words(self, opened: Tagger, picture: Image.Image, options: Options, watch: Watch) -> str:
        threshold = options.interrogate_deepbooru_score_threshold
        if not 0 <= threshold <= 1:
            raise BadWording(
                f"interrogate_deepbooru_score_threshold is {threshold}; allowed are 0 to 1"
            )
        return tag_list(opened.scores(picture), options)


MODELS: Mapping[str, _Model] = MappingProxyType(
    {"clip": _Blip(), "deepdanbooru": _Tags(), "deepbooru": _Tags()}
)
"""By the names of the wire."""


def tag_list(scores: Mapping[str, float], options: Options) -> str:
    """The tags whose score reaches the threshold, in the order and the spelling of the options."""
    left_out = {tag.strip().replace(" ", "_") for tag in options.deepbooru_filter_tags.split(",")}
    threshold = options.interrogate_deepbooru_score_threshold
    kept = [tag for tag, score in scores.items() if score >= threshold and tag not in left_out]
    kept.sort(key=None if options.deepbooru_sort_alpha else lambda tag: -scores[tag])
    return ", ".join(_spelled(tag, scores[tag], options) for tag in kept)


def _spelled(tag: str, score: float, options: Options) -> str:
    text = tag.replace("_", " ") if options.deepbooru_use_spaces else tag
    if options.deepbooru_escape:
        # brackets that a prompt would take for emphasis
        text = re.sub(r"[\\()]", r"\\\g<0>", text)
    return f"({text}:{score:.3f})" if options.interrogate_return_ranks else text


@dataclass(frozen=True, slots=True, kw_only=True)
class _Held:
    """A model in memory, and the files that it was read from."""

    files: object
    opened: Any


class Interrogator:
    """Owns the thread that puts pictures into words, and at most one model in memory."""

    def __init__(self, models: Mapping[str, _Model] = MODELS) -> None:
        """Let clients ask for `models`, by name. None is loaded yet."""
        self._models = models
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="interrogate")
        self._held: _Held | None = None
        self._lock = threading.Lock()
        self._wanted = 0

    def close(self) -> None:
        """Take nothing more up; what runs ends by its watch."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def words(
        self, name: str, picture: Image.Image, options: Options, settings: Settings, watch: Watch
    ) -> str:
        """What the model `name` says of the picture, when its turn has come.

        Raises `ApiError`: 404 for a model that is unknown or not here, 422 for options that it
        cannot follow, 500 for damaged weights, 503 where onnxruntime is missing; and `Cancelled`.
        """
        model = self._models.get(name)
        if model is None:
            raise ApiError(404, "Model not found")
        try:
            files = await asyncio.to_thread(model.find, settings)
            return await self._in_turn(partial(self._words, model, files, picture, options, watch))
        except WeightsMissing as error:
            raise ApiError(404, f"Model not found: {name}: {error}") from error
        except NoOnnxruntime as error:
            raise ApiError(503, f"{name}: {error}") from error
        except BadWording as error:
            raise ApiError(422, str(error)) from error
        except CheckpointError as error:
            log.warning("not a model", name=name, error=str(error))
            raise ApiError(500, str(error), error=type(error).__name__) from error

    async def _in_turn(self, work: Callable[[], str]) -> str:
        """The outcome of `work` on the thread, within the context of who asks (its log)."""
        context = contextvars.copy_context()
        with self._lock:
            self._wanted += 1
        return await asyncio.get_running_loop().run_in_executor(self._thread, context.run, work)

    def _words(
        self, model: _Model, files: object, picture: Image.Image, options: Options, watch: Watch
    ) -> str:
        """The work of the thread."""
        try:
            if watch.cancelled:
                raise Cancelled("nobody waits for the words")
            watch.begin()
            if self._held is None or self._held.files != files:
                # first the memory of the last one, then that of the next
                self._held = None
                self._held = _Held(files=files, opened=model.open(files))
                log.info("interrogator loaded", kind=type(files).__name__)
            return model.words(self._held.opened, picture, options, watch)
        finally:
            with self._lock:
                self._wanted -= 1
                last = self._wanted == 0
            # whoever comes next may want the same model, and drops it in turn
            if last and not options.interrogate_keep_models_in_memory:
                self._held = None
