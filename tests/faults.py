"""A disk on which any call can fail, and one that loses what was not synced, for the tests.

Stands for the module `os` within `mergelang.run.disk`, through which a run does all that it does to
an output: each call that changes something counts.
"""

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

CALLS = {
    "open", "mkdir", "posix_fallocate", "ftruncate", "pwrite", "write", "fsync",
    "rename", "unlink", "rmdir",
}  # fmt: skip


class PowerCut(BaseException):
    """Nothing that comes after this reaches the disk."""


class Disk:
    """`os`, with the `at`-th call that changes something (from 1) done by `fault` instead.

    `fault(name, call)` gets the name and the call itself, ready to be made. `count` counts.
    """

    def __init__(self, at: int, fault: Callable[[str, Callable[..., Any]], Any]):
        self.at, self.fault, self.count = at, fault, 0

    def __getattr__(self, name: str) -> Any:
        real = getattr(os, name)
        if name not in CALLS:
            return real

        def call(*arguments: Any, **options: Any) -> Any:
            if name == "open" and not arguments[1] & os.O_CREAT:
                return real(*arguments, **options)
            self.count += 1
            if self.count == self.at:
                return self.fault(name, lambda: self.do(name, real, *arguments, **options))
            return self.do(name, real, *arguments, **options)

        return call

    def do(self, name: str, real: Any, *arguments: Any, **options: Any) -> Any:
        return real(*arguments, **options)


def failing(code: int) -> Callable[[str, Callable[..., Any]], Any]:
    """A fault that is an error."""

    def fault(name: str, call: Callable[..., Any]) -> Any:
        raise OSError(code, os.strerror(code))

    return fault


class Full(Disk):
    """From the `at`-th call on nothing more can be written."""

    def __init__(self, at: int):
        super().__init__(at, failing(errno.ENOSPC))

    def do(self, name: str, real: Any, *arguments: Any, **options: Any) -> Any:
        grows = name in ("open", "mkdir", "posix_fallocate", "pwrite", "write")
        if self.count > self.at and grows:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(*arguments, **options)


class Short(Disk):
    """The `at`-th call, if it writes, writes one byte."""

    def __init__(self, at: int):
        super().__init__(at, lambda name, call: call())

    def do(self, name: str, real: Any, *arguments: Any, **options: Any) -> Any:
        if self.count == self.at and name in ("pwrite", "write"):
            descriptor, data, *rest = arguments
            return real(descriptor, memoryview(data)[:1], *rest)
        return real(*arguments, **options)


class Volatile(Disk):
    """A disk that loses at the `at`-th call all that was not synced, below `folder`.

    The strictest one that there is: a file holds what it held at its last sync, nothing without
    one; a folder has the entries that it had at its own.
    """

    def __init__(self, at: int, folder: Path):
        super().__init__(at, self._cut)
        self.folder = folder
        self._data: dict[int, bytes] = {}
        self._entries: dict[int, dict[str, int]] = {}
        self._kinds: dict[int, bool] = {}
        self.over = False
        for path in [folder, *folder.rglob("*")]:
            self._sync(path)

    def do(self, name: str, real: Any, *arguments: Any, **options: Any) -> Any:
        if self.over:
            raise PowerCut
        there = name == "open" and os.path.lexists(arguments[0])
        done = real(*arguments, **options)
        if name == "fsync":
            self._sync(Path(os.readlink(f"/proc/self/fd/{arguments[0]}")))
        elif name == "open" and not there:
            self._new(os.fstat(done).st_ino, False)
        elif name == "mkdir":
            self._new(os.stat(arguments[0]).st_ino, True)
        return done

    def _cut(self, name: str, call: Callable[..., Any]) -> Any:
        self.over = True
        raise PowerCut

    def _new(self, inode: int, is_folder: bool) -> None:
        self._kinds[inode] = is_folder
        self._data.pop(inode, None)
        self._entries.pop(inode, None)

    def _sync(self, path: Path) -> None:
        inode = os.stat(path).st_ino
        self._kinds[inode] = path.is_dir()
        if path.is_dir():
            self._entries[inode] = {each.name: each.stat().st_ino for each in path.iterdir()}
        else:
            self._data[inode] = path.read_bytes()

    def restart(self) -> None:
        """Puts the folder as the disk has it."""
        tree = self._tree(os.stat(self.folder).st_ino)
        for each in self.folder.iterdir():
            shutil.rmtree(each) if each.is_dir() else each.unlink()
        self._write(self.folder, tree)

    def _tree(self, inode: int) -> Any:
        if not self._kinds.get(inode):
            return self._data.get(inode, b"")
        return {name: self._tree(each) for name, each in self._entries.get(inode, {}).items()}

    def _write(self, path: Path, tree: Any) -> None:
        for name, each in tree.items():
            if isinstance(each, bytes):
                (path / name).write_bytes(each)
            else:
                (path / name).mkdir()
                self._write(path / name, each)
