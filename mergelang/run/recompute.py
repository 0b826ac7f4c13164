"""Tensors of an output computed again, against the bytes that are there; no output is written."""

from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from tempfile import gettempdir

from mergelang.ops.expr import Extent
from mergelang.plan.memory import BUFFERS, check_memory
from mergelang.plan.plan import COMPUTE, PROCESS, Plan, Task
from mergelang.run.copies import Copy
from mergelang.run.execute import usable_cores
from mergelang.run.job import Job
from mergelang.run.machine import Files, Machine
from mergelang.run.workers import Control, Pool, Result, Work
from mergelang.store.blobs import Blobs

BLOCK = 1 << 17
"""Elements of a block; it changes no byte."""


class Against:
    """Takes the bytes of a tensor and looks whether those at `extent` are the same."""

    digest = ""

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


def recompute(
    plan: Plan, tasks: Sequence[tuple[Task, Extent]], told: Callable[[Task, bool], None],
    threads: int | None = None,
) -> None:  # fmt: skip
    """Computes tensors from their sources; tells each, and whether the bytes at its extent are so.

    As a run does it, within the memory that the plan is made for, but NaN and infinity are let
    through here: whether they may be there was said then. What has to wait on the disk does so
    among temporary files. Raises RunError; E0908 for too little memory.
    """
    budget = check_memory(plan) - PROCESS
    block = max(BLOCK, plan.rows)
    count = max(1, min(threads or usable_cores(), (budget - plan.holds) // (block * BUFFERS)))
    files = Files()
    alike = [(task, extent) for task, extent in tasks if extent.type == task.type]
    sinks: dict[int, Against] = {}

    def make(number: int) -> Work:
        task, extent = alike[number]
        sinks[number] = Against(extent, files)
        return _work(task, sinks[number], files)

    def done(made: Result) -> None:
        told(alike[made.number][0], sinks.pop(made.number).same)

    try:
        for each in plan.preparations:
            module = import_module("mergelang.run.prepare")
            module.prepare(each, plan.checkpoints, Blobs(), files)
        for task, extent in tasks:
            if extent.type != task.type:
                told(task, False)
        loads = [task for task, _ in alike]
        Pool(
            loads, make, lambda: Machine(block, files), count, done, Control(), max(0, budget)
        ).run()
    finally:
        files.close()


def _work(task: Task, sink: Against, files: Files) -> Job | Copy:
    if task.action == COMPUTE:
        return Job(
            task.name, task.root, task.type, sink, block=BLOCK, files=files,
            binding=task.binding, allow_nonfinite=True, rows=task.rows,
            spill=Path(gettempdir()) if task.spills else None,
        )  # fmt: skip
    return Copy(task.name, task.sources, sink, files=files, allow_nonfinite=True)
