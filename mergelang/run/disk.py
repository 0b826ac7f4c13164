"""Everything that a run does to the disk, call by call, so that any of them can be made to fail.

Each function raises RunError (E0907) with the path and the reason. A change of a file is on the
disk for sure once the file is synced, a new or another name once its folder is.
"""

import ctypes
import errno
import os
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from mergelang.errors import RunError

_FLAGS = os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0)


class told:
    """Turns an OSError into a RunError that names the file and the reason. A class, since it stands
    around every write, and a generator takes as long as a small one."""

    __slots__ = ("_path",)

    def __init__(self, path: Path):
        self._path = path

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, OSError):
            path, reason = error.filename or self._path, error.strerror or str(error)
            raise RunError("E0907", path=str(path), reason=reason) from error


def open_file(path: Path) -> int:
    """A descriptor to read and write a file; it is made if it is not there."""
    with told(path):
        return os.open(path, _FLAGS, 0o644)


def make_folder(path: Path) -> None:
    """Makes a folder and those above it, unless they are there."""
    with told(path):
        missing = [each for each in (path, *path.parents) if not each.exists()]
        for each in reversed(missing):
            with suppress(FileExistsError):
                os.mkdir(each)


def preallocate(path: Path, descriptor: int, size: int) -> None:
    """Takes the room on the disk now, so that a full disk is known before the work."""
    with told(path):
        if hasattr(os, "posix_fallocate") and size:
            try:
                os.posix_fallocate(descriptor, 0, size)
                return
            except OSError as error:
                if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):
                    raise
        os.ftruncate(descriptor, size)


def truncate(path: Path, descriptor: int) -> None:
    """Empties a file."""
    with told(path):
        os.ftruncate(descriptor, 0)


def write(path: Path, descriptor: int, data: memoryview | bytes, at: int) -> None:
    """Writes all of the data at a position."""
    data, done = memoryview(data), 0
    with told(path):
        while done < len(data):
            done += os.pwrite(descriptor, data[done:], at + done)


def append(path: Path, descriptor: int, data: bytes) -> None:
    """Writes all of the data behind the last write."""
    rest = memoryview(data)
    with told(path):
        while rest:
            rest = rest[os.write(descriptor, rest) :]


def put(path: Path, data: bytes) -> None:
    """Writes a small file whole, and syncs it."""
    descriptor = open_file(path)
    try:
        truncate(path, descriptor)
        write(path, descriptor, data, 0)
        sync(path, descriptor)
    finally:
        os.close(descriptor)


def sync(path: Path, descriptor: int) -> None:
    """Waits until what is written of a file lies on the disk."""
    with told(path):
        os.fsync(descriptor)


def sync_path(path: Path) -> None:
    """The same of a file or folder that is not open."""
    with told(path):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def rename(old: Path, new: Path) -> None:
    with told(new):
        os.rename(old, new)


def remove(path: Path) -> None:
    """Removes a file, or a folder with all that is in it; nothing where there is none."""
    with told(path):
        if not path.is_dir() or path.is_symlink():
            with suppress(FileNotFoundError):
                os.unlink(path)
            return
        for each in sorted(path.iterdir()):
            remove(each)
        os.rmdir(path)


_AT_FDCWD, _RENAME_EXCHANGE = -100, 2


def exchange(one: Path, other: Path) -> bool:
    """Swaps two folders in one step. False where the system or file system cannot."""
    try:
        renameat2 = library().renameat2
    except (OSError, AttributeError):
        return False
    paths = os.fsencode(one), os.fsencode(other)
    return not renameat2(_AT_FDCWD, paths[0], _AT_FDCWD, paths[1], _RENAME_EXCHANGE)


_SYNC_FILE_RANGE_WRITE = 2


def start_writeback(descriptor: int) -> None:
    """Starts writing dirty pages of a file; nothing where the system has no call for that."""
    try:
        call = library().sync_file_range
    except (OSError, AttributeError):
        return
    call(descriptor, ctypes.c_int64(0), ctypes.c_int64(0), _SYNC_FILE_RANGE_WRITE)


@cache
def library() -> ctypes.CDLL:
    """The C library, for calls that Python has none of."""
    return ctypes.CDLL(None, use_errno=True)
