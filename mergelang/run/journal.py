"""The journal of a run: which tensors of an output are done, each with the digest of its bytes.

A record is written after what it speaks of is on the disk. Who reads it believes no byte all the
same: a digest is there to be compared. The first line says of what run the journal is.
"""

import json
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from threading import Lock, Thread
from typing import Any

from mergelang.errors import MergelangError
from mergelang.run import disk

FILE = "journal"

PAUSE = 1.0
"""Seconds from one record to the next at least, and a multiple of what the last one took."""
SHARE = 5


class Journal:
    """Writes the journal of one output. `sync` brings all that is written of it to the disk."""

    def __init__(self, path: Path, sync: Callable[[], None]):
        self._path, self._sync = path, sync
        self._descriptor = -1
        self._done: list[tuple[str, str]] = []
        self._adding = Lock()
        self._beside: Thread | None = None
        self._failure: MergelangError | None = None
        self._next = 0.0
        self.records = 0

    def begin(self, head: Mapping[str, Any], known: Mapping[str, str]) -> None:
        """Starts the journal anew, in one step, with records that are known to hold."""
        fresh = self._path.with_name(FILE + ".new")
        lines = [_line(head), *(_line([name, digest]) for name, digest in known.items())]
        disk.put(fresh, b"".join(lines))
        disk.rename(fresh, self._path)
        disk.sync_path(self._path.parent)
        self._descriptor = disk.open_file(self._path)
        os.lseek(self._descriptor, 0, os.SEEK_END)
        self.records = len(known)

    def add(self, name: str, digest: str) -> None:
        """A tensor is written; it is recorded when the next sync has ended."""
        with self._adding:
            self._done.append((name, digest))

    def tick(self) -> None:
        """Records what is done, beside the work, when it is time for that."""
        if self._failure is not None:
            raise self._failure
        if self._beside is not None and self._beside.is_alive():
            return
        if self._done and time.monotonic() >= self._next:
            self._beside = Thread(target=self._record_beside, daemon=True)
            self._beside.start()

    def wait(self) -> None:
        """Returns when nothing is recorded beside the work any more."""
        if self._beside is not None:
            self._beside.join()
            self._beside = None
        if self._failure is not None:
            raise self._failure

    def record(self) -> None:
        """Syncs, and records what was done before."""
        with self._adding:
            done, self._done = self._done, []
        if done:
            began = time.monotonic()
            self._sync()
            self._write([_line(each) for each in done])
            self.records += len(done)
            self._next = time.monotonic() + max(PAUSE, SHARE * (time.monotonic() - began))

    def publish(self) -> None:
        """Records that all is complete and takes its place now."""
        self._write([_line({"published": True})])

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _record_beside(self) -> None:
        try:
            self.record()
        except MergelangError as error:
            self._failure = error

    def _write(self, lines: list[bytes]) -> None:
        disk.append(self._path, self._descriptor, b"".join(lines))
        disk.sync(self._path, self._descriptor)


def _line(value: Any) -> bytes:
    return _encode(value).encode() + b"\n"


_encode = json.JSONEncoder(separators=(",", ":")).encode


def read(path: Path) -> tuple[dict[str, Any], dict[str, str], bool] | None:
    """The head of a journal, its records, and whether it was about to be published.

    A last line that was cut off does not count. None where there is no journal that can be read.
    """
    try:
        lines = path.read_bytes().split(b"\n")[:-1]
        head = json.loads(lines[0])
        if not isinstance(head, dict):
            return None
    except (OSError, ValueError, IndexError):
        return None
    records, published = {}, False
    for line in lines[1:]:
        try:
            match json.loads(line):
                case [str(name), str(digest)]:
                    records[name] = digest
                case {"published": True}:
                    published = True
        except ValueError:
            break
    return head, records, published
