"""Contact sheets: pictures in rows, each over its prompt."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

from .client import SIZE, Picture

CAPTIONS = (
    "a red circle on a blue background",
    "a yellow star, black background",
    "a white heart on a red background",
    "a small green triangle on a white background",
    "a big purple hexagon on a yellow background",
    "an orange ring at the top, gray background",
    "a cyan diamond on the left, brown background",
    "a pink moon on the right on a black background",
    "蓝色背景上的红色圆形",
    "黄色星形，紫色背景",
    "大白色心形，绿色背景",
    "三个橙色正方形，黑色背景",
    "绿色圆形在红色正方形的左边，白色背景",
    "two blue squares on an orange background",
    "three pink hearts on a white background",
    "four black crosses on a cyan background",
    "a red square to the left of a blue circle on a white background",
    "a green star above an orange ring, black background",
    "a purple triangle below a yellow moon on a gray background",
    "a (red circle:0.6) on a white background",
    "a (red circle:1.4) on a white background",
    "a red house on the grass under a blue sky",
    "a blue house in the snow at night",
    "a yellow house on the sand at sunset",
    "a tree on a green field by day",
    "a tree in the desert at sunset",
    "a white boat on the sea under a blue sky",
    "a red boat on the sea at night",
    "mountains and a green field under a blue sky",
    "mountains and snow at sunset",
    "a yellow smiley face on a blue background",
    "a pink sad face on a green background",
    "a green happy face, orange background",
    "a person with long brown hair and a red shirt on a cyan background",
    "a portrait of a person with short black hair on an orange background",
    "a person with blonde hair and a blue shirt",
    "a person with long red hair on a white background",
    "a circle on a green background",
    "a brown cross",
    "yellow background",
)
"""What the card's sheet shows, a bit of everything that the demo knows."""

_CAPTION_HEIGHT, _FONT_SIZE, _COLOURS = 46, 11, 256
_LINE_LENGTH, _CHINESE_LINE_LENGTH = 21, 10


def contact_sheet(
    shown: Sequence[tuple[str, Picture]], *, columns: int, font: str | None
) -> Image.Image:
    """Pictures over their prompts, in few colours to keep the file small.

    `font` is a TrueType file; the one that Pillow has knows no Chinese.
    """
    height = SIZE + _CAPTION_HEIGHT
    rows = -(-len(shown) // columns)
    sheet = Image.new("RGB", (columns * SIZE, rows * height), "white")
    pencil = ImageDraw.Draw(sheet)
    usual = ImageFont.load_default(_FONT_SIZE)
    letters = ImageFont.truetype(font, _FONT_SIZE) if font else usual
    for place, (prompt, picture) in enumerate(shown):
        row, column = divmod(place, columns)
        corner = (column * SIZE, row * height)
        sheet.paste(Image.fromarray(picture), corner)
        length = _LINE_LENGTH if prompt.isascii() else _CHINESE_LINE_LENGTH
        lines = "\n".join(textwrap.wrap(prompt, length)[:3])
        pencil.text((corner[0] + 3, corner[1] + SIZE + 1), lines, fill="black", font=letters)
    return sheet.quantize(_COLOURS)
