"""Reading the header of a safetensors file: the tables of its tensors, no weight.

The format: eight bytes of length (little endian), a JSON object, then the data. Everything in a
header is checked before it is believed, since it says where bytes are read.
"""

import json
from pathlib import Path
from typing import Any

from mergelang.errors import InputError
from mergelang.tensors import DTYPES, Extent, tensor_type

LONGEST = 100_000_000
"""Bytes of the longest header that the format allows."""


def read_header(path: Path, shown: str) -> dict[str, Extent]:
    """The tensors of a file by name, in the order of its header.

    `shown` is how errors call the file. Raises InputError where the file is not a whole and sound
    safetensors file.
    """
    try:
        with open(path, "rb") as file:
            size = file.seek(0, 2)
            file.seek(0)
            length = int.from_bytes(file.read(8), "little")
            if size < 8 or length > min(LONGEST, size - 8):
                raise InputError(
                    "E0610", path=shown, cut=None if size < 8 or length > LONGEST else size
                )
            text = file.read(length)
    except OSError as error:
        raise InputError("E0604", path=shown, reason=_reason(error)) from error
    return _tensors(path, text, size, shown)


def parse_header(path: Path, start: bytes, size: int, shown: str) -> dict[str, Extent]:
    """As `read_header`, of a file of which only the start is known: its path will be `path`."""
    length = int.from_bytes(start[:8], "little")
    if size < 8 or len(start) < 8 or length > min(LONGEST, size - 8):
        raise InputError("E0610", path=shown, cut=size if size >= 8 and length <= LONGEST else None)
    return _tensors(path, start[8 : 8 + length], size, shown)


def _tensors(path: Path, text: bytes, size: int, shown: str) -> dict[str, Extent]:
    length = len(text)
    try:
        table = json.loads(text)
        assert isinstance(table, dict)
    except (ValueError, AssertionError, RecursionError) as error:
        raise InputError("E0610", path=shown, cut=None) from error
    table.pop("__metadata__", None)
    start, room = 8 + length, size - 8 - length
    text = str(path)
    return {name: _extent(text, shown, name, entry, start, room) for name, entry in table.items()}


def _extent(path: str, shown: str, name: str, entry: Any, start: int, room: int) -> Extent:
    try:
        dtype, shape = entry["dtype"], tuple(entry["shape"])
        low, high = entry["data_offsets"]
        for each in (*shape, low, high):
            if type(each) is not int or each < 0:
                raise ValueError(each)
    except (TypeError, KeyError, ValueError) as error:
        raise InputError("E0611", path=shown, tensor=name) from error
    if not isinstance(dtype, str) or dtype not in DTYPES:
        raise InputError("E0612", path=shown, tensor=name, dtype=dtype)
    kind = tensor_type(dtype, shape)
    if high - low != kind.nbytes:
        raise InputError("E0611", path=shown, tensor=name)
    if high > room:
        raise InputError("E0613", path=shown, tensor=name, missing=f"{high - room:,}")
    return Extent(path, start + low, kind)


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
