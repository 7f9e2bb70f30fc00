"""Textual inversions that are torch pickles, read without running what is in them.

They are common and may come from anywhere, so they are read without a flag that allows pickles:
torch's restricted unpickler makes tensors and plain values alone. What it does not bound is done
here: a pickle of few bytes can ask for little.
"""

import io
import pickle
import pickletools
import zipfile
from collections.abc import Mapping
from types import MappingProxyType

import torch

from ..families.weights import DAMAGE

# Without its tensors' bytes an embedding's pickle is 1 KB long.
MAX_PICKLE_BYTES = 16 << 10
ZIP_START = b"PK\x03\x04"
# torch's format before 1.6: magic number, version, machine, the object, and the storages' keys.
OLD_PICKLES = 5


class BadPickle(Exception):
    """The bytes are no pickle that is read here; the message says why in one line."""


class ParameterTable:
    """Stands in for torch's ParameterDict, in which older trainers kept the vectors.

    Holds the pickled state and does nothing with it.
    """

    parameters: Mapping[object, object] = MappingProxyType({})

    def __setstate__(self, state: object) -> None:
        held = state.get("_parameters") if isinstance(state, dict) else None
        if isinstance(held, dict):
            self.parameters = held


KNOWN_CLASSES = ((ParameterTable, "torch.nn.modules.container.ParameterDict"),)


def unpickle(content: bytes, longest: int = MAX_PICKLE_BYTES) -> object:
    """Read what torch.save wrote, tensors on the CPU. Raises BadPickle.

    A ParameterDict becomes a `ParameterTable`; everything else but tensors, storages and plain
    values is refused, and so are pickles of more than `longest` bytes beside those of tensors.
    """
    try:
        if content.startswith(ZIP_START):
            _check_archive(content, longest)
        else:
            _check_old(content, longest)
        with torch.serialization.safe_globals(list(KNOWN_CLASSES)):
            loaded: object = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise BadPickle("the pickle holds more than tensors, or is damaged") from error
    except (*DAMAGE, MemoryError, zipfile.BadZipFile) as error:
        raise BadPickle(f"cannot be unpickled ({type(error).__name__})") from error
    return loaded


def _check_archive(content: bytes, longest: int) -> None:
    """Refuse what would unpack to more than is there; torch itself stores without compression."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        entries = archive.infolist()
    if sum(entry.file_size for entry in entries) > len(content):
        raise BadPickle("the archive is compressed, as torch's never are")
    if any(e.file_size > longest for e in entries if e.filename.endswith("data.pkl")):
        raise BadPickle(f"the pickle is longer than {longest} bytes")


def _check_old(content: bytes, longest: int) -> None:
    stream = io.BytesIO(content)
    for _ in range(OLD_PICKLES):
        for _ in pickletools.genops(stream):
            if stream.tell() > longest:
                raise BadPickle(f"the pickle is longer than {longest} bytes")
