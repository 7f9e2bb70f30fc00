"""Torch pickles are read without running what is in them, and ask for little."""

import io
import os
import pickle
import random
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

from models.embeddings.pickles import MAX_PICKLE_BYTES, BadPickle, ParameterTable, unpickle

from .made import TINY, VECTORS, pickled, trained

FORMATS = [True, False]


class Calls:
    """Pickles as a call of any function."""

    def __init__(self, function: Any, *arguments: object) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


def read(content: object, *, archive: bool = True) -> Any:
    return unpickle(pickled(content, archive=archive))


@pytest.mark.parametrize("archive", FORMATS)
def test_tables_of_tensors_and_plain_values_are_read(archive: bool) -> None:
    found = read(trained(name="n", step=7), archive=archive)
    assert torch.equal(found["string_to_param"]["*"], VECTORS)
    assert (found["name"], found["step"]) == ("n", 7)
    found = read({"<cat>": torch.nn.Parameter(VECTORS.half())}, archive=archive)
    assert torch.equal(found["<cat>"], VECTORS.half())


def test_the_reference_s_old_pickle_is_read() -> None:
    found: Any = unpickle((TINY / "tinypt.pt").read_bytes())
    assert found["string_to_param"]["*"].shape == (2, 16)
    assert found["step"] == 500


def test_a_parameter_dict_gives_its_parameters() -> None:
    table = torch.nn.ParameterDict({"*": torch.nn.Parameter(VECTORS)})
    found = read({"string_to_token": {"*": torch.tensor(265)}, "string_to_param": table})
    held = found["string_to_param"]
    assert type(held) is ParameterTable
    assert list(held.parameters) == ["*"]
    vectors = held.parameters["*"]
    assert isinstance(vectors, torch.nn.Parameter)
    assert torch.equal(vectors, VECTORS)


def test_nothing_stays_registered_with_torch() -> None:
    before = set(torch.serialization.get_safe_globals())
    read(trained())
    assert set(torch.serialization.get_safe_globals()) == before


@pytest.mark.parametrize("ending", [b"", b"Nb", b"}b", b"]b", b"}X\x0b\0\0\0_parametersK\x01sb"])
def test_a_parameter_dict_without_parameters_is_empty(ending: bytes) -> None:
    made = b"\x80\x02ctorch.nn.modules.container\nParameterDict\n)\x81" + ending + b"."
    stream = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(pickled({}))) as sound,
        zipfile.ZipFile(stream, "w") as changed,
    ):
        for entry in sound.infolist():
            is_pickle = entry.filename.endswith("data.pkl")
            changed.writestr(entry.filename, made if is_pickle else sound.read(entry))
    held: Any = unpickle(stream.getvalue())
    assert type(held) is ParameterTable
    assert dict(held.parameters) == {}


@pytest.mark.parametrize("archive", FORMATS)
@pytest.mark.parametrize("nested", [False, True])
def test_code_is_refused_and_not_run(tmp_path: Path, archive: bool, nested: bool) -> None:
    made = tmp_path / "made"
    call = Calls(os.mkdir, str(made))
    with pytest.raises(BadPickle, match="more than tensors"):
        read({"a": call} if nested else call, archive=archive)
    assert not made.exists()


def test_a_plain_pickle_with_code_is_refused(tmp_path: Path) -> None:
    made = tmp_path / "made"
    with pytest.raises(BadPickle):
        unpickle(pickle.dumps(Calls(os.mkdir, str(made)), 2))
    assert not made.exists()


@pytest.mark.parametrize("archive", FORMATS)
def test_a_call_for_all_memory_is_refused(archive: bool) -> None:
    with pytest.raises(BadPickle, match="MemoryError"):
        read(Calls(bytearray, 2**62), archive=archive)


@pytest.mark.parametrize("archive", FORMATS)
def test_a_long_pickle_is_refused_at_once(archive: bool) -> None:
    content = pickled([1] * 2_000_000, archive=archive)
    start = time.thread_time()
    with pytest.raises(BadPickle, match=f"longer than {MAX_PICKLE_BYTES} bytes"):
        unpickle(content)
    assert time.thread_time() - start < 1


def test_a_compressed_archive_is_refused() -> None:
    stream = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(pickled(trained(torch.zeros(75, 2048))))) as stored,
        zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as compressed,
    ):
        for entry in stored.infolist():
            compressed.writestr(entry.filename, stored.read(entry))
    with pytest.raises(BadPickle, match="compressed"):
        unpickle(stream.getvalue())


@pytest.mark.parametrize("archive", FORMATS)
def test_damage_is_refused(archive: bool) -> None:
    content = pickled(trained(), archive=archive)
    for length in range(0, len(content) - 1, 7):
        with pytest.raises(BadPickle):
            unpickle(content[:length])
    noise = random.Random(1).randbytes(1000)
    for garbage in (b"\0" * 100, b"\x80\x02.", b"PK\x03\x04" + b"\0" * 100, noise):
        with pytest.raises(BadPickle):
            unpickle(garbage)
