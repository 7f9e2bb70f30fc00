"""CLIP's byte-pair tokenizer, from the vocabulary shipped in `clip_tokenizer/`."""

from pathlib import Path

from tokenizers import Tokenizer

VOCABULARY = Path(__file__).parent / "clip_tokenizer" / "tokenizer.json"
VOCABULARY_SIZE = 49408


class ClipTokenizer:
    """Text to token ids, as OpenAI's CLIP was trained with; safe to share between threads."""

    def __init__(self, vocabulary: Path = VOCABULARY) -> None:
        self._tokenizer = Tokenizer.from_file(str(vocabulary))
        self.bos = self._id("<|startoftext|>")
        self.eos = self._id("<|endoftext|>")
        self.comma = self._id(",</w>")

    def __len__(self) -> int:
        return int(self._tokenizer.get_vocab_size())

    def encode(self, text: str) -> list[int]:
        """Give a text's ids, without start and end tokens, at any length."""
        return list(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def _id(self, token: str) -> int:
        found = self._tokenizer.token_to_id(token)
        if found is None:
            raise ValueError(f"the vocabulary lacks {token!r}")
        return int(found)
