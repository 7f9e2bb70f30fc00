"""A file of a textual inversion becomes its vectors."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..errors import CheckpointError
from ..families.weights import FLOATS, open_weights
from ..folders import is_text
from ..hashing import sha256
from .files import PICKLES, SAFETENSORS, EmbeddingFile
from .pickles import BadPickle, ParameterTable, unpickle
from .pictures import BadPicture, read_hidden
from .table import Embedding

# 75 vectors of SDXL's 2048 numbers are 0.6 MB; pictures that hide vectors are larger.
MAX_BYTES = 8 << 20
MAX_PICTURE_BYTES = 32 << 20
MAX_STEP = 2**53
MAX_TEXT = 1000
SHORT_HASH_DIGITS = 12


class BadEmbedding(Exception):
    """A file that holds no embedding that can be used; the message says why in one line."""


@dataclass(frozen=True, slots=True)
class _Content:
    """A file's fields; `named` where its own word for the name goes before the file's."""

    fields: Mapping[str, object]
    named: bool = False


def read_embedding(file: EmbeddingFile, *, hashing: bool) -> Embedding | None:
    """Read a file, its vectors in float32 on the CPU; None for a picture that hides none.

    Pickles make tensors and plain values alone (see `pickles`). Raises BadEmbedding.
    """
    if not is_text(file.path):
        raise BadEmbedding("its name is not UTF-8")
    try:
        content = _content(file)
        if content is None:
            return None
        digest = sha256(file.path)[:SHORT_HASH_DIGITS] if hashing else None
        tensors = tuple(_vectors(each, file.size) for each in _terms(content.fields))
    except OSError as error:
        raise BadEmbedding(f"cannot be read ({error.strerror})") from error
    except CheckpointError as error:
        raise BadEmbedding(error.reason) from error
    except (BadPickle, BadPicture) as error:
        raise BadEmbedding(str(error)) from error
    if len({len(tensor) for tensor in tensors}) != 1:
        raise BadEmbedding("not as many vectors for each text encoder")
    inner = _text(content.fields.get("name")) if content.named else None
    return Embedding(
        name=inner or file.path.stem,
        path=file.path,
        tensors=tensors,
        short_hash=digest,
        step=_step(content.fields.get("step")),
        sd_checkpoint=_text(content.fields.get("sd_checkpoint")),
        sd_checkpoint_name=_text(content.fields.get("sd_checkpoint_name")),
    )


def _content(file: EmbeddingFile) -> _Content | None:
    suffix = file.path.suffix.lower()
    weights = suffix == SAFETENSORS or suffix in PICKLES
    limit = MAX_BYTES if weights else MAX_PICTURE_BYTES
    if file.size > limit:
        raise BadEmbedding(f"{file.size} bytes; at most {limit} are read")
    if suffix == SAFETENSORS:
        return _Content(_safetensors(file))
    with file.path.open("rb") as opened:
        content = opened.read(limit)
    if not weights:
        hidden = read_hidden(content)
        return None if hidden is None else _Content(hidden, named=True)
    fields = unpickle(content)
    if not isinstance(fields, dict):
        raise BadEmbedding("the pickle holds no table")
    return _Content(fields)


def _safetensors(file: EmbeddingFile) -> dict[str, object]:
    with open_weights(file.path, allow_pickle=False) as weights:
        for name, entry in weights.header.tensors.items():
            if entry.dtype not in FLOATS:
                raise BadEmbedding(f"tensor {name!r} is {entry.dtype}; read: {', '.join(FLOATS)}")
        return {name: weights.read(name) for name in weights.header.tensors}


def _terms(fields: Mapping[str, object]) -> tuple[object, ...]:
    """The tensors among a file's fields, one for each text encoder."""
    if "string_to_param" in fields:
        table = fields["string_to_param"]
        table = table.parameters if isinstance(table, ParameterTable) else table
        terms = tuple(table.values()) if isinstance(table, Mapping) else ()
    elif "clip_l" in fields and "clip_g" in fields:
        return fields["clip_l"], fields["clip_g"]
    else:
        terms = tuple(value for value in fields.values() if isinstance(value, Tensor))
    if len(terms) != 1:
        raise BadEmbedding(f"{len(terms)} terms instead of one: not an embedding")
    return terms


def _vectors(term: object, file_size: int) -> Tensor:
    if not isinstance(term, Tensor) or not _is_plain(term):
        raise BadEmbedding("what should be vectors is no tensor of numbers")
    if not term.is_floating_point():
        raise BadEmbedding(f"vectors of {term.dtype}, not of floating-point numbers")
    if term.dim() not in (1, 2) or not term.numel():
        raise BadEmbedding(f"vectors of shape {tuple(term.shape)}; known: [vectors, width]")
    if term.numel() > file_size:
        # a view can repeat few stored numbers without end
        raise BadEmbedding(f"vectors of shape {tuple(term.shape)} in {file_size} bytes")
    # copied, so that the file's other bytes are not kept with it
    vectors = torch.empty(term.shape, dtype=torch.float32).copy_(term.detach())
    if not bool(torch.isfinite(vectors).all()):
        raise BadEmbedding("some of its numbers are infinite or not numbers")
    return vectors.reshape(-1, vectors.shape[-1])


def _is_plain(tensor: Tensor) -> bool:
    """Whether the tensor is numbers in memory, none of torch's special kinds."""
    ordinary = type(tensor) in (Tensor, nn.Parameter) and not tensor.is_nested
    return ordinary and tensor.layout is torch.strided and tensor.device.type == "cpu"


def _text(value: object) -> str | None:
    """A trainer's word, where it is text that JSON can carry."""
    if not isinstance(value, str) or not value or len(value) > MAX_TEXT:
        return None
    return value if value.encode("utf-8", "replace").decode() == value else None


def _step(value: object) -> int | None:
    return value if type(value) is int and 0 <= value < MAX_STEP else None
