"""Tables of numbers: what reductions gave over many tensors, together in one value of the store.

A number is a few bytes, and a file of its own would take more than it. So each lies in a table,
under the key of its own derivation; which table that is only says where to look. A table that
cannot be kept, or that another run writes at the same time, is numbers that are computed again.
"""

from array import array
from collections.abc import Mapping
from contextlib import suppress
from itertools import accumulate, pairwise

from mergelang.store.blobs import Blobs, Entry, sound
from mergelang.tensors import TensorType

Numbers = Mapping[str, array]
"""Vectors of doubles by the keys of what they are; a key is 40 hexadecimal digits."""

WHAT = "numbers"
"""What has made a table, as the store tells it."""

ROOM = 1 << 22
"""Bytes that a table may take in any case."""

TIMES = 8
"""How many times the bytes of what one run adds a table may take; what was added last stays."""

LARGEST = 64 << 20
"""Bytes of numbers that a table takes at most, and so that one run keeps: numbers of rows can be
many, and a plan holds the tables that it looks into."""

_KEY = 20


def nbytes(lengths: int, count: int = 1) -> int:
    """Bytes of `count` vectors of so many numbers in all."""
    return count * (_KEY + 8) + 8 * lengths


class Tables:
    """The tables of a store, each read once when it is first asked for.

    `damaged` are those that did not hold what was written into them; they count as empty.
    """

    def __init__(self, blobs: Blobs):
        self._blobs = blobs
        self._read: dict[str, dict[str, array]] = {}
        self.damaged: list[Entry] = []

    def __getitem__(self, table: str) -> Numbers:
        """What lies in a table; empty where there is none."""
        if table not in self._read:
            self._read[table] = self._numbers(table)
        return self._read[table]

    def use(self) -> bool:
        """Makes those that were asked for the last that are removed for want of room, and removes
        what is damaged; whether there was any."""
        damaged, self.damaged = self.damaged, []
        for entry in damaged:
            self._blobs.drop(entry)
        for table, numbers in self._read.items():
            if numbers:
                self._blobs.touch(table)
        return bool(damaged)

    def keep(self, table: str, added: Numbers, seconds: float) -> None:
        """Writes a table: the numbers `added`, which took so long, before those that were there, as
        far as there is room."""
        if not added:
            return
        old = self._numbers(table)
        most = TIMES * sum(nbytes(len(each)) for each in added.values())
        room = min(LARGEST, max(ROOM, most, sum(nbytes(len(each)) for each in old.values())))
        merged = {}
        for key, numbers in {**added, **old}.items():
            room -= nbytes(len(numbers))
            if room < 0:
                break
            merged[key] = numbers
        self._read[table] = merged
        data = _packed(merged)
        type = TensorType("U8", (len(data),))
        self._blobs.put(table, type, memoryview(data), WHAT, seconds, anew=True)

    def _numbers(self, table: str) -> dict[str, array]:
        entry = self._blobs.find(table)
        while entry is not None:
            if sound(entry):
                with suppress(OSError, ValueError):
                    return _unpacked(entry)
            seen, entry = entry, self._blobs.find(table)
            if entry is not None and entry.digest == seen.digest:  # no other run has written it
                self.damaged.append(entry)
                break
        return {}


def _packed(numbers: Numbers) -> bytes:
    """How many there are, their keys, how long each is, and they themselves."""
    vectors = list(numbers.values())
    return b"".join((
        len(vectors).to_bytes(8, "little"), bytes.fromhex("".join(numbers)),
        array("Q", map(len, vectors)).tobytes(), *(each.tobytes() for each in vectors),
    ))  # fmt: skip


def _unpacked(entry: Entry) -> dict[str, array]:
    with open(entry.path, "rb") as file:
        file.seek(entry.extent.offset)
        count = int.from_bytes(file.read(8), "little")
        keys = file.read(count * _KEY).hex()
        lengths, numbers = array("Q", file.read(8 * count)), array("d", file.read())
    ends = pairwise(accumulate(lengths, initial=0))
    return {
        keys[i * 2 * _KEY : (i + 1) * 2 * _KEY]: numbers[first:last]
        for i, (first, last) in enumerate(ends)
    }
