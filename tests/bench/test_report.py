"""The harness itself, as far as it measures nothing: numbers, tables, command lines, requests."""

import argparse
import base64
import io
import json
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from tests.bench import __main__ as command
from tests.bench import clients
from tests.bench.bare import painted
from tests.bench.clients import OURS, Arm, Turn
from tests.bench.painting import LEAST_STEPS, MOST_STEPS, SAMPLERS, Crowd, Painted, mixed, paint
from tests.bench.report import Report, Row, Table, occasion, percentile, ratios, told
from tests.bench.servers import T2I, TINY, Bench, Site
from tests.bench.startup import steps_for
from tests.bench.tax import ALIKE_LEVELS, Work, works
from tests.models.families.variants import reference

NAMES = (*command.TABLES, command.ALL)


@dataclass(frozen=True, slots=True)
class Listening(Site):
    """A server that paints only as many pictures at once as it is said to."""

    together: int = 1
    asked: list[Any] = field(default_factory=list)
    at_once: list[int] = field(default_factory=list)
    turn: threading.Condition = field(default_factory=threading.Condition)

    def post(self, path: str, body: Mapping[str, Any]) -> bytes:
        with self.turn:
            self.asked.append(body["seed"])
            self.at_once.append(1 + sum(self.at_once[-1:]))
            # so many have come since the beginning as fill whole rounds
            rounds = -(-len(self.asked) // self.together) * self.together
            self.turn.notify_all()
            assert self.turn.wait_for(lambda: len(self.asked) >= rounds, 60)
            self.at_once.append(self.at_once[-1] - 1)
        return b"{}"


def report() -> Report:
    rows = (
        Row(cells=("a", told((1.0, 3.0, 2.0))), measured={"s": (1.0, 3.0, 2.0)}),
        Row(cells=("b", told(())), measured={"s": ()}),
    )
    table = Table(title="Turns", columns=("", "s"), rows=rows, notes=("As they are.",))
    flags = {"quick": True, "counts": (1, 16), "against": "--batching off"}
    when = occasion(flags, device="cpu", threads=2)
    return Report(name="tax", occasion=when, tables=(table,))


def test_ratios_are_taken_pair_by_pair() -> None:
    assert ratios((2, 9), (1, 3)) == (2.0, 3.0)
    with pytest.raises(ValueError, match="zip"):
        ratios((1, 2), (1,))


def test_medians_are_told_with_their_least_and_most() -> None:
    assert told((3.0, 1.0, 2.0)) == "2.00 (1.00 to 3.00)"
    assert told((1.5,), 1) == "1.5"
    assert told(()) == "-"


@pytest.mark.parametrize(
    ("share", "expected"), [(0.0, 1), (0.5, 50), (0.95, 95), (0.99, 99), (1.0, 100)]
)
def test_a_percentile_is_the_least_that_so_many_do_not_exceed(share: float, expected: int) -> None:
    assert percentile(range(100, 0, -1), share) == expected
    assert percentile([7.0], share) == 7.0


def test_a_report_in_markdown() -> None:
    text = report().markdown()
    table = "|  | s |\n| --- | --- |\n| a | 2.00 (1.00 to 3.00) |\n| b | - |\n\nAs they are.\n"
    assert text.endswith(f"\n\n## Turns\n\n{table}")
    assert "`python -m tests.bench tax --quick --counts 1,16 --against '--batching off'`" in text
    assert "threads: 2" in text
    assert "gpu" not in text


def test_a_report_in_json_has_every_measurement_and_comes_back(tmp_path: Path) -> None:
    made = report()
    made.write(tmp_path / "new")
    assert (tmp_path / "new" / "tax.md").read_text("utf-8") == made.markdown()
    text = (tmp_path / "new" / "tax.json").read_text("utf-8")
    assert Report.read(text) == made
    rows = json.loads(text)["tables"][0]["rows"]
    assert [each["measured"] for each in rows] == [{"s": [1.0, 3.0, 2.0]}, {"s": []}]
    assert [each["medians"] for each in rows] == [{"s": 2.0}, {}]
    assert {"date", "commit", "flags", "machine"} == set(json.loads(text)["occasion"])


@pytest.mark.parametrize("name", NAMES)
def test_every_table_is_asked_for_by_its_name(name: str) -> None:
    parser = command.parser_for(command.wanted([name]))
    words = [name, "--quick", "--pairs", "3", "--device", "cuda", "--full-size", "--side", "64"]
    asked = parser.parse_args(words)
    assert (asked.table, asked.quick, asked.pairs, asked.device) == (name, True, 3, "cuda")


def test_a_table_has_options_of_its_own() -> None:
    parser = command.parser_for(["clients"])
    account = "http://me:word@host:1"
    asked = parser.parse_args(["clients", "--counts", "1,16", "--url", account])
    assert asked.counts == (1, 16)
    assert asked.against == clients.UNBATCHED
    flags = command.flags_of(asked)
    assert flags["url"] == "host:1"
    assert "word" not in str(flags)
    with pytest.raises(SystemExit):
        command.parser_for([]).parse_args([])


def test_a_table_that_is_not_there_yet_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "TABLES", {"tax": ("no_such_module", "")})
    assert command.main(["tax"]) == 1
    assert "tests/bench/no_such_module.py" in capsys.readouterr().err


def test_a_table_is_printed_and_written(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    class Measured:
        def add_options(self, parser: argparse.ArgumentParser) -> None:
            parser.add_argument("--more", type=int)

        def measure(self, bench: Bench, asked: argparse.Namespace) -> tuple[Table, ...]:
            assert bench.folder.is_dir()
            row = Row(cells=(f"{asked.more}", f"{bench.threads}"))
            return (Table(title="Made", columns=("more", "threads"), rows=(row,)),)

    monkeypatch.setattr(command, "module", lambda name: Measured())
    out = tmp_path / "out"
    assert command.main(["tax", "--more", "5", "--threads", "2", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "| 5 | 2 |" in printed
    assert (out / "tax.md").read_text("utf-8") in printed
    assert {path.name for path in out.iterdir()} == {"tax.md", "tax.json"}


def test_mixed_requests_differ_and_are_the_same_again() -> None:
    bodies = mixed(34, 64)
    assert bodies == mixed(34, 64)
    assert {body["sampler_name"] for body in bodies} == set(SAMPLERS)
    assert {body["steps"] for body in bodies} == set(range(LEAST_STEPS, MOST_STEPS + 1))
    assert len({body["seed"] for body in bodies}) == 34
    assert {body["steps"] for body in mixed(3, 64, 2)} == {2}


def test_so_many_clients_ask_at_once_and_each_picture_is_asked_for_once() -> None:
    site = Listening("", together=3)
    got = paint(site, mixed(9, 64), 3)
    assert sorted(site.asked) == [body["seed"] for body in mixed(9, 64)]
    assert max(site.at_once) == 3
    assert len(got.each) == 9
    assert 0 < max(got.each) <= got.seconds
    assert got.rate == 9 / got.seconds


def test_a_crowd_asks_until_it_is_left() -> None:
    site = Listening("")
    with Crowd(site, mixed(4, 64), 2):
        while len(site.asked) < 6:
            time.sleep(0.001)
    count = len(site.asked)
    assert max(site.at_once) <= 2
    with Crowd(site, mixed(4, 64), 0):
        pass
    assert len(site.asked) == count


def test_a_row_of_clients_has_a_cell_for_each_column() -> None:
    arms = {OURS: Arm(Site(""), 1), "off": Arm(Site(""), 2), "host:1": Arm(Site(""))}
    fast, slow = Painted(seconds=1.0, each=(0.5, 0.5)), Painted(seconds=4.0, each=(2.0, 2.0))
    taken = {
        OURS: [Turn(fast, 1.0), Turn(fast, 1.0)],
        "off": [Turn(slow, 2.0), Turn(slow, 3.0)],
        "host:1": [Turn(slow, None), Turn(fast, None)],
    }
    row = clients.row(2, taken)
    shown = dict(zip(clients.columns(arms), row.cells, strict=True))
    assert shown["clients"] == "2"
    assert shown["ours / off"] == "4.00 (4.00 to 4.00)"
    assert shown["the same by CPU time"] == "2.50 (2.00 to 3.00)"
    assert shown["ours / host:1"] == "2.50 (1.00 to 4.00)"
    assert row.measured["off: waits, s"] == (2.0,) * 4


def test_an_account_in_an_address_is_sent_as_such() -> None:
    request = Site("http://me:w%3Ard@host:1/sub/").request(T2I, b"{}")
    assert request.full_url == f"http://host:1/sub{T2I}"
    assert request.get_method() == "POST"
    word = base64.b64encode(b"me:w:rd").decode()
    assert request.get_header("Authorization") == f"Basic {word}"
    plain = Site("https://host").request("/internal/ping", None)
    assert (plain.full_url, plain.get_method()) == ("https://host/internal/ping", "GET")
    assert plain.get_header("Authorization") is None


def test_which_pictures_are_taxed(tmp_path: Path) -> None:
    tiny = Bench(folder=tmp_path)
    assert tiny.model() == TINY
    assert [work.side for work in works(tiny, None)] == [64, 256]
    (quick,) = works(Bench(folder=tmp_path, full_size=True, quick=True), None)
    assert (quick.side, quick.steps, quick.pairs) == (512, 2, 2)
    (own,) = works(Bench(folder=tmp_path, side=128, steps=9, pairs=1), 6)
    assert own == Work(side=128, steps=9, pairs=1, pictures=6)


def test_a_job_is_made_to_last() -> None:
    assert steps_for(lambda steps: 0.5 + 0.1 * steps, 10.0) == 100
    assert steps_for(lambda steps: 5.0, 0.0) == 2


def test_the_bare_loop_paints_what_the_server_does(client: TestClient) -> None:
    (body,) = Work(side=64, steps=3, pictures=1, pairs=1).bodies()
    answer = client.post(T2I, json=dict(body)).raise_for_status().json()
    with Image.open(io.BytesIO(base64.b64decode(answer["images"][0]))) as image:
        served = np.asarray(image, np.int16)
    alone = painted(reference("tiny-sd15"), body)
    assert served.std() > 5
    assert np.abs(served - alone).max() <= ALIKE_LEVELS
