"""Writes one output folder: beside its place, in `NAME.partial`, then put there in one step.

`NAME.partial` holds the new folder as `model`, the journal, the events of the run and the lock; in
the moment of the exchange, where the system cannot do it in one step, the old one as `old`. Shards
are preallocated, tensors written by position from any thread or process, headers last, so that an
unfinished shard cannot be opened. All is synced before the exchange, and the old folder stays whole
until then. What an earlier run has left is taken over where it is of the same run.
"""

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from blake3 import blake3

from mergelang.check.outputs import foreign_files
from mergelang.errors import MergelangError, RunError
from mergelang.files import files_below
from mergelang.plan.layout import Shard
from mergelang.plan.origin import Seal
from mergelang.run import disk, journal, lock
from mergelang.run.journal import Journal
from mergelang.store.digests import LEAF, of_leaves
from mergelang.tensors import Extent

MODEL, OLD, EVENTS = "model", "old", "events.jsonl"

OURS = {MODEL, OLD, EVENTS, lock.FILE, journal.FILE, journal.FILE + ".new"}
"""What we put into `NAME.partial`."""


class Folder:
    """The folder of one output while it is written. `path` is its place; a link is followed."""

    def __init__(self, path: Path, shards: tuple[Shard, ...]):
        self.path = Path(os.path.realpath(path))
        self.partial = partial_of(self.path)
        self.model = self.partial / MODEL
        self._shards = {shard.file: shard for shard in shards}
        self._places = {name: shard for shard in shards for name in shard.tensors}
        self._paths = {shard.file: self.model / shard.file for shard in shards}
        self._descriptors: dict[str, int] = {}
        self._lock: int | None = None
        self._mine = False
        self.journal = Journal(self.partial / journal.FILE, self.sync_data)

    def open(self, head: Mapping[str, Any], fresh: bool = False) -> tuple[dict[str, str], str]:
        """Makes the partial folder ready, with every shard at its full size and without a header.

        `head` says of what run it is. Gives the digests of the tensors that an earlier run of the
        same has written there, and, where one of another run was there instead, why it is not
        continued; neither with `fresh`. Raises RunError: another process writes it (E2002), it is
        not ours (E2003).
        """
        refuse_foreign(self.partial)
        self._lock = lock.acquire(self.partial)
        self._mine = True
        self._recover()
        known, why = ({}, "") if fresh else resumed(self.partial / journal.FILE, head)
        self.journal.records = len(known)
        if not known:
            disk.remove(self.model)
        disk.make_folder(self.model)
        for each in self.model.iterdir():  # documents of a run that ended late
            if each.name not in self._shards:
                disk.remove(each)
        for shard in self._shards.values():
            path = self.model / shard.file
            descriptor = self._descriptors[shard.file] = disk.open_file(path)
            disk.write(path, descriptor, bytes(8), 0)
            disk.preallocate(path, descriptor, shard.size)
        self.sync_data()
        disk.sync_path(self.model)
        self.journal.begin(head, known)
        disk.sync_path(self.partial.parent)
        return known, why

    def tensor(self, name: str) -> "TensorFile":
        """Where the bytes of a tensor go."""
        shard = self._places[name]
        return TensorFile(
            self._descriptors[shard.file], self._paths[shard.file], shard.offsets[name],
            shard.tensors[name].nbytes,
        )  # fmt: skip

    def extent(self, name: str) -> Extent:
        """Where a tensor lies in the partial folder."""
        shard = self._places[name]
        return Extent(str(self._paths[shard.file]), shard.offsets[name], shard.tensors[name])

    def start_writeback(self) -> None:
        """Lets the kernel begin to write what is there: the sync at the end then finds little."""
        for descriptor in self._descriptors.values():
            disk.start_writeback(descriptor)

    def sync_data(self) -> None:
        """Waits until all that is written lies on the disk."""
        for file, descriptor in self._descriptors.items():
            disk.sync(self.model / file, descriptor)

    def write_headers(self, seal: Seal) -> None:
        """Makes the shards readable: the data is synced before its header, then the header."""
        self.sync_data()
        for file, descriptor in self._descriptors.items():
            disk.write(self.model / file, descriptor, self._shards[file].header(seal), 0)
            disk.sync(self.model / file, descriptor)

    def add(
        self, documents: Mapping[str, bytes], copies: Mapping[str, Path] | None = None
    ) -> None:
        """Writes small files by name, and copies those that come along; documents win over copies.

        A name may lie in a folder: `1_Pooling/config.json`.
        """
        for name, source in (copies or {}).items():
            if name not in documents:
                with disk.told(source):
                    data = source.read_bytes()
                self._put(name, data)
        for name, data in documents.items():
            self._put(name, data)

    def _put(self, name: str, data: bytes) -> None:
        folder = (self.model / name).parent
        disk.make_folder(folder)
        disk.put(self.model / name, data)
        while folder != self.model:
            disk.sync_path(folder)
            folder = folder.parent

    def files(self) -> dict[str, int]:
        """Every file written so far, with its size."""
        return {name: each.stat().st_size for name, each in files_below(self.model).items()}

    def publish(self) -> None:
        """Puts the complete folder in its place, in exchange for the old one.

        Raises RunError (E2004) where files have come into the old one that are not ours: it then
        stays, and the new one waits for the next run.
        """
        self._close_files()
        disk.sync_path(self.model)
        self.journal.publish()
        self._refuse_strangers(self.path)
        if not self.path.exists():
            disk.rename(self.model, self.path)
        elif disk.exchange(self.model, self.path):
            try:
                self._refuse_strangers(self.model)
            except RunError:
                disk.exchange(self.model, self.path)
                raise
        else:
            disk.rename(self.path, self.partial / OLD)
            try:
                self._refuse_strangers(self.partial / OLD)
            except RunError:
                disk.rename(self.partial / OLD, self.path)
                raise
            disk.rename(self.model, self.path)
        disk.sync_path(self.path.parent)  # first: both places may show the new folder, never none
        disk.sync_path(self.partial)
        self._remove()

    def leave(self) -> int:
        """Ends after a failure: what is done stays for the next run, if there is any of it.

        Gives the number of tensors that stay. The output's place is as it was.
        """
        if not self._mine:
            return 0
        try:
            self.journal.wait()
            self.journal.record()
        except MergelangError:
            pass  # What failed before fails again; what was recorded until then holds.
        self._close_files()
        left = self.journal.records
        if left:
            self.journal.close()
            lock.release(self._lock)
        else:
            try:
                self._remove()
            except MergelangError:
                lock.release(self._lock)
        return left

    def _recover(self) -> None:
        """Ends an exchange of two steps that a crash came between."""
        old = self.partial / OLD
        if old.exists():
            if self.path.exists():
                disk.remove(old)
            else:
                disk.rename(old, self.path)
                disk.sync_path(self.path.parent)

    def _refuse_strangers(self, folder: Path) -> None:
        strangers = foreign_files(folder)
        if strangers:
            raise RunError("E2004", path=str(self.path), names=", ".join(strangers[:3]),
                           partial=str(self.partial))  # fmt: skip

    def _close_files(self) -> None:
        for descriptor in self._descriptors.values():
            os.close(descriptor)
        self._descriptors.clear()

    def _remove(self) -> None:
        """Removes the partial folder, the lock last."""
        self.journal.close()
        remove_partial(self.partial)
        lock.release(self._lock)


def partial_of(path: Path) -> Path:
    """Where an output is written before it takes its place."""
    path = Path(os.path.realpath(path))
    return path.with_name(path.name + ".partial")


def refuse_foreign(partial: Path) -> None:
    """RunError (E2003) where something else than our own lies in the way."""
    with disk.told(partial):
        if partial.is_symlink() or (partial.exists() and not partial.is_dir()):
            raise RunError("E2003", path=str(partial), names=None)
        names = sorted(each.name for each in partial.iterdir()) if partial.exists() else []
    strangers = [name for name in names if name not in OURS]
    if strangers:
        raise RunError("E2003", path=str(partial), names=", ".join(strangers[:3]))


def resumed(path: Path, head: Mapping[str, Any]) -> tuple[dict[str, str], str]:
    """The records of a journal if it is of the run that `head` says; else none, and why."""
    found = journal.read(path)
    if found is None:
        return {}, ""
    was, records, published = found
    if not records or (published and was != head):
        return {}, ""
    if was.get("run") != head["run"]:
        return {}, "it is of another recipe"
    if was.get("arith") != head.get("arith"):
        return {}, f"it was computed by {was.get('arith') or 'the processor'}"
    for name, facts in head["inputs"].items():
        if was.get("inputs", {}).get(name) != facts:
            return {}, f"{name} has changed"
    return (records, "") if was == head else ({}, "other inputs were there")


def left_over(path: Path) -> bool:
    """Whether a run has put its output in place and was then ended before it tidied up."""
    found = journal.read(partial_of(path) / journal.FILE)
    return found is not None and found[2]


def tidy(path: Path) -> None:
    """Removes what such a run has left."""
    partial = partial_of(path)
    held = lock.acquire(partial)
    try:
        remove_partial(partial)
    finally:
        lock.release(held)


def remove_partial(partial: Path) -> None:
    """Removes what we have put into a partial folder, the lock last."""
    for name in sorted(OURS - {lock.FILE}):
        disk.remove(partial / name)
    disk.remove(partial / lock.FILE)
    with suppress(OSError):  # the next run waits for the lock already
        os.rmdir(partial)


class TensorFile:
    """The sink of one tensor: positional writes, hashed leaf by leaf while the bytes are hot."""

    def __init__(self, descriptor: int, path: Path, offset: int, nbytes: int):
        self._descriptor, self._path, self._offset = descriptor, path, offset
        self.nbytes = nbytes
        self._leaves: list[bytes] = [b""] * -(-self.nbytes // LEAF)

    def open_span(self, first_byte: int, store: bool = True) -> Callable[[memoryview], None]:
        """A function that takes the bytes from `first_byte` on, in order.

        With `store=False` they are hashed only: they are in the file already. A leaf that two spans
        share is hashed when the digest is asked for, from the file.
        """
        at = first_byte
        hasher = blake3() if first_byte % LEAF == 0 else None

        def write(data: memoryview) -> None:
            nonlocal at, hasher
            if store:
                self._store(data, at)
            while len(data):
                room = LEAF - at % LEAF
                if hasher is not None:
                    hasher.update(data[:room])
                at += min(room, len(data))
                data = data[room:]
                if at % LEAF == 0 or at == self.nbytes:
                    if hasher is not None:
                        self._leaves[(at - 1) // LEAF] = hasher.digest()
                    hasher = blake3()

        return write

    @property
    def digest(self) -> str:
        """Of the whole tensor, once all of it is written."""
        for number, leaf in enumerate(self._leaves):
            if not leaf:
                self._leaves[number] = blake3(self._read(number * LEAF)).digest()
        return of_leaves(self._leaves)

    def _read(self, at: int) -> bytes:
        with disk.told(self._path):
            return os.pread(self._descriptor, min(LEAF, self.nbytes - at), self._offset + at)

    def _store(self, data: memoryview, at: int) -> None:
        disk.write(self._path, self._descriptor, data, self._offset + at)
