"""Runs a plan: feeds the workers, writes each output folder, tells what happens."""

import os
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock
from typing import Any, Protocol

from mergelang.errors import MergelangError
from mergelang.plan.memory import BUFFERS, check_memory
from mergelang.plan.origin import Seal
from mergelang.plan.plan import COMPUTE, PROCESS, OutputPlan, Plan
from mergelang.run import events
from mergelang.run.copies import Copy
from mergelang.run.crew import Crew, can_fork
from mergelang.run.job import Job
from mergelang.run.machine import Files, Machine
from mergelang.run.reduce import UNIT
from mergelang.run.workers import Control, Pool, Result, Work
from mergelang.run.writer import Folder
from mergelang.wording import message

BLOCK = {Crew: 1 << 17, Pool: 1 << 18}
"""Elements of a block. Smaller ones stay in a core's own cache, which is what processes gain by;
threads lose more by what they wait for the interpreter's lock between steps."""


class Recorder(Protocol):
    """What is said about a finished output; either may refuse it by raising, before it is there."""

    def seal(self, output: OutputPlan, digests: Mapping[str, str]) -> Seal:
        """All digests of it, those of its tensors given. Runs while the data goes to the disk."""

    def documents(
        self, output: OutputPlan, seal: Seal, folder: Path, files: Mapping[str, int]
    ) -> Mapping[str, bytes]:
        """Files about it, of a folder that is complete but for them. `files`: names and sizes."""


class Digests:
    """The recorder of a run that says nothing but what the tensors are."""

    def seal(self, output: OutputPlan, digests: Mapping[str, str]) -> Seal:
        return Seal(digests)

    def documents(self, *facts: Any) -> Mapping[str, bytes]:
        return {}


def execute(
    plan: Plan,
    *,
    memory: int | None = None,
    threads: int | None = None,
    processes: bool | None = None,
    block: int | None = None,
    allow_nonfinite: bool = False,
    listener: events.Listener | None = None,
    control: Control | None = None,
    recorder: Recorder | None = None,
) -> None:
    """Writes every output of the plan.

    `memory` bounds the resident size of the process in bytes (default 1 GiB); `threads` is by
    default the number of usable cores, and are `processes` of their own where those can be forked;
    `block` (elements, a multiple of 16,384) is chosen to fit.
    None of them changes a byte. Raises RunError or Cancelled; an output is then either whole or as
    it was before.
    """
    memory = check_memory(plan, memory)
    threads = threads or usable_cores()
    team = Crew if threads > 1 and (can_fork() if processes is None else processes) else Pool
    block = block or _block(plan, memory, threads, BLOCK[team])
    run = _Run(
        plan, memory, block, team, threads, listener or (lambda event: None), control or Control()
    )
    run.tell(
        events.RunStarted(
            tuple(output.destination.text for output in plan.outputs),
            sum(len(output.tasks) for output in plan.outputs),
            plan.bytes_read, plan.bytes_written, threads,
        )
    )  # fmt: skip
    files = Files()
    try:
        for output in plan.outputs:
            run.output(output, files, allow_nonfinite, recorder or Digests())
        read, seconds = run.bytes_read, run.seconds
        run.tell(events.RunDone(read, run.bytes_written, seconds, resident()))
    except MergelangError as error:
        first = error.diagnostics[0]
        run.tell(events.RunFailed(first.code, message(first)))
        raise
    except KeyboardInterrupt:
        run.tell(events.RunFailed("E0906", "interrupted"))
        raise
    finally:
        files.close()


class _Run:
    """The state of one run that its outputs share."""

    def __init__(
        self, plan: Plan, memory: int, block: int, team: type[Pool] | type[Crew], threads: int,
        listener: events.Listener, control: Control,
    ):  # fmt: skip
        self.plan, self.memory, self.block = plan, memory, block
        self._team, self._threads = team, threads
        self._listener, self.control = listener, control
        self._telling = Lock()
        self._workers: Pool | Crew | None = None
        self._memory = resident()
        self._read = 0  # by the workers of outputs that are done
        self.bytes_written = 0
        self._start = time.monotonic()

    def tell(self, event: events.Event) -> None:
        """Tells an event; they come from several threads, and are told one at a time."""
        with self._telling:
            self._listener(event)

    @property
    def seconds(self) -> float:
        return round(time.monotonic() - self._start, 3)

    @property
    def bytes_read(self) -> int:
        return self._read + (self._workers.bytes_read if self._workers else 0)

    def output(
        self, output: OutputPlan, files: Files, allow_nonfinite: bool, recorder: Recorder
    ) -> None:
        began = self.seconds
        name, total = output.destination.text, output.bytes_written
        self.tell(events.OutputStarted(name, str(output.path), len(output.tasks), total))
        folder = Folder(output.path, output.shards)
        digests: dict[str, str] = {}

        def done(made: Result) -> None:
            task = output.tasks[made.number]
            digests[task.name] = made.digest
            self.bytes_written += task.nbytes
            self.tell(
                events.TensorDone(
                    name, task.name, task.action, task.nbytes, made.passes, made.digest
                )
            )
            self.progress()

        try:
            folder.open()
            budget = max(0, self.memory - PROCESS)

            def tick() -> None:
                folder.start_writeback()
                self.measure()
                self.progress()

            self._workers = self._team(
                output.tasks,
                lambda number: self._job(output, number, folder, files, allow_nonfinite),
                lambda: Machine(max(self.block, self.plan.rows), files),
                self._threads, done, self.control, budget, tick,
            )  # fmt: skip
            self._workers.run()
            self._read, self._workers = self.bytes_read, None
            digests = {task.name: digests[task.name] for task in output.tasks}
            with ThreadPoolExecutor(1) as beside:
                syncing = beside.submit(folder.sync_data)
                seal = recorder.seal(output, digests)
                syncing.result()
            folder.write_headers(seal)
            folder.add(output.documents, output.sidecars)
            folder.add(recorder.documents(output, seal, folder.partial, folder.files()))
            folder.publish()
        except BaseException:
            folder.discard()
            raise
        self.tell(events.OutputDone(name, str(output.path), total, round(self.seconds - began, 3)))

    def progress(self) -> None:
        self.tell(
            events.Progress(self.bytes_read, self.bytes_written, self.seconds, self._memory)
        )

    def measure(self) -> None:
        """Looks at what the run takes of memory; a look takes a millisecond a process."""
        self._memory = resident(*(self._workers.processes if self._workers else ()))

    def _job(
        self, output: OutputPlan, number: int, folder: Folder, files: Files, allow_nonfinite: bool
    ) -> Work:
        task = output.tasks[number]
        sink = folder.tensor(task.name)
        if task.action == COMPUTE:
            return Job(
                task.name, task.root, task.type, sink, block=self.block, files=files,
                binding=task.binding, allow_nonfinite=allow_nonfinite,
            )  # fmt: skip
        return Copy(task.name, task.sources, sink, files=files, allow_nonfinite=allow_nonfinite)


def usable_cores() -> int:
    """Cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _block(plan: Plan, memory: int, threads: int, block: int) -> int:
    """The block size that fits, at most `block`."""
    room = (memory - PROCESS - plan.holds) // max(1, threads)
    while block > UNIT and block * BUFFERS > room:
        block //= 2
    return block


def resident(*workers: int) -> int:
    """Bytes that this process takes of memory, and its workers on top of what they share with it;
    0 where the system does not say."""
    try:
        with open("/proc/self/statm") as file:
            ours = int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        return ours + sum(map(_private, workers))
    except OSError:
        return 0


def _private(process: int) -> int:
    with open(f"/proc/{process}/smaps_rollup") as file:
        return sum(int(line.split()[1]) << 10 for line in file if line.startswith("Private"))
