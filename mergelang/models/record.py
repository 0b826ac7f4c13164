"""The record that a merge left in a model: in `mergelang.json`, and in each of its weight files.

Reads what other versions of this program wrote, and what somebody may have damaged: nothing in a
record is believed before it is looked at. Knows nothing of how one is made.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

RECORD = "mergelang.json"
"""The file of a folder's record; also the key under which a weight file's header holds its own."""

KEY = "mergelang"

FIELDS = {"output": str, "recipe": str, "used": dict, "settings": dict, "parents": list,
          "ancestors": dict, "root": str, "tensors": dict}  # fmt: skip
"""What every record has, and the kind of each."""

LARGEST = 200_000_000
"""Bytes of a record that are read at most."""

Record = Mapping[str, Any]


def read_record(path: Path) -> Record | None:
    """The record of a folder or a weight file; None where there is none that can be read.

    A folder that lost its own has that of its first weight file, whose tensors are not all.
    """
    if not path.is_dir():
        return read_header_record(path)
    weights = sorted(path.glob("*.safetensors"))
    if weights and not (path / RECORD).exists():
        return read_header_record(weights[0])
    try:
        if (path / RECORD).stat().st_size > LARGEST:
            return None
        return sound((path / RECORD).read_bytes())
    except OSError:
        return None


def read_header_record(path: Path) -> Record | None:
    """The record in the header of one weight file."""
    try:
        with open(path, "rb") as file:
            size = file.seek(0, 2)
            file.seek(0)
            length = int.from_bytes(file.read(8), "little")
            if length > min(LARGEST, size - 8):
                return None
            table = json.loads(file.read(length))
        return sound(table["__metadata__"][KEY])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def sound(text: str | bytes) -> Record | None:
    """The record that a text holds, if it is one."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict) or not isinstance(found.get("mergelang"), str):
        return None
    if not all(isinstance(found.get(name), kind) for name, kind in FIELDS.items()):
        return None
    lists = [found["parents"], *(_parents_of(each) for each in found["ancestors"].values())]
    whole = all(_is_parent(each) for parents in lists for each in parents)
    texts = (*found["used"].values(), *found["settings"].values(), *found["tensors"].values())
    return found if whole and all(isinstance(each, str) for each in texts) else None


def _parents_of(ancestor: Any) -> list[Any]:
    found = ancestor.get("parents") if isinstance(ancestor, dict) else None
    return found if isinstance(found, list) else [None]


def _is_parent(parent: Any) -> bool:
    return (
        isinstance(parent, dict)
        and isinstance(parent.get("source"), str)
        and isinstance(parent.get("files"), dict)
        and all(
            isinstance(each, dict) and isinstance(each.get("size"), int)
            and isinstance(each.get("digest"), str)
            for each in parent["files"].values()
        )
    )  # fmt: skip
