"""Runs a plan: feeds the workers, writes each output folder, tells what happens."""

import os
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from threading import Lock
from typing import Any, Protocol

from mergelang.check.program import Program
from mergelang.errors import MergelangError, UsageError
from mergelang.files import Facts
from mergelang.plan.cached import calls_of, passing
from mergelang.plan.memory import BUFFERS, check_memory, with_memory
from mergelang.plan.origin import Seal, exact_text
from mergelang.plan.plan import (
    CACHED,
    COMPUTE,
    KEEP,
    PROCESS,
    RESUME,
    SHARED,
    OutputPlan,
    Plan,
    Task,
)  # fmt: skip
from mergelang.plan.prepare import published
from mergelang.run import events
from mergelang.run.cached import Prepared, drop, numbers_wanted, publish, worth_a_look
from mergelang.run.compiler import library
from mergelang.run.copies import Copy, Kept
from mergelang.run.crew import Crew, can_fork
from mergelang.run.device import LARGEST, THREADS
from mergelang.run.job import Job
from mergelang.run.machine import Files, Machine
from mergelang.run.program import needs_torch
from mergelang.run.reduce import UNIT
from mergelang.run.resume import head, inputs_of, refuse_changed, tasks_left
from mergelang.run.workers import Control, Pool, Result, Team, Work
from mergelang.run.writer import EVENTS, Folder
from mergelang.store import rates
from mergelang.store.blobs import Blobs
from mergelang.store.rates import PASS
from mergelang.tensors import Extent
from mergelang.wording import message

BLOCK = {Crew: 1 << 17, Pool: 1 << 18}
"""Elements of a block. Smaller ones stay in a core's own cache, which is what processes gain by;
threads lose more by what they wait for the interpreter's lock between steps."""


MEASURED_FROM = 1 << 22
"""Bytes that passes over a tensor read from which on they are measured: fewer take what anything
takes."""


OFTEN = 0.1
"""Seconds from which on it is worth telling again how far a run is."""

LOOK = 0.5
"""Seconds after which it is looked again at what a run takes of memory."""


class Recorder(Protocol):
    """What is said about a finished output; either may refuse it by raising, before it is there."""

    def seal(self, output: OutputPlan, digests: Mapping[str, str]) -> Seal:
        """All digests of it, those of its tensors given. Runs while the data goes to the disk."""

    def documents(
        self, output: OutputPlan, seal: Seal, folder: Path, files: Mapping[str, int]
    ) -> Mapping[str, bytes]:
        """Files about it, of a folder that is complete but for them. `files`: names and sizes."""

    def remember(self, output: OutputPlan, seal: Seal, folder: Path) -> None:
        """Called with the complete folder, before that takes its place."""


class Digests:
    """The recorder of a run that says nothing but what the tensors are."""

    def seal(self, output: OutputPlan, digests: Mapping[str, str]) -> Seal:
        return Seal(digests)

    def documents(self, *facts: Any) -> Mapping[str, bytes]:
        return {}

    def remember(self, *facts: Any) -> None:
        pass


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
    memory = check_memory(plan)
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

    run = _Run(
        plan, memory, block or small, team, threads, machine, device,
        listener or (lambda event: None), control or Control(), fresh,
    )  # fmt: skip
    run.tell(
        events.RunStarted(
            tuple(output.destination.text for output in plan.outputs),
            sum(len(output.tasks) for output in plan.outputs),
            plan.bytes_read, plan.bytes_written, threads,
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
        with suppress(MergelangError, OSError):
            published((output.node for output in plan.outputs), plan.checkpoints)


class _Run:
    """The state of one run that its outputs share."""

    def __init__(
        self, plan: Plan, memory: int, block: int, team: type[Team], threads: int,
        machine: Callable[[Files], Any], device: Any, listener: events.Listener, control: Control,
        fresh: bool,
    ):  # fmt: skip
        self.plan, self.memory, self.block, self.fresh = plan, memory, block, fresh
        self._team, self._threads = team, threads
        self._machine, self._device = machine, device
        self._listener, self.control = listener, control
        self._telling, self._log = Lock(), events.Log()
        self._workers: Team | None = None
        self._memory = resident()
        self._read = 0  # by the workers of outputs that are done
        self.bytes_written = 0
        self._written: dict[Extent, str] = {}  # digests of the tensors of the outputs so far
        self._passes: dict[str, tuple[float, int]] = {}  # seconds and bytes by the name of the rate
        self._start = time.monotonic()
        self._told = self._looked = -1.0  # seconds

    def tell(self, event: events.Event) -> None:
        """Tells an event; they come from several threads, and are told one at a time."""
        with self._telling:
            self._log.tell(event)
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
        return self._read + (self._workers.bytes_read if self._workers else 0)

    def output(
        self, output: OutputPlan, files: Files, allow_nonfinite: bool, recorder: Recorder
    ) -> None:
        began = self.seconds
        name, total = output.destination.text, output.bytes_written
        self.tell(events.OutputStarted(name, str(output.path), len(output.tasks), total))
        folder = Folder(output.path, output.shards)
        inputs = inputs_of(self.plan, output)
        digests: dict[str, str] = {}
        numbers: dict[str, tuple[Any, ...]] = {}
        noted = numbers_wanted(self.plan, output)
        todo: list[Task] = []
        again: list[Task] = []
        beside = ThreadPoolExecutor(1)  # its thread begins with the first use, after the workers
        writing: Future[None] | None = None

        def done(made: Result) -> None:
            task = todo[made.number]
            if made.dropped or (task.action == CACHED and task.digest != made.digest):
                self.note("W2003", output=name, tensor=task.name)
            if task.digest not in ("", made.digest):  # not the bytes that were written once
                if task.action == CACHED:
                    drop(self.plan, task)
                else:
                    self.note("W2001", output=name, tensor=task.name)
                again.append(self._digested(task.instead))
                return
            digests[task.name] = made.digest
            if made.numbers:
                numbers[task.name] = made.numbers
            self._time(task, made.seconds)
            if task.action != RESUME:
                folder.journal.add(task.name, made.digest)
            self.bytes_written += task.nbytes
            self.tell(
                events.TensorDone(
                    name, task.name, task.action, task.nbytes, made.passes, made.digest
                )
            )
            self.progress(OFTEN)

        try:
            todo = self._begin(output, folder, inputs)
            budget = max(0, self.memory - PROCESS)

            def tick() -> None:
                nonlocal writing
                if writing is None or writing.done():  # it waits where the disk is behind
                    writing = beside.submit(folder.start_writeback)
                folder.journal.tick()
                if self.seconds > self._looked + LOOK:
                    self.measure()
                self.progress()

            def make(number: int) -> Work:
                task = todo[number]
                wants = task.name in noted and not allow_nonfinite
                return self._job(task, folder, files, allow_nonfinite, wants, inputs)

            if any(map(_loads_torch, todo)):
                import_module("torch")  # once, for all workers
            while todo:
                self._workers = self._team(
                    todo, make, lambda: self._machine(files), self._threads,
                    done, self.control, budget, tick,
                )  # fmt: skip
                self._workers.run()
                self._read, self._workers = self.bytes_read, None
                folder.journal.wait()
                todo, again = again, []
            digests = {task.name: digests[task.name] for task in output.tasks}
            syncing = beside.submit(folder.sync_data)
            seal = recorder.seal(output, digests)
            for rate, took in self._passes.items():
                rates.note(rate, *took)
            self._passes.clear()
            syncing.result()
            self.plan = publish(self.plan, output, folder, numbers, inputs)
            folder.write_headers(seal)
            folder.add(output.documents, output.sidecars)
            folder.add(recorder.documents(output, seal, folder.model, folder.files()))
            recorder.remember(output, seal, folder.model)
            refuse_changed(inputs)
            folder.publish()
            files.forget(output.path)
            self._written |= {extent: digests[name] for name, extent in output.extents.items()}
        except BaseException:
            self.tell(events.Left(name, folder.leave(), len(output.tasks)))
            raise
        finally:
            beside.shutdown()
            self._log.close()
        self.tell(events.OutputDone(name, str(output.path), total, round(self.seconds - began, 3)))

    def _begin(
        self, output: OutputPlan, folder: Folder, inputs: Mapping[str, Facts]
    ) -> list[Task]:
        """Opens the folder; gives what there is to do in it."""
        name = output.destination.text
        refuse_changed(inputs)
        arith = self.plan.graph.program.arith
        known, why = folder.open(head(output, inputs, arith), self.fresh)
        self._log.open(folder.partial / EVENTS)
        if why:
            self.note("W2002", output=name, why=why)
        todo = [self._digested(task) for task in tasks_left(output, folder, known)]
        if known:
            nbytes = sum(task.nbytes for task in todo if task.action == RESUME)
            self.tell(events.Resumed(name, len(known), len(todo), nbytes))
        return todo

    def _time(self, task: Task, seconds: float) -> None:
        """Adds up what passes take that call no function on whole tensors."""
        large = self.plan.cache is not None and task.reads >= MEASURED_FROM
        large = large and self._device is None
        if large and task.action == COMPUTE and not calls_of(task.root):
            for rate in {PASS, passing(task)}:
                took, count = self._passes.get(rate, (0.0, 0))
                self._passes[rate] = took + seconds, count + task.reads

    def _digested(self, task: Task) -> Task:
        """A task that copies from another output, with the digest that the tensor has there."""
        if task.action != SHARED:
            return task
        return task._replace(digest=self._written[task.sources[0]])

    def progress(self, every: float = 0.0) -> None:
        """Tells how far the run is, unless it did so less than `every` seconds ago."""
        if every and self.seconds - self._told < every:
            return
        self._told = self.seconds
        self.tell(
            events.Progress(self.bytes_read, self.bytes_written, self.seconds, self._memory)
        )

    def measure(self) -> None:
        """Looks at what the run takes of memory; a look takes milliseconds a process."""
        self._looked = self.seconds
        self._memory = resident(*(self._workers.processes if self._workers else ()))

    def _job(
        self, task: Task, folder: Folder, files: Files, allow_nonfinite: bool, wants: bool,
        inputs: Mapping[str, Facts],
    ) -> Work:  # fmt: skip
        sink = folder.tensor(task.name)
        if task.action == COMPUTE:
            look = worth_a_look(self.plan, task, wants)
            timed = self._device is None
            stored = Prepared(self.plan.cache, task, inputs, timed) if look else None
            return Job(
                task.name, stored.root if stored else task.root, task.type, sink,
                block=self.block, files=files, binding=task.binding,
                allow_nonfinite=allow_nonfinite, rows=task.rows, keep=stored and stored.keep,
                dropped=stored.dropped if stored else 0,
                spill=folder.partial if task.spills else None,
                known=stored.known if stored else {},
                wants=stored.wants if stored and wants else (), device=self._device,
            )  # fmt: skip
        if task.action in (KEEP, CACHED, SHARED, RESUME):
            in_place = task.action == RESUME
            return Kept(task.name, task.sources, sink, files=files, in_place=in_place)
        return Copy(task.name, task.sources, sink, files=files, allow_nonfinite=allow_nonfinite)


def _loads_torch(task: Task) -> bool:
    """Whether torch is loaded for a task; not if the store has what its functions would give."""
    if task.root is None or not needs_torch(task.root, task.type):
        return False
    return not task.stored or task.stored < len(calls_of(task.root))


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
