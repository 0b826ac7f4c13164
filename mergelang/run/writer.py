"""Writes one output folder: beside its place as `NAME.partial`, then put there in one step.

Shards are preallocated, tensors written by position from any thread, headers last, so that an
unfinished shard cannot be opened. All is synced before the rename, and the old folder stays whole
until then.
"""

import ctypes
import errno
import os
import shutil
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

from blake3 import blake3

from mergelang.errors import RunError
from mergelang.plan.layout import Shard
from mergelang.plan.origin import Seal
from mergelang.store.digests import LEAF, of_leaves
from mergelang.tensors import TensorType


class Folder:
    """The folder of one output while it is written."""

    def __init__(self, path: Path, shards: tuple[Shard, ...]):
        self.path = path
        self.partial = path.with_name(path.name + ".partial")
        self._shards = {shard.file: shard for shard in shards}
        self._places = {name: shard for shard in shards for name in shard.tensors}
        self._descriptors: dict[str, int] = {}

    def open(self) -> None:
        """Makes the partial folder anew, with every shard at its full size."""
        with _told(self.partial):
            if self.partial.exists():
                shutil.rmtree(self.partial)
            self.partial.mkdir(parents=True)
            for shard in self._shards.values():
                flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0)
                descriptor = os.open(self.partial / shard.file, flags, 0o644)
                self._descriptors[shard.file] = descriptor
                _preallocate(descriptor, shard.size)

    def tensor(self, name: str) -> "TensorFile":
        """Where the bytes of a tensor go."""
        shard = self._places[name]
        path = self.partial / shard.file
        return TensorFile(
            self._descriptors[shard.file], path, shard.offsets[name], shard.tensors[name]
        )

    def start_writeback(self) -> None:
        """Lets the kernel begin to write what is there: the sync at the end then finds little."""
        for descriptor in self._descriptors.values():
            _write_back(descriptor)

    def sync_data(self) -> None:
        """Waits until all that is written lies on the disk."""
        for shard in self._shards.values():
            with _told(self.partial / shard.file):
                os.fsync(self._descriptors[shard.file])

    def write_headers(self, seal: Seal) -> None:
        """Makes the shards readable: the data is synced before its header, then the header."""
        self.sync_data()
        for shard in self._shards.values():
            with _told(self.partial / shard.file):
                descriptor = self._descriptors[shard.file]
                os.pwrite(descriptor, shard.header(seal), 0)
                os.fsync(descriptor)

    def add(self, documents: Mapping[str, bytes], copies: tuple[Path, ...] = ()) -> None:
        """Writes small files, and copies those that come along; documents win over copies."""
        for source in copies:
            with _told(source):
                if source.name not in documents:
                    shutil.copyfile(source, self.partial / source.name)
        for name, data in documents.items():
            with _told(self.partial / name), open(self.partial / name, "wb") as file:
                file.write(data)

    def files(self) -> dict[str, int]:
        """Every file written so far, with its size."""
        return {p.name: p.stat().st_size for p in sorted(self.partial.iterdir())}

    def publish(self) -> None:
        """Syncs everything and puts the folder in its place, in exchange for the old one."""
        self.close()
        with _told(self.path):
            for each in self.partial.iterdir():
                _sync(each)
            _sync(self.partial)
            if not self.path.exists():
                os.rename(self.partial, self.path)
            else:
                _exchange(self.partial, self.path)
                shutil.rmtree(self.partial)
            _sync(self.path.parent)

    def close(self) -> None:
        for descriptor in self._descriptors.values():
            os.close(descriptor)
        self._descriptors.clear()

    def discard(self) -> None:
        """Removes what was written; the output's place is as it was."""
        self.close()
        shutil.rmtree(self.partial, ignore_errors=True)


class TensorFile:
    """The sink of one tensor: positional writes, hashed leaf by leaf while the bytes are hot."""

    def __init__(self, descriptor: int, path: Path, offset: int, type: TensorType):
        self._descriptor, self._path, self._offset = descriptor, path, offset
        self.nbytes = type.nbytes
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

    def copy_from(self, source: int, offset: int, first: int, last: int) -> bool:
        """Lets the kernel copy bytes `first` to `last` of the tensor; False where it cannot."""
        return _kernel_copy(
            source, self._descriptor, last - first, offset + first, self._offset + first
        )

    @property
    def digest(self) -> str:
        """Of the whole tensor, once all of it is written."""
        for number, leaf in enumerate(self._leaves):
            if not leaf:
                self._leaves[number] = blake3(self._read(number * LEAF)).digest()
        return of_leaves(self._leaves)

    def _read(self, at: int) -> bytes:
        with _told(self._path):
            return os.pread(self._descriptor, min(LEAF, self.nbytes - at), self._offset + at)

    def _store(self, data: memoryview, at: int) -> None:
        done = 0
        with _told(self._path):
            while done < len(data):
                done += os.pwrite(self._descriptor, data[done:], self._offset + at + done)


def _kernel_copy(source: int, target: int, count: int, read_at: int, write_at: int) -> bool:
    """Copies between files inside the kernel. False where the system or file system cannot."""
    if not hasattr(os, "copy_file_range"):
        return False
    done = 0
    while done < count:
        try:
            at = read_at + done, write_at + done
            moved = os.copy_file_range(source, target, count - done, *at)
        except OSError:
            return False
        if not moved:
            return False
        done += moved
    return True


class _told:
    """Turns an OSError into a RunError that names the file and the reason."""

    def __init__(self, path: Path):
        self._path = path

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError):
            raise RunError(
                "E0907", path=str(error.filename or self._path), reason=error.strerror or str(error)
            ) from error


def _preallocate(descriptor: int, size: int) -> None:
    """Takes the room on the disk now, so that a full disk is known before the work."""
    if hasattr(os, "posix_fallocate") and size:
        try:
            os.posix_fallocate(descriptor, 0, size)
            return
        except OSError as error:
            if error.errno == errno.ENOSPC:
                raise
    os.ftruncate(descriptor, size)


_SYNC_FILE_RANGE_WRITE = 2


@cache
def _library() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _write_back(descriptor: int) -> None:
    """Starts writing dirty pages of a file; nothing where the system has no call for that."""
    try:
        call = _library().sync_file_range
    except (OSError, AttributeError):
        return
    call(descriptor, ctypes.c_int64(0), ctypes.c_int64(0), _SYNC_FILE_RANGE_WRITE)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


_AT_FDCWD, _RENAME_EXCHANGE = -100, 2


def _exchange(new: Path, old: Path) -> None:
    """Swaps two folders atomically; where the system cannot, moves the old one aside first."""
    try:
        renameat2 = _library().renameat2
    except (OSError, AttributeError):
        renameat2 = None
    if renameat2 is not None:
        paths = os.fsencode(new), os.fsencode(old)
        if not renameat2(_AT_FDCWD, paths[0], _AT_FDCWD, paths[1], _RENAME_EXCHANGE):
            return
    aside = old.with_name(old.name + ".old")
    os.rename(old, aside)
    os.rename(new, old)
    os.rename(aside, new)
