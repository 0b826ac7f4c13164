"""One output of a run: from what lies there already to the finished folder in its place."""

from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from mergelang.files import Facts
from mergelang.plan.cached import calls_of, passing
from mergelang.plan.origin import Seal
from mergelang.plan.plan import CACHED, COMPUTE, KEEP, RESUME, SHARED, OutputPlan, Task
from mergelang.run import events
from mergelang.run.cached import Prepared, drop, numbers_wanted, publish, worth_a_look
from mergelang.run.copies import Copy, Kept
from mergelang.run.job import Job
from mergelang.run.machine import Files
from mergelang.run.program import needs_torch
from mergelang.run.resume import head, inputs_of, refuse_changed, tasks_left
from mergelang.run.workers import Result, Work
from mergelang.run.writer import EVENTS, Folder
from mergelang.store import rates
from mergelang.store.rates import PASS

if TYPE_CHECKING:
    from mergelang.run.execute import Run

MEASURED_FROM = 1 << 22
"""Bytes that passes over a tensor read from which on they are measured: fewer take what anything
takes."""

OFTEN = 0.1
"""Seconds from which on it is worth telling again how far a run is."""


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


class _Output:
    """An output in the making, as a part of a run."""

    def __init__(
        self, run: "Run", output: OutputPlan, files: Files, recorder: Recorder,
        allow_nonfinite: bool,
    ):  # fmt: skip
        self._run, self._output, self._files, self._recorder = run, output, files, recorder
        self._allow_nonfinite = allow_nonfinite
        self._name = output.destination.text
        self._inputs: Mapping[str, Facts] = inputs_of(run.plan, output)
        self._noted = frozenset() if allow_nonfinite else numbers_wanted(run.plan, output)
        self._folder = Folder(output.path, output.shards)
        self._digests: dict[str, str] = {}
        self._numbers: dict[str, tuple[Any, ...]] = {}
        self._passes: dict[str, tuple[float, int]] = {}  # seconds and bytes by the name of the rate
        self._todo: list[Task] = []
        self._again: list[Task] = []  # whose bytes elsewhere are not those that were written
        self._beside = ThreadPoolExecutor(1)  # its thread begins when it is used, after the workers
        self._writing: Future[None] | None = None

    def begin(self, fresh: bool) -> None:
        """Opens the folder, and looks what there is to do in it."""
        run, output, folder = self._run, self._output, self._folder
        refuse_changed(self._inputs)
        arith = run.plan.graph.program.arith
        known, why = folder.open(head(output, self._inputs, arith), fresh)
        run.log.open(folder.partial / EVENTS)
        if why:
            run.note("W2002", output=self._name, why=why)
        self._todo = [self._digested(task) for task in tasks_left(output, folder, known)]
        if known:
            nbytes = sum(task.nbytes for task in self._todo if task.action == RESUME)
            run.tell(events.Resumed(self._name, len(known), len(self._todo), nbytes))

    def compute(self) -> None:
        """Writes all tensors, and those once more that were not what they should be."""
        if any(map(_loads_torch, self._todo)):
            import_module("torch")  # once, for all workers
        while self._todo:
            self._run.work(self._todo, self._make, self._files, self._done, self._tick)
            self._folder.journal.wait()
            self._todo, self._again = self._again, []

    def finish(self) -> None:
        """Writes what is said about the tensors, and puts the folder into its place."""
        run, output, folder, recorder = self._run, self._output, self._folder, self._recorder
        digests = {task.name: self._digests[task.name] for task in output.tasks}
        syncing = self._beside.submit(folder.sync_data)
        seal = recorder.seal(output, digests)
        for rate, took in self._passes.items():
            rates.note(rate, *took)
        syncing.result()
        run.plan = publish(run.plan, output, folder, self._numbers, self._inputs)
        folder.write_headers(seal)
        folder.add(output.documents, output.sidecars)
        folder.add(recorder.documents(output, seal, folder.model, folder.files()))
        recorder.remember(output, seal, folder.model)
        refuse_changed(self._inputs)
        folder.publish()
        self._files.forget(output.path)
        run.written |= {extent: digests[name] for name, extent in output.extents.items()}

    def leave(self) -> int:
        """Leaves what is done for the next run; gives how many tensors that are."""
        return self._folder.leave()

    def close(self) -> None:
        self._beside.shutdown()
        self._run.log.close()

    def _done(self, made: Result) -> None:
        task, run = self._todo[made.number], self._run
        if made.dropped or (task.action == CACHED and task.digest != made.digest):
            run.note("W2003", output=self._name, tensor=task.name)
        if task.digest not in ("", made.digest):  # not the bytes that were written once
            if task.action == CACHED:
                drop(run.plan, task)
            else:
                run.note("W2001", output=self._name, tensor=task.name)
            self._again.append(self._digested(task.instead))
            return
        self._digests[task.name] = made.digest
        if made.numbers:
            self._numbers[task.name] = made.numbers
        self._time(task, made.seconds)
        if task.action != RESUME:
            self._folder.journal.add(task.name, made.digest)
        run.bytes_written += task.nbytes
        run.tell(
            events.TensorDone(
                self._name, task.name, task.action, task.nbytes, made.passes, made.digest
            )
        )
        run.progress(OFTEN)

    def _tick(self) -> None:
        if self._writing is None or self._writing.done():  # it waits where the disk is behind
            self._writing = self._beside.submit(self._folder.start_writeback)
        self._folder.journal.tick()

    def _time(self, task: Task, seconds: float) -> None:
        """Adds up what passes take that call no function on whole tensors."""
        large = self._run.plan.cache is not None and task.reads >= MEASURED_FROM
        large = large and self._run.workers.device is None
        if large and task.action == COMPUTE and not calls_of(task.root):
            for rate in {PASS, passing(task)}:
                took, count = self._passes.get(rate, (0.0, 0))
                self._passes[rate] = took + seconds, count + task.reads

    def _digested(self, task: Task) -> Task:
        """A task that copies from another output, with the digest that the tensor has there."""
        if task.action != SHARED:
            return task
        return task._replace(digest=self._run.written[task.sources[0]])

    def _make(self, number: int) -> Work:
        """Opens the job of a task."""
        task, files, folder = self._todo[number], self._files, self._folder
        sink = folder.tensor(task.name)
        if task.action == COMPUTE:
            device, wants = self._run.workers.device, task.name in self._noted
            plan, timed = self._run.plan, device is None
            look = worth_a_look(plan, task, wants)
            stored = Prepared(plan.cache, task, self._inputs, timed) if look else None
            return Job(
                task.name, stored.root if stored else task.root, task.type, sink,
                block=self._run.workers.block, files=files, binding=task.binding,
                allow_nonfinite=self._allow_nonfinite, rows=task.rows, keep=stored and stored.keep,
                dropped=stored.dropped if stored else 0,
                spill=folder.partial if task.spills else None,
                known=stored.known if stored else {},
                wants=stored.wants if stored and wants else (), device=device,
            )  # fmt: skip
        if task.action in (KEEP, CACHED, SHARED, RESUME):
            in_place = task.action == RESUME
            return Kept(task.name, task.sources, sink, files=files, in_place=in_place)
        allowed = self._allow_nonfinite
        return Copy(task.name, task.sources, sink, files=files, allow_nonfinite=allowed)


def write(
    run: "Run", output: OutputPlan, files: Files, recorder: Recorder, fresh: bool,
    allow_nonfinite: bool,
) -> None:  # fmt: skip
    """Writes an output as a part of a run, whole or not at all: what was done of it until an error
    stays for the next run."""
    began, name, total = run.seconds, output.destination.text, output.bytes_written
    run.tell(events.OutputStarted(name, str(output.path), len(output.tasks), total))
    made = _Output(run, output, files, recorder, allow_nonfinite)
    try:
        made.begin(fresh)
        made.compute()
        made.finish()
    except BaseException:
        run.tell(events.Left(name, made.leave(), len(output.tasks)))
        raise
    finally:
        made.close()
    run.tell(events.OutputDone(name, str(output.path), total, round(run.seconds - began, 3)))


def _loads_torch(task: Task) -> bool:
    """Whether torch is loaded for a task; not if the store has what its functions would give."""
    if task.root is None or not needs_torch(task.root, task.type):
        return False
    return not task.stored or task.stored < len(calls_of(task.root))
