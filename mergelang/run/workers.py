"""Threads that take spans of open jobs; which thread takes which changes no byte.

Jobs are opened in the order given, few at a time: those that are open first, so that memory stays
flat and a tensor's blocks are still in the page cache when its next pass comes.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from threading import Condition, Thread
from typing import Any, NamedTuple, Protocol

import numpy as np

from mergelang.errors import Cancelled, MergelangError, RunError


class Load(Protocol):
    """What one job is to memory and disk: bytes that it holds while it is open, and that it writes.
    `Task` of a plan is one."""

    @property
    def holds(self) -> int: ...
    @property
    def nbytes(self) -> int: ...


class Result(NamedTuple):
    """What came of job `number`: its tensor's digest, the passes that it took, how many values of
    the store were damaged and had to be computed, the seconds that its passes took, and the
    numbers that it was asked for."""

    number: int
    digest: str
    passes: int
    dropped: int = 0
    seconds: float = 0.0
    numbers: tuple[Any, ...] = ()


class Work(Protocol):
    """What a worker can do: spans of passes. `Job` is one; copies are another."""

    name: str
    sink: Any
    passes: int
    dropped: int
    seconds: float
    numbers: tuple[Any, ...]

    @property
    def finished(self) -> bool: ...
    def spans(self) -> range: ...
    def run_span(self, machine: Any, number: int) -> None: ...
    def end_pass(self) -> None: ...


class failing:
    """Whatever goes wrong within the work on a tensor is told as that: RunError (E2005)."""

    __slots__ = ("_work",)

    def __init__(self, work: Work):
        self._work = work

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, Exception) and not isinstance(error, MergelangError):
            if type(error).__name__ == "OutOfMemoryError":  # torch's, for which it is not loaded
                raise RunError("E0912", tensor=self._work.name) from error
            reason = f"{type(error).__name__}: {error}".partition("\n")[0]
            raise RunError("E2005", tensor=self._work.name, reason=reason) from error


def finish(number: int, work: Work, machine: Any, turn: Callable[[], None]) -> Result:
    """Does all of a job; calls `turn` before each span."""
    while not work.finished:
        for span in work.spans():
            turn()
            with failing(work):
                work.run_span(machine, span)
        with failing(work):
            work.end_pass()
    return result(number, work)


def result(number: int, work: Work) -> Result:
    """What came of a job that is finished."""
    digest, numbers = work.sink.digest, work.numbers
    return Result(number, digest, work.passes, work.dropped, work.seconds, numbers)


class Control:
    """Pause and cancel, from any thread."""

    def __init__(self) -> None:
        self._changed = Condition()
        self.paused = False
        self.cancelled = False

    def pause(self) -> None:
        self.paused = True

    def resume(self) -> None:
        with self._changed:
            self.paused = False
            self._changed.notify_all()

    def cancel(self) -> None:
        with self._changed:
            self.cancelled = True
            self._changed.notify_all()

    def wait(self) -> None:
        """Returns when not paused; raises Cancelled when cancelled."""
        if self.paused and not self.cancelled:
            with self._changed:
                self._changed.wait_for(lambda: self.cancelled or not self.paused)
        if self.cancelled:
            raise Cancelled("E0906")


class Team:
    """What runs the jobs of an output: `Pool` on threads, `crew.Crew` in processes.

    `loads` says of each job what it holds and writes, `make(number)` opens it, on one of `count`
    workers with a `machine()` of its own; jobs are open together only while what they hold fits
    `budget`. `done(result)` is called once for each, one at a time; `tick()` a few times a second
    from the calling thread.
    """

    processes: tuple[int, ...] = ()

    def __init__(
        self,
        loads: Sequence[Load],
        make: Callable[[int], Work],
        machine: Callable[[], Any],
        count: int,
        done: Callable[[Result], None],
        control: Control,
        budget: int = 0,
        tick: Callable[[], None] = lambda: None,
    ):
        self._loads, self._make, self._machine, self._count = loads, make, machine, count
        self._done, self._control, self._budget, self._tick = done, control, budget, tick

    @property
    def bytes_read(self) -> int:
        """By all workers so far."""
        raise NotImplementedError

    def run(self) -> None:
        """Returns when all jobs are done; raises the first failure of any worker."""
        raise NotImplementedError


class Pool(Team):
    """Runs jobs on threads."""

    def __init__(self, *arguments: Any):
        super().__init__(*arguments)
        self._jobs: Iterator[tuple[int, Load]] = iter(enumerate(self._loads))
        self._held = 0
        self._next: tuple[int, Load] | None = None
        self._opening = False
        self._machines = [self._machine() for _ in range(self._count)]
        self._ready: deque[tuple[Work, int]] = deque()
        self._left: dict[int, int] = {}
        self._open: dict[int, tuple[int, Load]] = {}
        self._exhausted = False
        self._begun = self._ended = 0  # threads
        self._failure: BaseException | None = None
        self._changed = Condition()

    @property
    def bytes_read(self) -> int:
        return sum(machine.bytes_read for machine in self._machines)

    def run(self) -> None:
        try:
            for machine in self._machines:
                Thread(target=self._work, args=(machine,), daemon=True).start()
            while not self._wait(lambda: self._ended == len(self._machines), 0.2):
                self._tick()
        except BaseException as error:  # Ctrl-C: let the threads end their block, then leave.
            self._fail(error)
            self._control.cancel()  # Threads that are held would never end.
            self._wait(lambda: self._ended == self._begun)
        if self._failure is not None:
            raise self._failure

    def _wait(self, holds: Callable[[], bool], seconds: float | None = None) -> bool:
        """Waits for what threads count. `Thread.join` would not do: before Python 3.13 one that an
        interrupt ends takes a running thread for a stopped one."""
        with self._changed:
            return self._changed.wait_for(holds, seconds)

    def _fail(self, error: BaseException) -> None:
        with self._changed:
            self._failure = self._failure or error
            self._changed.notify_all()

    def _work(self, machine: Any) -> None:
        with self._changed:
            self._begun += 1
        try:
            while (item := self._take()) is not None:
                self._control.wait()
                work, number = item
                with failing(work), np.errstate(all="ignore"):  # we look for it ourselves
                    work.run_span(machine, number)
                self._end_span(work)
        except BaseException as error:
            self._fail(error)
        finally:
            with self._changed:
                self._ended += 1
                self._changed.notify_all()

    def _take(self) -> tuple[Work, int] | None:
        """The next span: of an open job if there is one, else of the next job."""
        while True:
            with self._changed:
                if self._failure is not None:
                    return None
                if self._ready:
                    return self._ready.popleft()
                job = self._admit()
                if job is None:
                    if self._exhausted and not self._left and not self._opening:
                        self._changed.notify_all()
                        return None
                    self._changed.wait()
                    continue
                self._opening = True
            work = self._make(job[0])
            with self._changed:
                self._opening = False
                self._open[id(work)] = job
                self._enqueue(work)

    def _admit(self) -> tuple[int, Load] | None:
        """The next job, if one may be opened now."""
        if self._opening:
            return None
        if self._next is None and not self._exhausted:
            self._next = next(self._jobs, None)
            self._exhausted = self._next is None
        if self._next is None or (
            self._left and self._held + self._next[1].holds > self._budget
        ):
            return None
        job, self._next = self._next, None
        self._held += job[1].holds
        return job

    def _enqueue(self, work: Work) -> None:
        spans = work.spans()
        self._left[id(work)] = len(spans)
        self._ready.extend((work, number) for number in spans)
        self._changed.notify_all()

    def _end_span(self, work: Work) -> None:
        with self._changed:
            self._left[id(work)] -= 1
            if self._left[id(work)]:
                return
        with failing(work), np.errstate(all="ignore"):
            work.end_pass()
        if work.finished:
            with self._changed:
                number, load = self._open.pop(id(work))
                self._done(result(number, work))
                del self._left[id(work)]
                self._held -= load.holds
                self._changed.notify_all()
        else:
            with self._changed:
                self._enqueue(work)
