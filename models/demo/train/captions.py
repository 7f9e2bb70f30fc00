"""Captions as CLIP token rows, framed exactly as the server frames a prompt."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import Tensor

from .networks import VOCABULARY

SHIPPED_TOKENIZER = Path(__file__).parents[2] / "families" / "clip_tokenizer" / "tokenizer.json"


class CaptionTokens:
    """Turns captions into int64 rows [N, 77]: BOS, the words, EOS to the end."""

    def __init__(self, path: Path = SHIPPED_TOKENIZER) -> None:
        self._tokenizer = Tokenizer.from_file(str(path))
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()

    def __call__(self, captions: Sequence[str]) -> Tensor:
        encodings = self._tokenizer.encode_batch(list(captions), add_special_tokens=False)
        return torch.tensor([_framed(encoding.ids) for encoding in encodings])


def _framed(ids: list[int]) -> list[int]:
    body = ids[: VOCABULARY.length - 2]
    padding = VOCABULARY.length - 1 - len(body)
    return [VOCABULARY.bos, *body, *[VOCABULARY.eos] * padding]
