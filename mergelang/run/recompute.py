"""Tensors of an output computed again, against the bytes that are there; nothing is written."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from queue import SimpleQueue

from mergelang.ops.expr import Extent
from mergelang.plan.plan import COMPUTE, Plan, Task
from mergelang.run.copies import Copy
from mergelang.run.job import Job
from mergelang.run.machine import Files, Machine

BLOCK = 1 << 17
"""Elements of a block; it changes no byte."""


class Against:
    """Takes the bytes of a tensor and looks whether those at `extent` are the same."""

    def __init__(self, extent: Extent, files: Files):
        self._extent, self._files = extent, files
        self.nbytes = extent.type.nbytes
        self.same = True

    def open_span(self, first_byte: int, store: bool = True) -> Callable[[memoryview], None]:
        at = first_byte

        def write(data: memoryview) -> None:
            nonlocal at
            there = bytearray(len(data))
            self._files.read(self._extent.path, self._extent.offset + at, memoryview(there))
            self.same = self.same and there == data
            at += len(data)

        return write

    def copy_from(self, source: int, offset: int, first: int, last: int) -> bool:
        return False


def recompute(
    plan: Plan, tasks: Sequence[tuple[Task, Extent]], threads: int | None = None
) -> Iterator[tuple[Task, bool]]:
    """Computes tensors from their sources; gives each with whether the bytes at its extent are so.

    As a run does it, so NaN and infinity are let through here: whether they may be there was said
    then. Tensors that have to be held whole are computed one at a time. Raises RunError.
    """
    for task in plan.preparations:
        import_module("mergelang.run.prepare").prepare(task, plan.checkpoints)
    count = threads or os.cpu_count() or 1
    if any(task.holds > 1 << 28 for task, _ in tasks):
        count = 1
    files = Files()
    machines: SimpleQueue[Machine] = SimpleQueue()
    for _ in range(count):
        machines.put(Machine(max(BLOCK, plan.rows), files))

    def one(item: tuple[Task, Extent]) -> tuple[Task, bool]:
        task, extent = item
        sink = Against(extent, files)
        if extent.type != task.type:
            return task, False
        machine = machines.get()
        try:
            work = _work(task, sink, files)
            while not work.finished:
                for number in work.spans():
                    work.run_span(machine, number)
                work.end_pass()
        finally:
            machines.put(machine)
        return task, sink.same

    try:
        with ThreadPoolExecutor(count) as pool:
            yield from pool.map(one, tasks)
    finally:
        files.close()


def _work(task: Task, sink: Against, files: Files) -> Job | Copy:
    if task.action == COMPUTE:
        return Job(
            task.name, task.root, task.type, sink, block=BLOCK, files=files,
            binding=task.binding, allow_nonfinite=True,
        )  # fmt: skip
    return Copy(task.name, task.sources, sink, files=files, allow_nonfinite=True)
