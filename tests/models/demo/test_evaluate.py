"""The tables say what the verdicts are, a guidance and a kind of prompt a row."""

from __future__ import annotations

import numpy as np

from models.demo.evaluate import table
from models.demo.judge import Question, Verdict
from models.demo.sheet import CAPTIONS, contact_sheet
from models.demo.world.single import Subject

SUBJECT = Subject(shape="star", foreground="red", background="blue")
RIGHT = Verdict(foreground=True, background=True, shape=True, count=True)
WRONG = Verdict(foreground=False, background=True, shape=True, count=False)


def test_the_table() -> None:
    asked = [Question(kind=kind, prompt="x", subject=SUBJECT) for kind in ("English", "several")]
    assert list(table(asked, {5.0: [RIGHT, WRONG]}))[2:] == [
        "| 5 | all | 2 | 50.0% | 100.0% | 50.0% | 100.0% | 50.0% |",
        "| 5 | English | 1 | 100.0% | 100.0% | 100.0% | 100.0% | 100.0% |",
        "| 5 | several | 1 | 0.0% | 100.0% | 0.0% | 100.0% | 0.0% |",
    ]


def test_a_sheet_shows_each_picture_in_its_place() -> None:
    pictures = [np.full((128, 128, 3), shade, dtype=np.uint8) for shade in (10, 120, 240)]
    shown = [(CAPTIONS[place], picture) for place, picture in enumerate(pictures)]
    sheet = contact_sheet(shown, columns=2, font=None).convert("L")
    height = sheet.height // 2
    assert sheet.width == 256
    corners = [(64, 64), (192, 64), (64, height + 64), (192, height + 64)]
    assert [sheet.getpixel(corner) for corner in corners] == [10, 120, 240, 255]
    caption = np.asarray(sheet.crop((0, 128, 128, height)))
    assert caption.min() < 100 < caption.mean()
