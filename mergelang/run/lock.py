"""One run at a time for each output: a lock that ends with the processes that hold it.

The lock is held on a file within `NAME.partial`, which names the process. Worker processes hold it
too, so that no run begins while those of a killed one still write.
"""

import os
import time
from contextlib import suppress
from pathlib import Path

from mergelang.errors import RunError
from mergelang.run import disk

try:
    import fcntl
except ImportError:  # no such locks here
    fcntl = None  # type: ignore[assignment]

FILE = "lock"

ORPHANS = 10.0
"""Seconds to wait for workers whose run is gone."""


def acquire(folder: Path) -> int | None:
    """Takes the lock of a partial folder, which is made if it is not there; gives a descriptor.

    Raises RunError (E2002) while another process has it. None where there are no such locks.
    """
    began = time.monotonic()
    while True:
        disk.make_folder(folder)
        path = folder / FILE
        try:
            descriptor = disk.open_file(path)
        except RunError:
            if folder.exists():
                raise
            continue  # the run that had it has just ended and tidied up
        if fcntl is None:
            os.close(descriptor)
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_at(descriptor, path):
                _sign(path, descriptor)
                return descriptor
            os.close(descriptor)
        except BlockingIOError:
            holder = os.pread(descriptor, 20, 0).decode(errors="replace").strip()
            os.close(descriptor)
            if _runs(holder) or time.monotonic() - began > ORPHANS:
                name = folder.name.removesuffix(".partial")
                raise RunError("E2002", output=name, process=holder or "?") from None
            time.sleep(0.02)


def _sign(path: Path, descriptor: int) -> None:
    """Writes our process into the lock; without that, as on a full disk, it is given up."""
    try:
        disk.truncate(path, descriptor)
        disk.write(path, descriptor, f"{os.getpid()}\n".encode(), 0)
    except RunError:
        os.close(descriptor)
        with suppress(OSError):
            os.unlink(path)
            os.rmdir(path.parent)
        raise


def release(descriptor: int | None) -> None:
    if descriptor is not None:
        os.close(descriptor)


def _is_at(descriptor: int, path: Path) -> bool:
    """Whether the file is still the one at this path: the one that had it may have tidied up."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except OSError:
        return False


def _runs(process: str) -> bool:
    try:
        os.kill(int(process), 0)
        return True
    except PermissionError:
        return True
    except (ValueError, OverflowError, ProcessLookupError):
        return False
