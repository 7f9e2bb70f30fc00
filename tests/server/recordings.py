"""What webui v1.10.1 was asked and answered, replayed here and compared part by part.

A recording in tests/data/responses is a request and its answer. A text "@inputs/x.png" in a request
stands for that file in base64, "goldens/open/x.png" for a recorded picture. What differs on purpose
is a row of a table in docs/deviations.md.
"""

import base64
import contextlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
from PIL import Image
from starlette.testclient import TestClient

from server.imagecodec import Encoding, encode

from .wire import DATA

FOLDER = DATA / "responses"
DEVIATIONS = DATA.parent.parent / "docs" / "deviations.md"

LIVE = frozenset(
    {
        "interrupt_mid_job",
        "override_leak_without_config_json",
        "progress_mid_job",
        "progress_n_iter3_hires",
        "skip_mid_job",
        "two_concurrent",
        "ui_internal_progress_mid_job",
    }
)
"""Recordings of several calls around a running job: `test_recorded_live` replays them."""

PART = frozenset({"get_options_after_switch", "get_options_after_no_restore"})
"""Recordings that are a part of the answer of `GET /options`."""

SUPERSETS = ("/sdapi/v1/options", "/sdapi/v1/cmd-flags")
"""Routes whose answers may have more keys than the reference's."""

STATUS = "status"
_BY_LOT = ("subseed", "all_subseeds")
_NUMBERS = (".ram.", ".total", ".records")
_CUT = re.compile(r"<\d+ chars: ")
_DEVIATION = re.compile(r"\| (`\w[^|]*`) \| (\d+) \| ([^|]*) \| ([^|]+) \|")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """A request and the reference's answer; `kept` is the request as it was recorded."""

    name: str
    method: str
    path: str
    status: int
    answer: Any
    kept: Any = None
    raw: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    def ask(self, client: TestClient) -> httpx2.Response:
        """Send what was sent to the reference."""
        body: dict[str, Any] = {}
        if self.raw is not None:
            body = {"content": self.raw}
        elif self.kept is not None:
            body = {"json": _expanded(self.kept, self.answer)}
        return client.request(self.method, self.path, headers=dict(self.headers), **body)


@dataclass(frozen=True, slots=True, kw_only=True)
class Deviation:
    """What we answer otherwise: our status, and the parts that differ (only `status` if that does).

    A part is the path of a value; what stands in a list is `[]`.
    """

    status: int
    parts: frozenset[str]


def names() -> list[str]:
    """The names of all recordings."""
    return sorted(path.name.removesuffix(".json") for path in FOLDER.glob("*.json"))


def read(name: str) -> Recording:
    """The recording of that name."""
    content = json.loads((FOLDER / f"{name}.json").read_text("utf-8"))
    if name in PART:
        content = {"path": "/sdapi/v1/options", "method": "GET", "response": content, "status": 200}
    if name.startswith("pnginfo_"):
        content |= {"path": "/sdapi/v1/png-info", "method": "POST"}
    if name == "img2img_data_url_prefix":
        sent = content["response"]["parameters"]
        asked = {key: sent[key] for key in ("prompt", "steps", "width", "height", "seed")}
        picture = ["data:image/png;base64,@inputs/photo64.png"]
        asked |= {"init_images": picture, "send_images": False}
        content |= {"path": "/sdapi/v1/img2img", "method": "POST", "request": asked}
    return Recording(
        name=name,
        method=content["method"],
        path=content["path"],
        status=content["status"],
        answer=content["response"],
        kept=content.get("request"),
        raw=content.get("raw_request"),
        headers=content.get("request_headers") or {},
    )


def deviations() -> dict[str, Deviation]:
    """The rows of docs/deviations.md by recording; one row may stand for several."""
    found: dict[str, Deviation] = {}
    for line in DEVIATIONS.read_text("utf-8").splitlines():
        if row := _DEVIATION.match(line):
            parts = frozenset(re.findall(r"`([^`]+)`", row[3]))
            for name in re.findall(r"`([^`]+)`", row[1]):
                assert name not in found, f"{name} has two rows in {DEVIATIONS.name}"
                found[name] = Deviation(status=int(row[2]), parts=parts)
    return found


def differences(
    recording: Recording, response: httpx2.Response, alike: Mapping[str, str]
) -> set[str]:
    """The parts in which a response differs from the recording.

    `alike` are texts of ours and what they stand for in the recordings, such as folders.
    """
    if response.status_code != recording.status:
        return {STATUS}
    text = response.text
    for here, there in alike.items():
        text = text.replace(here, there)
    ours: Any = text
    with contextlib.suppress(ValueError):
        ours = json.loads(text)
    theirs = recording.answer
    if isinstance(theirs, str) and theirs.lstrip().startswith("<"):
        # a page, or a note about where the answer was kept
        return set() if response.status_code == 200 else {STATUS}
    if recording.name in PART:
        ours = {key: ours.get(key) for key in theirs}
    if recording.path in SUPERSETS and isinstance(theirs, dict) and isinstance(ours, dict):
        ours = {key: value for key, value in ours.items() if key in theirs}
    lot = _drawn_by_lot(recording)
    return set(_apart("", _steady(ours, lot), _steady(theirs, lot)))


def _drawn_by_lot(recording: Recording) -> bool:
    sent = recording.kept if isinstance(recording.kept, dict) else {}
    return sent.get("seed") is None or sent["seed"] == -1


def _steady(answer: Any, seed_by_lot: bool) -> Any:
    """An answer without what changes from run to run; `info` unfolded, pictures only counted."""
    if not isinstance(answer, dict) or "parameters" not in answer or "images" not in answer:
        return answer
    info = json.loads(answer["info"])
    info.pop("job_timestamp")
    for key in _BY_LOT + (("seed", "all_seeds") if seed_by_lot else ()):
        info.pop(key)
    if seed_by_lot:
        info["infotexts"] = [re.sub(r"Seed: \d+", "Seed: ?", text) for text in info["infotexts"]]
    return {**answer, "info": info, "images": len(answer["images"])}


def _apart(path: str, ours: Any, theirs: Any) -> Iterator[str]:
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for key in ours.keys() | theirs.keys():
            there = f"{path}.{key}" if path else str(key)
            if key in ours and key in theirs:
                yield from _apart(there, ours[key], theirs[key])
            elif not path.endswith("records"):
                yield there
    elif _named(ours) and _named(theirs):
        mine, wanted = ({each["name"]: each for each in some} for some in (ours, theirs))
        if list(mine) != list(wanted):
            yield f"{path}[]"
        for name in mine.keys() & wanted.keys():
            yield from _apart(f"{path}[]", mine[name], wanted[name])
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        for one, other in zip(ours, theirs, strict=True):
            yield from _apart(f"{path}[]", one, other)
    elif not _same(path, ours, theirs):
        yield path or "answer"


def _named(value: Any) -> bool:
    if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
        return False
    called = [each.get("name") for each in value]
    return None not in called and len(set(called)) == len(called)


def _same(path: str, ours: Any, theirs: Any) -> bool:
    if path.endswith("job_timestamp"):
        return len(ours) == len(theirs)
    if f".{path}".startswith(_NUMBERS):
        return isinstance(ours, int | float) and isinstance(theirs, int | float)
    if isinstance(theirs, str) and _CUT.match(theirs):
        return isinstance(ours, str) and ours != ""
    numbers = all(type(each) in (int, float) for each in (ours, theirs))
    return (numbers or type(ours) is type(theirs)) and bool(ours == theirs)


def _expanded(value: Any, answer: Any) -> Any:
    if isinstance(value, str):
        before, mark, name = value.partition("@inputs/")
        if mark and before in ("", "data:image/png;base64,"):
            return before + _base64((DATA / "inputs" / name).read_bytes())
        if value.startswith("goldens/open/"):
            return _base64(_picture(DATA / "goldens" / value.rpartition("/")[2], answer))
        return value
    if isinstance(value, list):
        return [_expanded(each, answer) for each in value]
    if isinstance(value, dict):
        return {key: _expanded(each, answer) for key, each in value.items()}
    return value


def _picture(file: Path, answer: Any) -> bytes:
    """A recorded picture; where it is not kept here, one in which the same was written."""
    if file.exists():
        return file.read_bytes()
    kind = file.suffix.removeprefix(".")
    return encode(Image.new("RGB", (8, 8)), answer["info"], Encoding(format=kind))


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()
