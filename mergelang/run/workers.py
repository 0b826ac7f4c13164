"""Threads that take spans of open jobs; which thread takes which changes no byte.

Jobs are opened in the order given, few at a time: those that are open first, so that memory stays
flat and a tensor's blocks are still in the page cache when its next pass comes.
"""

from collections import deque
from collections.abc import Callable, Iterator
from threading import Condition, Thread
from typing import Any, Protocol

import torch

from mergelang.errors import Cancelled


class Work(Protocol):
    """What a worker can do: spans of passes. `Job` is one; copies are another."""

    @property
    def finished(self) -> bool: ...
    def spans(self) -> range: ...
    def run_span(self, machine: Any, number: int) -> None: ...
    def end_pass(self) -> None: ...


class Control:
    """Pause and cancel, from any thread."""

    def __init__(self) -> None:
        self._changed = Condition()
        self._paused = False
        self.cancelled = False

    def pause(self) -> None:
        self._paused = True

    def resume(self) -> None:
        with self._changed:
            self._paused = False
            self._changed.notify_all()

    def cancel(self) -> None:
        with self._changed:
            self.cancelled = True
            self._changed.notify_all()

    def wait(self) -> None:
        """Returns when not paused; raises Cancelled when cancelled."""
        if self._paused and not self.cancelled:
            with self._changed:
                self._changed.wait_for(lambda: self.cancelled or not self._paused)
        if self.cancelled:
            raise Cancelled("E0906")


class Pool:
    """Runs jobs from an iterator on `threads` threads. `done(job)` is called once for each."""

    def __init__(
        self,
        jobs: Iterator[Callable[[], Work]],
        machines: list[Any],
        done: Callable[[Work], None],
        control: Control,
    ):
        self._jobs = jobs
        self._done = done
        self._control = control
        self._machines = machines
        self._ready: deque[tuple[Work, int]] = deque()
        self._left: dict[int, int] = {}
        self._open = 0
        self._exhausted = False
        self._failure: BaseException | None = None
        self._changed = Condition()

    def run(self) -> None:
        """Returns when all jobs are done; raises the first failure of any thread."""
        threads = [Thread(target=self._work, args=(m,), daemon=True) for m in self._machines]
        for thread in threads:
            thread.start()
        try:
            for thread in threads:
                while thread.is_alive():
                    thread.join(0.2)
        except BaseException as error:  # Ctrl-C: let the threads end their block, then leave.
            self._fail(error)
            for thread in threads:
                thread.join()
        if self._failure is not None:
            raise self._failure

    def _fail(self, error: BaseException) -> None:
        with self._changed:
            self._failure = self._failure or error
            self._changed.notify_all()

    def _work(self, machine: Any) -> None:
        torch.set_num_threads(1)
        try:
            while (item := self._take()) is not None:
                self._control.wait()
                work, number = item
                work.run_span(machine, number)
                self._end_span(work)
        except BaseException as error:
            self._fail(error)

    def _take(self) -> tuple[Work, int] | None:
        with self._changed:
            while self._failure is None:
                if self._ready:
                    return self._ready.popleft()
                if not self._exhausted:
                    make = next(self._jobs, None)
                    if make is None:
                        self._exhausted = True
                        continue
                    self._open += 1
                    self._enqueue(make())
                    continue
                if not self._open:
                    self._changed.notify_all()
                    return None
                self._changed.wait()
            return None

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
        work.end_pass()
        if work.finished:
            self._done(work)
            with self._changed:
                del self._left[id(work)]
                self._open -= 1
                self._changed.notify_all()
        else:
            with self._changed:
                self._enqueue(work)
