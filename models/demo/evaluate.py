"""Scores the demo on 200 held-out prompts, through a running server or straight from a file.

`python -m models.demo.evaluate --url http://127.0.0.1:7860` (128x128, 20 steps, Euler a), or
`python -m models.demo.evaluate --file CHECKPOINT`, which needs no server.
"""

from __future__ import annotations

import argparse
import base64
import io
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from urllib.request import Request, urlopen

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from tqdm import tqdm

from . import DEMO_CHECKPOINT
from .judge import Question, Score, judge, questions
from .train.captions import CaptionTokens
from .train.paint import painting_from

Picture = NDArray[np.uint8]
Painter = Callable[[Sequence[str], float, Sequence[int]], Sequence[Picture]]
"""Prompts, guidance and seeds to pictures, uint8 [H, W, 3] each."""

SIZE, STEPS, SAMPLER = 128, 20, "Euler a"
GUIDED, UNGUIDED = 5.0, 1.0
FIRST_SEED = 1000

_SHEET_COLUMNS, _SHEET_ROWS, _CAPTION_HEIGHT, _SHEET_COLOURS = 8, 5, 26, 256


class NoPicture(RuntimeError):
    """The server answered without a picture."""


def server_painter(url: str, *, timeout: float = 300.0) -> Painter:
    """Paints through `POST /sdapi/v1/txt2img`; raises `NoPicture` or `urllib`'s own errors."""

    def paint(prompts: Sequence[str], guidance: float, seeds: Sequence[int]) -> list[Picture]:
        return [
            _post(url, prompt, guidance, seed, timeout)
            for prompt, seed in zip(prompts, seeds, strict=True)
        ]

    return paint


def file_painter(path: Path) -> Painter:
    """Paints with the checkpoint's modules, without a server."""
    paint = painting_from(path, CaptionTokens(), steps=STEPS)
    return lambda prompts, guidance, seeds: list(paint(prompts, guidance, seeds))


def paint_all(
    painter: Painter, asked: Sequence[Question], guidance: float, *, batch: int = 10
) -> list[Picture]:
    """One picture a question, with seeds counted from `FIRST_SEED`."""
    pictures: list[Picture] = []
    with tqdm(total=len(asked), desc=f"CFG {guidance:g}", unit="picture") as bar:
        for start in range(0, len(asked), batch):
            part = asked[start : start + batch]
            seeds = [FIRST_SEED + start + place for place in range(len(part))]
            pictures += painter([question.prompt for question in part], guidance, seeds)
            bar.update(len(part))
    return pictures


def score(pictures: Sequence[Picture], asked: Sequence[Question]) -> Score:
    """The shares of right pictures."""
    pairs = zip(pictures, asked, strict=True)
    return Score.of([judge(picture, question.subject) for picture, question in pairs])


def table(scores: Sequence[tuple[float, Score]]) -> Iterator[str]:
    """The scores as lines of a markdown table, one guidance a row."""
    yield "| CFG | prompts | foreground | background | both | shape |"
    yield "|---|---|---|---|---|---|"
    for guidance, one in scores:
        shares = (one.foreground, one.background, one.both, one.shape)
        cells = " | ".join(f"{share:.1%}" for share in shares)
        yield f"| {guidance:g} | {one.count} | {cells} |"


def contact_sheet(pictures: Sequence[Picture], asked: Sequence[Question]) -> Image.Image:
    """The first forty pictures with their prompts, in few colours to keep the file small."""
    height = SIZE + _CAPTION_HEIGHT
    sheet = Image.new("RGB", (_SHEET_COLUMNS * SIZE, _SHEET_ROWS * height), "white")
    pencil = ImageDraw.Draw(sheet)
    shown = zip(pictures[: _SHEET_COLUMNS * _SHEET_ROWS], asked, strict=False)
    for place, (picture, question) in enumerate(shown):
        row, column = divmod(place, _SHEET_COLUMNS)
        corner = (column * SIZE, row * height)
        sheet.paste(Image.fromarray(picture), corner)
        words = question.prompt.split()
        middle = (len(words) + 1) // 2
        caption = f"{' '.join(words[:middle])}\n{' '.join(words[middle:])}"
        pencil.text((corner[0] + 3, corner[1] + SIZE + 1), caption, fill="black", font_size=10)
    return sheet.quantize(_SHEET_COLOURS)


def main(arguments: Sequence[str] | None = None) -> None:
    """Reads the command line and writes the table to the standard output."""
    parser = argparse.ArgumentParser(prog="python -m models.demo.evaluate", description=__doc__)
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--url", help="a running server")
    source.add_argument("--file", type=Path, default=DEMO_CHECKPOINT, help="a checkpoint")
    parser.add_argument("--count", type=int, default=200, help="prompts to ask (at most 200)")
    parser.add_argument("--sheet", type=Path, help="write a contact sheet of the guided ones here")
    parser.add_argument("--threads", type=int, default=1, help="torch threads with --file")
    given = parser.parse_args(arguments)
    torch.set_num_threads(given.threads)

    painter = server_painter(given.url) if given.url else file_painter(given.file)
    asked = questions()[: given.count]
    guided = paint_all(painter, asked, GUIDED)
    if given.sheet:
        contact_sheet(guided, asked).save(given.sheet, optimize=True)
    unguided = paint_all(painter, asked, UNGUIDED)
    lines = table([(GUIDED, score(guided, asked)), (UNGUIDED, score(unguided, asked))])
    sys.stdout.writelines(f"{line}\n" for line in lines)


def _post(url: str, prompt: str, guidance: float, seed: int, timeout: float) -> Picture:
    body = {
        "prompt": prompt,
        "seed": seed,
        "steps": STEPS,
        "width": SIZE,
        "height": SIZE,
        "cfg_scale": guidance,
        "sampler_name": SAMPLER,
    }
    request = Request(
        f"{url.rstrip('/')}/sdapi/v1/txt2img",
        data=json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urlopen(request, timeout=timeout) as answer:
        images = json.load(answer).get("images")
    if not images:
        raise NoPicture(f"{request.full_url} gave no image for {prompt!r}")
    with Image.open(io.BytesIO(base64.b64decode(images[0]))) as image:
        return np.asarray(image.convert("RGB"))


if __name__ == "__main__":
    main()
