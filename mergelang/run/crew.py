"""Worker processes: forked once the plan is made, so that they share it and what is loaded, and not
the interpreter's lock. Which of them takes which tensor changes no byte.

A process takes tensors a chunk at a time, the largest first, and tells what it made; all that is
written besides tensors, and all that is told, stays with the parent. Nothing else is shared but the
open files and one page of numbers: the state of the run, and what each has read so far.
"""

import gc
import mmap
import os
import pickle
import signal
import sys
import threading
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection, Pipe, wait
from typing import Any

import numpy as np

from mergelang.errors import Cancelled, RunError
from mergelang.run.workers import Load, Team, finish

CHUNK = 1 << 24
"""Bytes of output that a process takes at a time, unless one tensor is larger."""

LEAST = 1 << 16
"""Bytes that a tensor counts as at least: the work on one of fewer is that of any tensor."""

RUNNING, PAUSED, ENDED = range(3)


def can_fork() -> bool:
    """Whether processes may be forked: on Linux, and while no other thread holds what they need."""
    return sys.platform == "linux" and threading.active_count() == 1


class Crew(Team):
    """Runs jobs in forked processes."""

    def __init__(self, *arguments: Any):
        super().__init__(*arguments)
        self._chunks = _chunks(self._loads)
        self._count = min(self._count, len(self._chunks))
        self._page = np.frombuffer(mmap.mmap(-1, 8 * (1 + self._count)), dtype=np.uint64)
        self._given: dict[Connection, list[tuple[int, ...]]] = {}
        self._processes: dict[Connection, int] = {}

    @property
    def bytes_read(self) -> int:
        return int(self._page[1:].sum())

    @property
    def processes(self) -> tuple[int, ...]:
        """Their process numbers, while they run."""
        return tuple(self._processes.values())

    def run(self) -> None:
        gc.freeze()  # what is shared stays shared: a collection would write to all of it
        try:
            self._follow()  # else what is held from the start would begin all the same
            for number in range(self._count):
                self._start(number)
            for _ in range(2):  # one to work on, one that waits for it
                for each in list(self._processes):
                    self._give(each)
            last = time.monotonic()
            while self._chunks or any(self._given.values()):
                self._follow()
                for each in wait(list(self._processes), 0.2):
                    self._receive(each)
                if time.monotonic() - last > 0.2:
                    last = time.monotonic()
                    self._tick()
        finally:
            gc.unfreeze()
            self._page[0] = ENDED
            for each in self._processes:
                each.close()
            for process in self._processes.values():
                os.waitpid(process, 0)
            self._processes.clear()

    def _follow(self) -> None:
        """Passes on what `control` says."""
        if self._control.cancelled:
            raise Cancelled("E0906")
        self._page[0] = PAUSED if self._control.paused else RUNNING

    def _start(self, number: int) -> None:
        ours, theirs = Pipe()
        family = os.getpid()  # asked here: the parent of a worker may be gone before it asks
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        process = os.fork()
        if process:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
            theirs.close()
            self._processes[ours] = process
            self._given[ours] = []
            return
        status = 1
        try:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            for each in (ours, *self._processes):
                each.close()
            self._serve(theirs, number, family)
            status = 0
        finally:
            os._exit(status)

    def _serve(self, parent: Connection, number: int, family: int) -> None:
        """What a process does until its parent, of the number `family`, has no more for it."""
        machine = self._machine()

        def turn() -> None:
            self._page[1 + number] = machine.bytes_read
            while self._page[0] == PAUSED and os.getppid() == family:
                time.sleep(0.05)
            if self._page[0] == ENDED or os.getppid() != family:
                os._exit(0)

        try:
            while True:
                chunk = parent.recv()
                with np.errstate(all="ignore"):  # what is not finite is looked for where it counts
                    made = [finish(i, self._make(i), machine, turn) for i in chunk]
                turn()
                parent.send(made)
        except (EOFError, BrokenPipeError, ConnectionResetError):
            return
        except BaseException as error:
            parent.send(_portable(error))

    def _give(self, to: Connection) -> None:
        """The next chunk, if what it holds in memory fits beside what the others hold."""
        if not self._chunks:
            return
        held = [self._holds(each) for chunks in self._given.values() for each in chunks]
        if held and sum(held) + self._holds(self._chunks[0]) > self._budget:
            return
        chunk = self._chunks.pop(0)
        self._given[to].append(chunk)
        try:
            to.send(chunk)
        except (BrokenPipeError, ConnectionResetError):  # it has ended: what it said last is why
            self._receive(to)

    def _holds(self, chunk: tuple[int, ...]) -> int:
        return max(self._loads[i].holds for i in chunk)

    def _receive(self, sender: Connection) -> None:
        try:
            made = sender.recv()
        except (EOFError, ConnectionResetError) as error:
            raise RunError("E0910", process=self._processes[sender]) from error
        if isinstance(made, BaseException):
            raise made
        self._given[sender].pop(0)
        for each in made:
            self._done(each)
            self._follow()
        for each in sorted(self._given, key=lambda each: len(self._given[each])):
            if len(self._given[each]) < 2:
                self._give(each)


def _chunks(loads: Sequence[Load]) -> list[tuple[int, ...]]:
    """Neighbouring jobs together up to CHUNK bytes; the largest first, else in their order."""
    chunks: list[list[int]] = []
    filled = 0
    for i, load in enumerate(loads):
        counts = max(LEAST, load.nbytes)
        if not chunks or filled + counts > CHUNK:
            chunks.append([])
            filled = 0
        chunks[-1].append(i)
        filled += counts
    size = {id(chunk): sum(loads[i].nbytes for i in chunk) for chunk in chunks}
    return [tuple(each) for each in sorted(chunks, key=lambda c: -max(CHUNK, size[id(c)]))]


def _portable(error: BaseException) -> BaseException:
    """The error if it can be sent to the parent, else one that says the same."""
    try:
        pickle.loads(pickle.dumps(error))
        return error
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
