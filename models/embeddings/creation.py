"""A new textual inversion, to be trained elsewhere: it begins as the words that describe it."""

import contextlib
import io
import secrets
from pathlib import Path

import torch
from torch import Tensor

from ..families.tokenizer import ClipTokenizer
from ..families.weights import Weights, open_weights
from ..folders import printable
from .files import BadCreation, NewEmbedding
from .table import ROOM

TOKEN_TABLE = "token_embedding.weight"
#: what training calls the vectors, and the word's id in CLIP's vocabulary
PLACEHOLDER, PLACEHOLDER_ID = "*", 265
MAX_NAME_BYTES = 200
ALLOWED = "._- "


def create_embedding(
    folder: Path, wanted: NewEmbedding, checkpoint: Path, *, allow_pickle: bool
) -> Path:
    """Write NAME.pt into `folder` as webui's training begins one, and give its path.

    The name keeps its letters, digits and `._- `. The vectors are read from the checkpoint's file,
    which need not be loaded. Raises BadCreation, and CheckpointError for the checkpoint's file.
    """
    path = folder / f"{_file_name(wanted.name)}.pt"
    if path.exists() and not wanted.overwrite:
        raise BadCreation(f"file {printable(path)} already exists")
    if not 1 <= wanted.count <= ROOM:
        raise BadCreation(f"{wanted.count} vectors for a token: allowed are 1 to {ROOM}")
    with open_weights(checkpoint, allow_pickle=allow_pickle) as weights:
        vectors = _beginning(_token_table(weights), wanted)
    content = io.BytesIO()
    torch.save(
        {
            "string_to_token": {PLACEHOLDER: PLACEHOLDER_ID},
            "string_to_param": {PLACEHOLDER: vectors},
            "name": path.stem,
            "step": 0,
            "sd_checkpoint": None,
            "sd_checkpoint_name": None,
        },
        content,
    )
    _write(path, content.getvalue(), overwrite=wanted.overwrite)
    return path


def _file_name(name: str) -> str:
    kept = "".join(letter for letter in name if letter.isalnum() or letter in ALLOWED)
    if not kept.strip(ALLOWED):
        raise BadCreation(f"name {name[:80]!r}: allowed are letters, digits and {ALLOWED!r}")
    if len(kept.encode()) > MAX_NAME_BYTES:
        raise BadCreation(f"a name of {len(kept)} letters: at most {MAX_NAME_BYTES} bytes")
    return kept


def _token_table(weights: Weights) -> Tensor:
    """The vectors [vocabulary,width] that the text encoder has for its tokens."""
    tables = [name for name in weights.header.tensors if name.endswith(TOKEN_TABLE)]
    if len(tables) != 1:
        reason = f"a checkpoint of {len(tables)} text encoders; known: one"
        raise BadCreation(f"{printable(weights.path)}: {reason}")
    return weights.read(tables[0])


def _beginning(table: Tensor, wanted: NewEmbedding) -> Tensor:
    """`count` vectors [count,width]: those of the text's tokens, spread; zeros without a text."""
    ids = ClipTokenizer().encode(wanted.text)[: wanted.count]
    if not ids:
        return torch.zeros(wanted.count, table.shape[1])
    spread = [ids[i * len(ids) // wanted.count] for i in range(wanted.count)]
    return table[torch.tensor(spread)].float()


def _write(path: Path, content: bytes, *, overwrite: bool) -> None:
    """The whole file or none of it; a name that somebody else took meanwhile stays theirs."""
    temporary = path.with_name(f".{secrets.token_hex(8)}.tmp")
    leftovers = [temporary]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not overwrite:
            # claims the name: an empty file is no embedding yet
            path.touch(exist_ok=False)
            leftovers.append(path)
        temporary.write_bytes(content)
        temporary.replace(path)
    except FileExistsError:
        raise BadCreation(f"file {printable(path)} already exists") from None
    except OSError as error:
        for leftover in leftovers:
            with contextlib.suppress(OSError):
                leftover.unlink()
        raise BadCreation(f"{printable(path)} cannot be written ({error.strerror})") from error
