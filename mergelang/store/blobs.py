"""Values by the key of their derivation, each in a file of its own; never more than a limit.

An entry is a safetensors file of one tensor, written whole or not at all and checked by its digest
when it is read; one that is damaged is dropped. Within the limit is what else the store remembers
(`store.notes`), and that goes last. Any number of processes may share a store: what
changes its size happens under a lock, and who has an entry open keeps it, whoever removes it. The
entries used least recently go first.
"""

import errno
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blake3 import blake3

from mergelang.files import cache_folder
from mergelang.store import notes
from mergelang.store.digests import LEAF, of_leaves
from mergelang.tensors import Extent, TensorType

try:
    import fcntl
except ImportError:  # no such locks here
    fcntl = None  # type: ignore[assignment]

LIMIT = 20 * 10**9
"""Bytes that the store takes at most unless said otherwise."""

SPARE = 0.1
"""Share of the limit that is freed at once where there is no room."""

PENDING = "pending-"
"""Before the key of a value whose inputs have no digest yet; it is for the run that wrote it."""

HEADER = 512
"""Bytes before a value, or a multiple of them where its type or its maker takes more to say."""

_STALE = 86400
"""Seconds after which a file that is still being written is given up, and a pending one."""


@dataclass(frozen=True)
class Entry:
    """One value, made by `what` in `seconds`; size of its file, and when it was used last."""

    key: str
    path: Path
    what: str
    seconds: float
    digest: str
    extent: Extent
    size: int
    used: float


class Blobs:
    """The values in a store, by default the user's."""

    def __init__(self, limit: int = LIMIT, folder: Path | None = None):
        self.limit = limit
        self.folder = (folder or cache_folder()) / "values"

    def place(self, key: str, type: TensorType) -> Extent:
        """Where the value of a key lies, or will lie, whose header is a short one."""
        return Extent(str(self._path(key)), HEADER, type)

    def find(self, key: str) -> Entry | None:
        """The entry of a key, if there is one; its bytes are not looked at."""
        return self._read(self._path(key))

    def checked(self, key: str) -> Entry | None:
        """The entry of a key after a look at all of its bytes; a damaged one is dropped.

        It is then the last that is removed for want of room.
        """
        entry = self.find(key)
        if entry is None:
            return None
        if not sound(entry):
            self.drop(entry)
            return None
        self.touch(key)
        return entry

    def touch(self, key: str) -> None:
        """Makes a value the last that is removed for want of room."""
        with suppress(OSError):
            os.utime(self._path(key))

    def put(
        self, key: str, type: TensorType, data: memoryview, what: str, seconds: float, *,
        anew: bool = False,
    ) -> bool:  # fmt: skip
        """Keeps a value, `anew` in the place of one that is there; False where it does not fit, is
        there already, or cannot be written."""
        try:
            return self.write(key, type, data, what, seconds, anew=anew)
        except OSError:
            return False

    def write(
        self, key: str, type: TensorType, data: memoryview, what: str, seconds: float, *,
        anew: bool = False,
    ) -> bool:  # fmt: skip
        """As `put`, but raises OSError where it does not fit or cannot be written."""
        path = self._path(key)
        data = data.cast("B")
        leaves = (blake3(data[at : at + LEAF]).digest() for at in range(0, len(data), LEAF))
        head = _header(type, of_leaves(leaves), what, seconds)
        size = len(head) + len(data)
        fresh = path.with_name(f".new-{os.getpid()}-{path.name}")
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and not anew:
            return False
        if not self._make_room(size, fresh):
            raise OSError(errno.ENOSPC, f"the store has no room within its {self.limit:,} bytes")
        try:
            with open(fresh, "r+b") as file:
                file.write(head)
                file.write(data)
            with self._locked():  # so that who counts finds it once
                gone = path.stat().st_size if path.exists() else 0
                os.replace(fresh, path)
                if gone:
                    self._write_total(max(0, self._total() - gone))
        except BaseException:
            with suppress(OSError):
                os.unlink(fresh)
            self._count(-size)
            raise
        return True

    def publish(self, pending: str, key: str) -> None:
        """Gives a value its own key, once that is known."""
        path = self._path(key)
        with suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            os.replace(self._path(pending), path)

    def drop(self, entry: Entry) -> None:
        with suppress(OSError):
            self.remove(entry)

    def remove(self, entry: Entry) -> None:
        """As `drop`, but raises OSError where it cannot."""
        os.unlink(entry.path)
        self._count(-entry.size)

    def entries(self) -> list[Entry]:
        """All values, the one used last first."""
        found = (self._read(path) for path in self._files())
        return sorted((each for each in found if each), key=lambda each: -each.used)

    def unreadable(self) -> list[Path]:
        """Files in the place of values that are none, and that nobody is writing."""
        return [
            path for path in self._files()
            if not path.name.startswith(".new-") and self._read(path) is None
        ]  # fmt: skip

    def prune(self, keep: int) -> tuple[int, int]:
        """Removes values, and if that is not enough notes, until at most `keep` bytes are left;
        gives number and bytes removed."""
        with self._locked():
            return self._free(keep)

    def refusal(self) -> str:
        """Why the store cannot be written, in a few words; empty if it can."""
        try:
            with self._locked():
                return ""
        except OSError as error:
            return (error.strerror or str(error)).lower()

    def settle(self) -> None:
        """Keeps to the limit where notes have been written that take more than was left."""
        with suppress(OSError), self._locked():
            if self._total() + notes.size() > self.limit:
                self._free(self.limit)

    def size(self) -> int:
        """Bytes of all files of the store's values, as they are now."""
        found = {}
        for path in self._files():
            with suppress(OSError):
                facts = path.stat()
                found[facts.st_ino] = facts.st_size  # one that gets its name now counts once
        return sum(found.values())

    def _path(self, key: str) -> Path:
        return self.folder / key[-2:] / f"{key}.safetensors"

    def _files(self) -> list[Path]:
        return [path for path in self.folder.glob("*/*") if path.is_file()]

    def _read(self, path: Path) -> Entry | None:
        try:
            with open(path, "rb") as file:
                length = int.from_bytes(file.read(8), "little")
                head = json.loads(file.read(min(length, LEAF)))
                found = os.fstat(file.fileno())
            facts, value = head["__metadata__"], head["value"]
            type = TensorType(value["dtype"], tuple(map(int, value["shape"])))
            extent = Extent(str(path), 8 + length, type)
            return Entry(
                path.stem, path, facts["what"], float(facts["seconds"]), facts["digest"],
                extent, found.st_size, found.st_mtime,
            )  # fmt: skip
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _make_room(self, size: int, fresh: Path) -> bool:
        """Reserves bytes by a file of that size; False where even an empty store has no room."""
        if size > self.limit:
            return False
        with self._locked():
            total, small = self._total(), notes.size()
            if total + small + size > self.limit:
                self._free(min(self.limit - size, int(self.limit * (1 - SPARE))))
                total, small = self._total(), notes.size()
            if total + small + size > self.limit:
                return False
            with open(fresh, "wb") as file:
                file.truncate(size)
            self._write_total(total + size)
        return True

    def _count(self, change: int) -> None:
        with suppress(OSError), self._locked():
            self._write_total(max(0, self._total() + change))

    def _free(self, keep: int) -> tuple[int, int]:
        """Removes values, then notes, until at most `keep` bytes of both are left."""
        count, removed = self._evict(max(0, keep - notes.size()))
        more, freed = notes.prune(max(0, keep - self._total()))
        return count + more, removed + freed

    def _evict(self, keep: int) -> tuple[int, int]:
        """Removes the files used least recently; counts what is there anew."""
        now = time.time()
        files = []
        for path in self._files():
            with suppress(OSError):
                found = path.stat()
                files.append((found.st_mtime, found.st_size, path))
        total = sum(size for _, size, _ in files)
        count = removed = 0
        for used, size, path in sorted(files):
            fresh = path.name.startswith((".new-", PENDING))
            if total - removed <= keep or (fresh and now - used < _STALE):
                continue
            with suppress(OSError):
                path.unlink()
                count, removed = count + 1, removed + size
        self._write_total(total - removed)
        return count, removed

    def _total(self) -> int:
        """Bytes that are taken or reserved, as counted; counted anew where that is not known."""
        try:
            return int((self.folder / "total").read_text())
        except (OSError, ValueError):
            return self.size()

    def _write_total(self, total: int) -> None:
        (self.folder / "total").write_text(str(total))

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self.folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            if fcntl is not None:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def sound(entry: Entry) -> bool:
    """Whether an entry holds the bytes that it was written with."""
    leaves, left = [], entry.extent.type.nbytes
    try:
        if entry.size != entry.extent.offset + left:
            return False
        with open(entry.path, "rb", buffering=0) as file:
            file.seek(entry.extent.offset)
            while left:
                data = file.read(min(LEAF, left))
                if not data:
                    return False
                leaves.append(blake3(data).digest())
                left -= len(data)
    except OSError:
        return False
    return of_leaves(leaves) == entry.digest


def _header(type: TensorType, digest: str, what: str, seconds: float) -> bytes:
    table: dict[str, Any] = {
        "__metadata__": {"digest": digest, "what": what, "seconds": f"{seconds:.6f}"},
        "value": {
            "dtype": type.dtype, "shape": list(type.shape), "data_offsets": [0, type.nbytes]
        },
    }  # fmt: skip
    text = json.dumps(table, separators=(",", ":")).encode()
    text += b" " * (-(8 + len(text)) % HEADER)
    return len(text).to_bytes(8, "little") + text
