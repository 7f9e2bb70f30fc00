"""BERT's word pieces, as a captioning model names them; torch-free."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import decoders

from ..errors import CorruptCheckpoint
from .files import read_json, read_text

#: tokens that are no words: BERT's own, and those that BLIP adds
SPECIAL = frozenset({"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[DEC]", "[ENC]"})


@dataclass(frozen=True, slots=True, kw_only=True)
class WordPieces:
    """Tokens by their ids, and which of them are no words."""

    path: Path
    tokens: Mapping[int, str]
    special: frozenset[str] = SPECIAL

    def ids(self, words: Sequence[str]) -> list[int]:
        """The ids of whole words. Raises CorruptCheckpoint for one that is not there."""
        known = {token: number for number, token in self.tokens.items()}
        for word in words:
            if word not in known:
                raise CorruptCheckpoint(self.path, f"the vocabulary lacks {word!r}")
        return [known[word] for word in words]

    def text(self, ids: Iterable[int]) -> str:
        """What the ids say; those without a word say nothing."""
        found = (self.tokens.get(number) for number in ids)
        words = [token for token in found if token is not None and token not in self.special]
        return str(decoders.WordPiece(prefix="##", cleanup=True).decode(words))


def read_vocabulary(path: Path) -> WordPieces:
    """The word pieces of a `tokenizer.json`, or of a `vocab.txt` with one a line.

    Raises CorruptCheckpoint.
    """
    if path.suffix == ".json":
        return _of_tokenizer(path)
    # not `splitlines`: some tokens are what that takes for the end of a line
    lines = [line.removesuffix("\r") for line in read_text(path).split("\n")]
    if not any(lines):
        raise CorruptCheckpoint(path, "the vocabulary is empty")
    return WordPieces(path=path, tokens=dict(enumerate(lines)))


def _of_tokenizer(path: Path) -> WordPieces:
    # Read by hand: the library's reader raises bare Exceptions over a damaged file.
    content = read_json(path)
    model, added = content.get("model"), content.get("added_tokens") or []
    vocabulary = model.get("vocab") if isinstance(model, dict) else None
    if not isinstance(vocabulary, dict) or not isinstance(added, list):
        raise CorruptCheckpoint(path, "not a tokenizer of word pieces: it has no table of them")
    tokens: dict[int, str] = {}
    special = set(SPECIAL)
    for token, number in vocabulary.items():
        if type(number) is not int:
            raise CorruptCheckpoint(path, f"the id of {token[:40]!r} is no whole number")
        tokens[number] = token
    for each in added:
        number, token = _added(path, each)
        tokens[number] = token
        if each.get("special"):
            special.add(token)
    return WordPieces(path=path, tokens=tokens, special=frozenset(special))


def _added(path: Path, entry: Any) -> tuple[int, str]:
    match entry:
        case {"id": int(number), "content": str(token)}:
            return number, token
    raise CorruptCheckpoint(path, "an added token without an id and a content")
