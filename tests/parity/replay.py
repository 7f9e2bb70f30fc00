"""Recorded requests of webui v1.10.1, replayed and compared: pictures, texts, echo.

A recording is `NAME.json` (a request and its answer) and `NAME.I.png` (its pictures); a text
"@inputs/x.png" in a request stands for that file in base64.

    python -m tests.parity.replay URL FOLDER [FOLDER_OF_INPUTS] [--in-flight N]

replays a folder of them on a running server, N at a time, and prints the table of docs/parity.md.
"""

import argparse
import base64
import io
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from numpy.typing import NDArray
from PIL import Image

#: what differs from run to run
UNSTABLE = frozenset({"job_timestamp"})
#: what is drawn by lot where the request leaves it open
BY_LOT = frozenset({"subseed", "all_subseeds"})
_INPUT = "@inputs/"


@dataclass(frozen=True, slots=True, kw_only=True)
class Golden:
    """One recording; what `skip` names ("images") is known to differ, for want of weights."""

    name: str
    folder: Path
    path: str
    request: Mapping[str, Any]
    status: int
    answer: Mapping[str, Any]
    skip: tuple[str, ...] = ()

    @property
    def changes_settings(self) -> bool:
        """Whether its settings stay, so that what runs beside it would be drawn by them."""
        return self.request.get("override_settings_restore_afterwards") is False

    @property
    def pictures(self) -> list[str]:
        """The files of the recorded pictures, in the reply's order."""
        if "image" in self.answer:
            return [self.answer["image"]]
        return list(self.answer["images"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """How far pictures are apart, in grey levels of 255."""

    mean: float
    largest: int


def read(file: Path, inputs: Path) -> Golden:
    """The recording of a JSON file, with the pictures it sends in place."""
    case = json.loads(file.read_text("utf-8"))
    return Golden(
        name=file.stem,
        folder=file.parent,
        path=case["path"],
        request=_expanded(case["request"], inputs),
        status=case["status"],
        answer=case["response"],
        skip=tuple(case.get("skip", ())),
    )


def differences(golden: Golden, reply: Mapping[str, Any]) -> Iterator[Difference]:
    """How far each picture of a reply is from the recorded one. Raises AssertionError."""
    if "images" in golden.skip:
        return
    sent = [reply["image"]] if "image" in reply else reply["images"]
    assert len(sent) == len(golden.pictures), f"{len(sent)} pictures, not {len(golden.pictures)}"
    for text, name in zip(sent, golden.pictures, strict=True):
        drawn, recorded = (
            _opened(base64.b64decode(text)),
            _opened((golden.folder / name).read_bytes()),
        )
        assert (drawn.size, drawn.mode) == (recorded.size, recorded.mode), name
        apart = np.abs(_levels(drawn) - _levels(recorded))
        yield Difference(mean=float(apart.mean()), largest=int(apart.max()))


def told_apart(golden: Golden, reply: Mapping[str, Any]) -> list[str]:
    """What a reply tells differently from the recording, a line each."""
    if "html_info" in golden.answer:
        return _apart("html_info", reply["html_info"], golden.answer["html_info"])
    info, wanted = json.loads(reply["info"]), golden.answer["info"]
    skipped = UNSTABLE | (BY_LOT if golden.request.get("subseed", -1) == -1 else frozenset())
    lines = [
        line
        for key in wanted
        if key not in skipped
        for line in _apart(key, info.get(key), wanted[key])
    ]
    lines += _apart("keys of info", list(info), list(wanted))
    for key in wanted.keys() - skipped:
        lines += _apart(key, info.get(key), wanted[key])
    echoed = {key: value for key, value in golden.answer["parameters"].items() if not _cut(value)}
    for key, value in echoed.items():
        lines += _apart(f"parameters.{key}", reply["parameters"].get(key), value)
    return lines + _apart("keys", list(reply["parameters"]), list(golden.answer["parameters"]))


def _apart(what: str, got: object, wanted: object) -> list[str]:
    return [] if got == wanted else [f"{what}: {str(got)[:200]!r}, not {str(wanted)[:200]!r}"]


def _cut(value: object) -> bool:
    """Whether the recording only says how long a value was."""
    if isinstance(value, list):
        return any(map(_cut, value))
    return isinstance(value, str) and value.startswith("<") and "chars:" in value[:20]


def _expanded(value: Any, inputs: Path) -> Any:
    if isinstance(value, str) and value.startswith(_INPUT):
        return base64.b64encode((inputs / value.removeprefix(_INPUT)).read_bytes()).decode()
    if isinstance(value, list):
        return [_expanded(each, inputs) for each in value]
    if isinstance(value, dict):
        return {key: _expanded(each, inputs) for key, each in value.items()}
    return value


def _opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data))


def _levels(image: Image.Image) -> NDArray[np.int16]:
    return np.asarray(image.convert("RGBA"), np.int16)


def main() -> None:
    """Print the table of a folder's recordings, feature by feature."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("folder", type=Path)
    parser.add_argument("inputs", type=Path, nargs="?")
    parser.add_argument("--in-flight", type=int, default=1, help="requests at a time (1)")
    asked = parser.parse_args()
    inputs = asked.inputs or asked.folder.parent / "inputs"
    goldens = [read(file, inputs) for file in sorted(asked.folder.glob("*.json"))]
    features: dict[str, list[list[Difference]]] = defaultdict(list)
    wrong: list[str] = []
    with httpx.Client(base_url=asked.url, timeout=600, limits=httpx.Limits()) as client:
        for golden, (apart, lines) in _all_replayed(client, goldens, asked.in_flight):
            features[golden.name.partition("__")[0]].append(apart)
            wrong += [f"{golden.name}: {line}" for line in lines]
    print(*_table(features), *wrong, sep="\n")  # noqa: T201


def _all_replayed(
    client: httpx.Client, goldens: Sequence[Golden], in_flight: int
) -> Iterator[tuple[Golden, tuple[list[Difference], list[str]]]]:
    """What became of each, `in_flight` at a time; by themselves those that change settings."""
    settings = {"samples_format": "png", "jpeg_quality": 80}
    for golden in goldens:
        if golden.changes_settings:
            yield golden, _replayed(client, golden)
            client.post("/sdapi/v1/options", json=settings).raise_for_status()
    rest = [golden for golden in goldens if not golden.changes_settings]
    with ThreadPoolExecutor(in_flight) as pool:
        yield from zip(rest, pool.map(lambda each: _replayed(client, each), rest), strict=True)


def _replayed(client: httpx.Client, golden: Golden) -> tuple[list[Difference], list[str]]:
    response = client.post(golden.path, json=golden.request)
    if response.status_code != golden.status:
        return [], [f"status {response.status_code}, not {golden.status}"]
    try:
        return list(differences(golden, response.json())), told_apart(golden, response.json())
    except AssertionError as error:
        return [], [str(error)]


def _table(features: Mapping[str, list[list[Difference]]]) -> Iterator[str]:
    yield "| feature | cases | largest mean difference | largest difference |"
    yield "|---|---:|---:|---:|"
    for feature, cases in features.items():
        apart = [each for case in cases for each in case]
        mean = max((each.mean for each in apart), default=0.0)
        largest = max((each.largest for each in apart), default=0)
        yield f"| {feature} | {len(cases)} | {mean:.4f} | {largest} |"


if __name__ == "__main__":
    main()
