"""Whole processes, timed and weighed."""

import os
import select
import shlex
import statistics
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path


def timed(command: list[str]) -> float:
    """Seconds of wall time; a failure of the process is ours."""
    return weighed(command, 0)[0]


def weighed(command: list[str], every: float = 0.05) -> tuple[float, int]:
    """Seconds, and the most bytes of memory of the process and its children together, each page
    counted once; looked at `every` so many seconds."""
    start = time.perf_counter()
    child = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=installed()
    )
    ended = os.pidfd_open(child.pid)  # is told at once; `Popen.wait` looks every 50 ms
    peak = 0
    while not select.select([ended], [], [], every or None)[0]:
        peak = max(peak, sum(map(_share, family(child.pid))))
    seconds = time.perf_counter() - start
    os.close(ended)
    said = child.communicate()[1]
    if child.returncode:
        raise SystemExit(f"{shlex.join(command)} failed:\n{said.decode()}")
    return seconds, peak


def installed() -> dict[str, str]:
    """The environment for a process: one that may keep the bytecode of what it imports, as what is
    installed has it. To compile ours takes 0.15 s."""
    return {name: each for name, each in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def family(process: int) -> list[int]:
    """A process and all below it."""
    found = [process]
    for each in found:
        try:
            with open(f"/proc/{each}/task/{each}/children") as file:
                found += map(int, file.read().split())
        except OSError:
            continue
    return found


def _share(process: int) -> int:
    try:
        with open(f"/proc/{process}/smaps_rollup") as file:
            return sum(int(line.split()[1]) << 10 for line in file if line.startswith("Pss:"))
    except OSError:
        return 0


def warm(paths: Iterable[Path]) -> None:
    """Brings files into the page cache as reading does. What is there from writing, or was fetched
    ahead, may lie in smaller pieces, which take longer to read."""
    paths = list(paths)
    cold(paths)
    for path in paths:
        with open(path, "rb", buffering=0) as file:
            while file.read(1 << 24):
                pass


def cold(paths: Iterable[Path]) -> None:
    """Takes files out of the page cache."""
    for path in paths:
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


def summary(samples: list[float]) -> str:
    """The median, and the smallest and largest."""
    middle = statistics.median(samples)
    return f"{middle:.2f} ({min(samples):.2f}..{max(samples):.2f})"
