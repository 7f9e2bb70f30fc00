"""A new textual inversion, to be trained elsewhere: it begins as the words that describe it."""

import contextlib
import io
import secrets
from pathlib import Path

import torch
from torch import Tensor

from ..families.folder import open_folder
from ..families.tokenizer import VOCABULARY_SIZE, ClipTokenizer
from ..families.weights import Weights, open_weights
from ..folders import printable
from .files import BadCreation, NewEmbedding
from .table import ROOM

TOKEN_TABLE = "token_embedding.weight"
#: what training calls the vectors, and the word's id in CLIP's vocabulary
PLACEHOLDER, PLACEHOLDER_ID = "*", 265
#: what trainers call the vectors for each of two text encoders, the first one's first
PAIR = ("clip_l", "clip_g")
MAX_NAME_BYTES = 200
ALLOWED = "._- "


def create_embedding(
    folder: Path, wanted: NewEmbedding, checkpoint: Path, *, allow_pickle: bool
) -> Path:
    """Write NAME.pt into `folder` as webui's training begins one, and give its path.

    For a checkpoint of two text encoders it is as SDXL's trainers have it: webui's own could not be
    used there. The name keeps its letters, digits and `._- `. The vectors are read from the
    checkpoint's file, which need not be loaded. Raises BadCreation, and CheckpointError for the
    checkpoint's file.
    """
    path = folder / f"{_file_name(wanted.name)}.pt"
    if path.exists() and not wanted.overwrite:
        raise BadCreation(f"file {printable(path)} already exists")
    if not 1 <= wanted.count <= ROOM:
        raise BadCreation(f"{wanted.count} vectors for a token: allowed are 1 to {ROOM}")
    with (
        open_folder(checkpoint)
        if checkpoint.is_dir()
        else open_weights(checkpoint, allow_pickle=allow_pickle)
    ) as weights:
        vectors = [_beginning(table, wanted) for table in _token_tables(weights)]
    fields: dict[str, object] = {"name": path.stem, "step": 0}
    fields |= {"sd_checkpoint": None, "sd_checkpoint_name": None}
    if len(vectors) == len(PAIR):
        fields |= zip(PAIR, vectors, strict=True)
    else:
        fields["string_to_token"] = {PLACEHOLDER: PLACEHOLDER_ID}
        fields["string_to_param"] = {PLACEHOLDER: vectors[0]}
    content = io.BytesIO()
    torch.save(fields, content)
    _write(path, content.getvalue(), overwrite=wanted.overwrite)
    return path


def _file_name(name: str) -> str:
    kept = "".join(letter for letter in name if letter.isalnum() or letter in ALLOWED)
    if not kept.strip(ALLOWED):
        raise BadCreation(f"name {name[:80]!r}: allowed are letters, digits and {ALLOWED!r}")
    if len(kept.encode()) > MAX_NAME_BYTES:
        raise BadCreation(f"a name of {len(kept)} letters: at most {MAX_NAME_BYTES} bytes")
    return kept


def _token_tables(weights: Weights) -> list[Tensor]:
    """The vectors [vocabulary,width] that each text encoder has for its tokens."""
    # Sorted, the first encoder comes first, in LDM's layout as in diffusers'.
    names = sorted(name for name in weights.header.tensors if name.endswith(TOKEN_TABLE))
    tables = [weights.read(name) for name in names[: len(PAIR) + 1]]
    known = 1 <= len(tables) <= len(PAIR)
    if not known or any(table.dim() != 2 or len(table) < VOCABULARY_SIZE for table in tables):
        reason = f"{len(names)} tables of tokens; known: one or two, of {VOCABULARY_SIZE} tokens"
        raise BadCreation(f"{printable(weights.path)}: {reason}")
    return tables


def _beginning(table: Tensor, wanted: NewEmbedding) -> Tensor:
    """`count` vectors [count,width]: those of the text's tokens, spread; zeros without a text."""
    ids = ClipTokenizer().encode(wanted.text)[: wanted.count]
    if not ids:
        return torch.zeros(wanted.count, table.shape[1])
    spread = [ids[i * len(ids) // wanted.count] for i in range(wanted.count)]
    # one by one: of the narrowest types of numbers torch gathers none
    return torch.stack([table[token].float() for token in spread])


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
