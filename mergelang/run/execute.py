"""Runs a plan: chooses its workers, writes output by output, tells what happens."""

import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

from mergelang.check.program import Program
from mergelang.errors import MergelangError, UsageError
from mergelang.plan.memory import BUFFERS, check_memory, with_memory
from mergelang.plan.origin import exact_text
from mergelang.plan.plan import PROCESS, Plan, Task
from mergelang.plan.prepare import published
from mergelang.run import events
from mergelang.run.compiler import library
from mergelang.run.crew import Crew, can_fork
from mergelang.run.device import LARGEST, THREADS
from mergelang.run.machine import Files, Machine
from mergelang.run.output import Digests, Recorder, write
from mergelang.run.reduce import UNIT
from mergelang.run.workers import Control, Pool, Result, Team, Work
from mergelang.store.blobs import Blobs
from mergelang.tensors import Extent
from mergelang.wording import message

BLOCK = {Crew: 1 << 17, Pool: 1 << 18}
"""Elements of a block. Smaller ones stay in a core's own cache, which is what processes gain by;
threads lose more by what they wait for the interpreter's lock between steps."""

LOOK = 0.5
"""Seconds after which it is looked again at what a run takes of memory."""


def execute(
    plan: Plan,
    *,
    memory: int | None = None,
    threads: int | None = None,
    processes: bool | None = None,
    block: int | None = None,
    fresh: bool = False,
    allow_nonfinite: bool = False,
    listener: events.Listener | None = None,
    control: Control | None = None,
    recorder: Recorder | None = None,
    device: Any = None,
) -> None:
    """Writes every output of the plan.

    `memory` bounds the resident size of the process in bytes (default 1 GiB); `threads` is by
    default the number of usable cores, and are `processes` of their own where those can be forked;
    `block` (elements, a multiple of 16,384) is chosen to fit.
    None of them changes a byte. What an interrupted run has done is taken over, unless `fresh`.
    With a `device` (`run.device`), that of which the plan has the arithmetic, tensors are computed
    there: the workers are threads, and `block` is that of the device.
    Raises RunError or Cancelled; an output is then either whole or as it was before.
    """
    if device is not None and processes:
        raise UsageError("E1014", one="processes", other="device")
    if plan.graph.program.arith != (device and device.arith):
        raise ValueError("the plan is for another device: see Recipe.on")
    if memory is not None or plan.memory is None:
        plan = with_memory(plan, memory)
    workers = _workers(plan, check_memory(plan), threads, processes, block, device)
    run = Run(plan, workers, listener or (lambda event: None), control or Control())
    run.tell(
        events.RunStarted(
            tuple(output.destination.text for output in plan.outputs),
            sum(len(output.tasks) for output in plan.outputs),
            plan.bytes_read, plan.bytes_written, workers.count,
            tuple(str(output.path.absolute()) for output in plan.outputs),
            *asked(plan.graph.program),
        )
    )  # fmt: skip
    files = Files()
    try:
        library()  # is built now where it has to be, once for all workers
        run.prepare(files)
        for output in plan.outputs:
            if output.current:
                run.tell(events.UpToDate(output.destination.text, str(output.path)))
                continue
            write(run, output, files, recorder or Digests(), fresh, allow_nonfinite)
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
        with suppress(MergelangError, OSError):
            published((output.node for output in plan.outputs), plan.checkpoints)


class Workers(NamedTuple):
    """How a run computes: on `count` workers of a `team`, each with a `machine`, in blocks of so
    many elements; jobs are open together while what they hold fits into `budget` bytes."""

    team: type[Team]
    count: int
    block: int
    machine: Callable[[Files], Any]
    budget: int
    device: Any = None


def _workers(
    plan: Plan, memory: int, threads: int | None, processes: bool | None, block: int | None,
    device: Any,
) -> Workers:  # fmt: skip
    """What suits the memory and what is asked for."""
    if device is None:
        threads = threads or usable_cores()
        team = Crew if threads > 1 and (can_fork() if processes is None else processes) else Pool
    else:
        threads, team = threads or min(usable_cores(), THREADS), Pool
    room = (memory - PROCESS - plan.holds) // threads
    small = _block(room, BLOCK[team]) if device or not block else block
    if device is not None:
        block = block or _block(device.room(room * threads) // threads, LARGEST)

    def machine(files: Files) -> Any:
        host = Machine(max(small, plan.rows), files)
        if device is None:
            return host
        module = import_module("mergelang.run.device.machine")
        return module.DeviceMachine(max(block, plan.rows), host, device, room)

    return Workers(team, threads, block or small, machine, max(0, memory - PROCESS), device)


class Run:
    """What the outputs of one run share: the plan, the workers, what is told.

    `written` are the digests of the tensors of outputs that are done, by where they lie.
    """

    def __init__(
        self, plan: Plan, workers: Workers, listener: events.Listener, control: Control
    ):
        self.plan, self.workers = plan, workers
        self.bytes_written = 0
        self.written: dict[Extent, str] = {}
        self.log = events.Log()
        self._listener, self._control = listener, control
        self._telling = Lock()
        self._team: Team | None = None
        self._memory = resident()
        self._read = 0  # by teams that are done
        self._start = time.monotonic()
        self._told = self._looked = -1.0  # seconds

    def tell(self, event: events.Event) -> None:
        """Tells an event; they come from several threads, and are told one at a time."""
        with self._telling:
            self.log.tell(event)
            self._listener(event)

    def note(self, code: str, **facts: Any) -> None:
        """Tells of something that the run deals with by itself."""
        self.tell(events.noted(code, **facts))

    def prepare(self, files: Files) -> None:
        """Does what has to be done before the tensors."""
        cache = self.plan.cache
        if cache is not None and cache.numbers.tables.use():
            self.note("W2004", what="numbers of earlier passes")
        blobs = Blobs(self.plan.limit)
        for task in self.plan.preparations:
            if not task.ready:
                self.tell(events.Preparing(task.what))
            # By name: few runs need it, and it is large.
            module = import_module("mergelang.run.prepare")
            for each in module.prepare(task, self.plan.checkpoints, blobs, files):
                self.note(each.code, **each.facts)

    @property
    def seconds(self) -> float:
        return round(time.monotonic() - self._start, 3)

    @property
    def bytes_read(self) -> int:
        return self._read + (self._team.bytes_read if self._team else 0)

    def work(
        self, tasks: Sequence[Task], make: Callable[[int], Work], files: Files,
        done: Callable[[Result], None], tick: Callable[[], None],
    ) -> None:  # fmt: skip
        """Does the jobs that `make(number)` opens, one for each task; see `Team`."""
        workers = self.workers

        def look() -> None:
            tick()
            if self.seconds > self._looked + LOOK:
                self._measure()
            self.progress()

        self._team = workers.team(
            tasks, make, lambda: workers.machine(files), workers.count, done, self._control,
            workers.budget, look,
        )  # fmt: skip
        self._team.run()
        self._read, self._team = self.bytes_read, None

    def progress(self, every: float = 0.0) -> None:
        """Tells how far the run is, unless it did so less than `every` seconds ago."""
        if every and self.seconds - self._told < every:
            return
        self._told = self.seconds
        self.tell(
            events.Progress(self.bytes_read, self.bytes_written, self.seconds, self._memory)
        )

    def _measure(self) -> None:
        """Looks at what the run takes of memory; a look takes milliseconds a process."""
        self._looked = self.seconds
        self._memory = resident(*(self._team.processes if self._team else ()))


def asked(program: Program) -> tuple[str, dict[str, str]]:
    """The file of a recipe, empty where it has none of its own, and its settings."""
    path = Path(program.tree.source.name).absolute()
    settings = {
        name: exact_text(param.value) for name, param in program.params.items()
        if param.value != param.default
    }  # fmt: skip
    return str(path) if path.is_file() else "", settings


def usable_cores() -> int:
    """Cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _block(room: int, block: int) -> int:
    """The size of the block whose buffers fit into so many bytes, at most `block`."""
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
    try:
        with open(f"/proc/{process}/smaps_rollup") as file:
            return sum(int(line.split()[1]) << 10 for line in file if line.startswith("Private"))
    except OSError:  # it has just ended
        return 0
