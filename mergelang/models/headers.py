"""Reading the header of a safetensors file: the tables of its tensors, no weight.

The format: eight bytes of length (little endian), a JSON object, then the data. Everything in a
header is checked before it is believed, since it says where bytes are read.
"""

import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from mergelang.errors import InputError
from mergelang.tensors import DTYPES, Extent, TensorType, tensor_type

LONGEST = 100_000_000
"""Bytes of the longest header that the format allows."""


def read_header(path: Path, shown: str) -> dict[str, Extent]:
    """The tensors of a file by name, in the order of its header.

    `shown` is how errors call the file. Raises InputError where the file is not a whole and sound
    safetensors file.
    """
    text, size = _text(path, shown)
    return _tensors(path, text, size, shown)


def stated_size(path: Path, shown: str) -> int:
    """How many bytes a file has if its header is right: up to the end of its last tensor.

    Raises InputError as `read_header` does, but for data that is cut short.
    """
    text, _ = _text(path, shown)
    return 8 + len(text) + _table_of(text, shown).size


def parse_header(path: Path, start: bytes, size: int, shown: str) -> dict[str, Extent]:
    """As `read_header`, of a file of which only the start is known: its path will be `path`."""
    length = int.from_bytes(start[:8], "little")
    if size < 8 or len(start) < 8 or length > min(LONGEST, size - 8):
        raise InputError("E0610", path=shown, cut=size if size >= 8 and length <= LONGEST else None)
    return _tensors(path, start[8 : 8 + length], size, shown)


def _text(path: Path, shown: str) -> tuple[bytes, int]:
    """The header of a file, as it is written, and the size of the file."""
    try:
        with open(path, "rb") as file:
            size = file.seek(0, 2)
            file.seek(0)
            length = int.from_bytes(file.read(8), "little")
            if size < 8 or length > min(LONGEST, size - 8):
                raise InputError(
                    "E0610", path=shown, cut=None if size < 8 or length > LONGEST else size
                )
            return file.read(length), size
    except OSError as error:
        raise InputError("E0604", path=shown, reason=_reason(error)) from error


def _table_of(text: bytes, shown: str) -> "_Table":
    try:
        return _table(text)
    except InputError as error:
        raise InputError(error.code, path=shown, **error.facts) from error


def _tensors(path: Path, text: bytes, size: int, shown: str) -> dict[str, Extent]:
    table = _table_of(text, shown)
    start, room = 8 + len(text), size - 8 - len(text)
    if table.size > room:
        name, (_, high, _) = next(each for each in table.entries.items() if each[1][1] > room)
        raise InputError("E0613", path=shown, tensor=name, missing=f"{high - room:,}")
    file = str(path)
    return {
        name: Extent(file, start + low, kind) for name, (low, _, kind) in table.entries.items()
    }


class _Table(NamedTuple):
    """The tensors of a header: the first byte of each, the one behind its last, its type. `size`:
    bytes of all."""

    entries: Mapping[str, tuple[int, int, TensorType]]
    size: int


@lru_cache(maxsize=256)
def _table(text: bytes) -> _Table:
    """What a header says, whatever file it is of. Kept, since the models of one recipe mostly have
    the same headers: then they have the same names, too, and not just equal ones."""
    try:
        table = json.loads(text)
        assert isinstance(table, dict)
    except (ValueError, AssertionError, RecursionError) as error:
        raise InputError("E0610", cut=None) from error
    table.pop("__metadata__", None)
    entries = {name: _entry(name, entry) for name, entry in table.items()}
    return _Table(entries, max((high for _, high, _ in entries.values()), default=0))


def _entry(name: str, entry: Any) -> tuple[int, int, TensorType]:
    try:
        dtype, shape = entry["dtype"], tuple(entry["shape"])
        low, high = entry["data_offsets"]
        for each in (*shape, low, high):
            if type(each) is not int or each < 0:
                raise ValueError(each)
    except (TypeError, KeyError, ValueError) as error:
        raise InputError("E0611", tensor=name) from error
    if not isinstance(dtype, str) or dtype not in DTYPES:
        raise InputError("E0612", tensor=name, dtype=dtype)
    kind = tensor_type(dtype, shape)
    if high - low != kind.nbytes:
        raise InputError("E0611", tensor=name)
    return low, high, kind


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
