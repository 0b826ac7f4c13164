"""What the store remembers besides values: digests of files, states of outputs and locks, listings
of repositories on the Hub, rates of this machine. Small files, each of which can be made again.
"""

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from mergelang.files import cache_folder

KINDS = {
    "digests": "digests of files", "outputs": "states of outputs", "locks": "states of locks",
    "hub": "files of the Hub", "rates.json": "rates of this machine",
}  # fmt: skip
"""Their places in the cache folder, and what they are to people."""


class Note(NamedTuple):
    """A file, which of KINDS it is, its size, and when it was written."""

    path: Path
    kind: str
    size: int
    written: float


def notes() -> list[Note]:
    """All of them, the oldest first."""
    found = []
    for kind, path, facts in _files():
        found.append(Note(Path(path), kind, facts.st_size, facts.st_mtime))
    return sorted(found, key=lambda each: (each.written, each.path))


def size() -> int:
    """Bytes of all of them."""
    return sum(facts.st_size for _, _, facts in _files())


def _files() -> Iterator[tuple[str, str, os.stat_result]]:
    """Kind, path and facts of each, in no order."""
    root = str(cache_folder())
    stack = [(kind, os.path.join(root, kind)) for kind in KINDS]
    while stack:
        kind, place = stack.pop()
        try:
            for each in os.scandir(place):
                if each.is_dir():
                    stack.append((kind, each.path))
                else:
                    with suppress(OSError):
                        yield kind, each.path, each.stat()
        except NotADirectoryError:
            with suppress(OSError):
                yield kind, place, os.stat(place)
        except OSError:
            continue


def prune(keep: int) -> tuple[int, int]:
    """Removes the oldest until at most `keep` bytes are left; gives number and bytes removed."""
    found = notes()
    left = sum(each.size for each in found)
    count = removed = 0
    for each in found:
        if left - removed <= keep:
            break
        with suppress(OSError):
            os.unlink(each.path)
            count, removed = count + 1, removed + each.size
    return count, removed


def sound(note: Note) -> bool:
    """Whether a note says something; of the Hub's headers of weights, whether one is whole. What
    was being written when a process ended is no note yet, and goes when room is made."""
    if note.path.name.startswith(".new-") or note.path.name.endswith(".partial"):
        return True
    try:
        data = note.path.read_bytes()
        if note.kind == "hub" and note.path.name != "files.json":
            return len(data) == 8 + int.from_bytes(data[:8], "little")
        if note.kind == "locks":
            return len(bytes.fromhex(data.decode())) == 32
        for line in data.decode().splitlines():
            json.loads(line)
        return bool(data)
    except (OSError, ValueError):
        return False
