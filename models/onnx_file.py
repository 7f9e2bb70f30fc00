"""What an ONNX file says of itself, read without its weights; torch-free.

A model is a protobuf message of nested messages (https://github.com/onnx/onnx, `onnx.proto`; the
wire format at https://protobuf.dev/programming-guides/encoding). Parsing it with the onnx package
takes the time and twice the memory of reading all of it; here the weights are jumped over.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import BinaryIO

from .errors import CheckpointNotFound, CorruptCheckpoint
from .folders import Stamp

#: by message, the fields that lead to tensors, and to which message each leads
_WAYS: Mapping[str, Mapping[int, str]] = MappingProxyType(
    {
        "model": {7: "graph", 20: "training", 25: "function"},
        "training": {1: "graph", 2: "graph"},
        "graph": {1: "node", 5: "tensor", 11: "value", 12: "value", 15: "sparse"},
        "function": {7: "node", 11: "attribute"},
        "node": {5: "attribute"},
        "attribute": {
            **{5: "tensor", 6: "graph", 10: "tensor", 11: "graph"},
            **{22: "sparse", 23: "sparse"},
        },
        "sparse": {1: "tensor", 2: "tensor"},
        # of an input or output, down to the sizes of its dimensions
        "value": {2: "type"},
        "type": {1: "array"},
        "array": {2: "shape"},
        "shape": {1: "dimension"},
    }
)
_INPUT, _OUTPUT = 11, 12
_NAME, _DIMENSION_SIZE, _DIMENSION_NAME = 1, 1, 2
#: of a tensor: where its data lies, and entries that say so
_EXTERNAL_ENTRY, _DATA_LOCATION, _EXTERNAL = 13, 14, 1
_VARINT, _EIGHT_BYTES, _BYTES, _FOUR_BYTES = 0, 1, 2, 5
_FIXED: Mapping[int, int] = MappingProxyType({_EIGHT_BYTES: 8, _FOUR_BYTES: 4})
#: a network of thousands of nodes has some hundred thousand fields
_MOST_FIELDS = 5_000_000
#: a loop in a branch in a loop is 3 graphs, of 3 messages each
_DEEPEST = 60
_LONGEST_VARINT = 10
_MOST_SIZE = 1 << 63
_LONGEST_NAME = 500


@dataclass(slots=True, kw_only=True)
class OnnxSlot:
    """An input or output: a size that is open is a name, or None."""

    name: str = ""
    shape: list[int | str | None] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class OnnxFile:
    """Inputs and outputs in the file's order; old files list their weights as inputs too."""

    inputs: tuple[OnnxSlot, ...]
    outputs: tuple[OnnxSlot, ...]


def read_onnx(path: Path) -> OnnxFile:
    """The slots of a model whose weights are all in the file itself.

    Raises CheckpointNotFound, and CorruptCheckpoint for what is no ONNX file, is cut short, or
    names other files to read weights from.
    """
    # a pipe would be waited for without end
    if Stamp.of(path) is None:
        raise CheckpointNotFound(path, "no such file")
    try:
        with path.open("rb") as file:
            return _Walk(path, file).read()
    except OSError as error:
        raise CorruptCheckpoint(path, f"cannot be read ({error.strerror})") from error


class _Walk:
    """One way through a file, from front to back."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self._path = path
        self._file = file
        self._fields = 0
        self._has_graph = False
        self._slots: dict[int, list[OnnxSlot]] = {_INPUT: [], _OUTPUT: []}

    def read(self) -> OnnxFile:
        size = self._file.seek(0, 2)
        self._file.seek(0)
        self._message("model", size, depth=0, slot=None)
        if not self._has_graph:
            raise self._no_onnx("no graph in it")
        return OnnxFile(inputs=tuple(self._slots[_INPUT]), outputs=tuple(self._slots[_OUTPUT]))

    def _message(self, kind: str, end: int, *, depth: int, slot: OnnxSlot | None) -> None:
        """Go through the fields up to `end`; `slot` is filled with what they say of it."""
        if depth > _DEEPEST:
            raise self._no_onnx("it is nested too deep")
        self._has_graph |= kind == "graph"
        ways = _WAYS.get(kind, {})
        for number, wire, value in self._each(end):
            if wire == _BYTES and number in ways:
                below = slot
                if kind == "graph" and number in self._slots:
                    below = OnnxSlot()
                    # those of the graph itself, not of one within a node
                    if depth == 1:
                        self._slots[number].append(below)
                if ways[number] == "dimension" and below is not None:
                    below.shape.append(None)
                self._message(ways[number], value, depth=depth + 1, slot=below)
            elif kind == "tensor":
                self._weigh(number, value)
            elif slot is not None:
                self._note(slot, kind, number, wire, value)
            if wire == _BYTES:
                self._file.seek(value)

    def _weigh(self, number: int, value: int) -> None:
        """Refuse a tensor for a field that says that its data is elsewhere."""
        if number == _EXTERNAL_ENTRY or (number == _DATA_LOCATION and value == _EXTERNAL):
            raise CorruptCheckpoint(
                self._path,
                "its weights are in other files, which are not followed; save it as one file",
            )

    def _note(self, slot: OnnxSlot, kind: str, number: int, wire: int, value: int) -> None:
        if kind == "value" and (number, wire) == (_NAME, _BYTES):
            slot.name = self._text(value)
        elif kind == "dimension" and (number, wire) == (_DIMENSION_SIZE, _VARINT):
            # a size below 0 is one that is open
            slot.shape[-1] = value if value < _MOST_SIZE else None
        elif kind == "dimension" and (number, wire) == (_DIMENSION_NAME, _BYTES):
            slot.shape[-1] = self._text(value)

    def _each(self, end: int) -> Iterator[tuple[int, int, int]]:
        """The fields up to `end`: number, wire type, and a varint's value or the bytes' end."""
        while (here := self._file.tell()) < end:
            self._fields += 1
            if self._fields > _MOST_FIELDS:
                raise self._no_onnx("it has too many fields")
            number, wire = divmod(self._varint(), 8)
            if number == 0:
                raise self._no_onnx(f"byte {here} begins no field")
            if wire == _VARINT:
                value = self._varint()
            elif wire == _BYTES:
                length = self._varint()
                value = self._file.tell() + length
            elif wire in _FIXED:
                value = self._file.seek(_FIXED[wire], 1)
            else:
                raise self._no_onnx(f"byte {here} begins no field")
            if (value if wire != _VARINT else self._file.tell()) > end:
                raise self._no_onnx(f"the field at byte {here} goes beyond its end, {end}")
            yield number, wire, value

    def _varint(self) -> int:
        value = 0
        for place in range(_LONGEST_VARINT):
            byte = self._file.read(1)
            if not byte:
                raise self._no_onnx("it ends within a field")
            value |= (byte[0] & 0x7F) << (7 * place)
            if byte[0] < 0x80:
                return value
        raise self._no_onnx("it holds a number without an end")

    def _text(self, end: int) -> str:
        length = end - self._file.tell()
        return self._file.read(min(length, _LONGEST_NAME)).decode("utf-8", "replace")

    def _no_onnx(self, why: str) -> CorruptCheckpoint:
        return CorruptCheckpoint(self._path, f"no sound ONNX file: {why}")
