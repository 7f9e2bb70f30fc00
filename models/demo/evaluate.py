"""Scores the demo through a running server: `python -m models.demo.evaluate --url URL`.

The server is one that was started with `measures.FLAGS`, which name the demo's own files. Pictures
are 128x128, 20 steps, Euler a: the 200 held-out prompts with and without guidance; then `MEASURES`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tqdm import tqdm

from .client import GUIDANCE, Client, Picture
from .judge import KINDS, Question, Score, Verdict, judge, questions
from .measures import MEASURES
from .sheet import CAPTIONS, contact_sheet

UNGUIDED = 1.0
FIRST_SEED = 1000

_AT_ONCE = 8


def paint_all(client: Client, asked: Sequence[Question], guidance: float) -> list[Picture]:
    """One picture a question, with seeds counted from `FIRST_SEED`."""

    def paint(place: int) -> Picture:
        return client.txt2img(asked[place].prompt, FIRST_SEED + place, cfg_scale=guidance)

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        every = pool.map(paint, range(len(asked)))
        return list(tqdm(every, total=len(asked), desc=f"CFG {guidance:g}", unit="picture"))


def table(asked: Sequence[Question], found: Mapping[float, Sequence[Verdict]]) -> Iterator[str]:
    """The scores as lines of a markdown table, a guidance and a kind of prompt a row."""
    yield "| CFG | prompts | pictures | foreground | background | both | shape | count |"
    yield "|---|---|---|---|---|---|---|---|"
    for guidance, verdicts in found.items():
        for name in ("all", *KINDS):
            pairs = zip(asked, verdicts, strict=True)
            chosen = [verdict for question, verdict in pairs if name in ("all", question.kind)]
            if not chosen:
                continue
            one = Score.of(chosen)
            shares = (one.foreground, one.background, one.both, one.shape, one.count)
            cells = " | ".join(f"{share:.1%}" for share in shares)
            yield f"| {guidance:g} | {name} | {one.pictures} | {cells} |"


def measured(client: Client, count: int) -> Iterator[str]:
    """The other features' shares as lines of a markdown table."""
    yield f"| feature | what is asked, {count} times | share |"
    yield "|---|---|---|"
    for name, measure in MEASURES.items():
        for what, share in measure(client, count).items():
            yield f"| {name} | {what} | {share:.1%} |"


def main(arguments: Sequence[str] | None = None) -> None:
    """Reads the command line and writes the tables to the standard output."""
    parser = argparse.ArgumentParser(prog="python -m models.demo.evaluate", description=__doc__)
    parser.add_argument("--url", default="http://127.0.0.1:7860", help="a running server")
    parser.add_argument("--count", type=int, default=200, help="prompts to ask (at most 200)")
    parser.add_argument("--measures", type=int, default=40, help="questions of each measure")
    parser.add_argument("--sheet", type=Path, help="write a contact sheet of the demo here")
    parser.add_argument("--font", help="a TrueType file for the sheet's captions")
    given = parser.parse_args(arguments)

    client = Client(url=given.url)
    if given.sheet:
        shown = [(text, client.txt2img(text, FIRST_SEED)) for text in CAPTIONS]
        contact_sheet(shown, columns=8, font=given.font).save(given.sheet, optimize=True)
    asked = questions()[: given.count]
    found: dict[float, list[Verdict]] = {}
    for guidance in (GUIDANCE, UNGUIDED):
        pictures = paint_all(client, asked, guidance)
        pairs = zip(pictures, asked, strict=True)
        found[guidance] = [judge(picture, one.subject, one.count) for picture, one in pairs]
    sys.stdout.writelines(f"{line}\n" for line in table(asked, found))
    if given.measures:
        sys.stdout.writelines(f"{line}\n" for line in ("", *measured(client, given.measures)))


if __name__ == "__main__":
    main()
