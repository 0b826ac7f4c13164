"""What a run takes from the store instead of computing it, and what it puts there.

Three kinds of values are kept: those of calls on whole tensors (a singular value decomposition)
within a tensor, so that a cheap step after one can change; the numbers that reductions gave
(`plan.numbers`), likewise; and whole tensors of outputs. Which are worth it is reckoned from rates
that were measured. Nothing is read here but headers of entries and tables of numbers.
"""

from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from math import prod
from typing import Any

from mergelang.files import Facts
from mergelang.ops.expr import BLOCK, Expr, make
from mergelang.plan.cost import cost, is_wide, loads, order
from mergelang.plan.keys import derivation, value_key
from mergelang.plan.numbers import Numbers, saved, size
from mergelang.plan.passes import reductions
from mergelang.plan.plan import CACHED, COMPUTE, Plan, Task
from mergelang.store import digests, rates
from mergelang.store.blobs import LIMIT, PENDING, Blobs, Entry
from mergelang.store.numbers import LARGEST, Tables
from mergelang.store.rates import PASS, READ, WRITE
from mergelang.tensors import TensorType

AUTO, ALL, NONE = "auto", "all", "none"

FACTOR = 20
"""A value is kept by itself where computing it takes this many times what writing it and reading it
back does, and a moment more."""

MOMENT = 0.002
"""Seconds that a value is no more than worth a file of its own, whatever its size."""


@dataclass(frozen=True)
class Cache:
    """How a run uses the store. `names` are digests of files by path; those without one have a name
    that only this run knows. `measured`: see `store.rates`. `arith`: see `Program`."""

    mode: str = AUTO
    limit: int = LIMIT
    names: Mapping[str, str] = field(default_factory=dict)
    measured: Mapping[str, float] = field(default_factory=dict)
    numbers: Numbers | None = None
    arith: str | None = None
    _passes: dict[Any, float] = field(default_factory=dict, repr=False, compare=False)

    @property
    def blobs(self) -> Blobs:
        return Blobs(self.limit)

    def key(self, expr: Expr, task: Task) -> str:
        """The key of the value of an expression, or a pending one."""
        key = value_key(expr, value_type(task), task, self.names, self.arith) or ""
        pending = any(self.names[path].startswith(FACTS) for path in paths(expr, task))
        return PENDING + key if pending else key

    def keeps(self, expr: Expr, task: Task, took: float = 0.0) -> bool:
        """Whether the value of a call on whole tensors is worth keeping. `took` are the seconds
        that it has just taken: they count where nothing was known of its function."""
        seconds = self.takes(expr, task)
        if expr.attr[0] not in self.measured:
            seconds = max(seconds, took)
        return self._worth(seconds, value_type(task).nbytes)

    def keeps_tensor(self, task: Task) -> bool:
        """Whether a tensor of an output is, that is made without such calls."""
        if self.mode != ALL and calls_of(task.root):
            return False
        return self._worth(self.takes_tensor(task), task.type.nbytes)

    def takes(self, expr: Expr, task: Task) -> float:
        """Seconds that a call on whole tensors takes."""
        return rates.seconds(self.measured, expr.attr[0], work(expr, task.type))

    def takes_tensor(self, task: Task) -> float:
        """Seconds that the passes over a tensor take."""
        return self._takes(task, task.reads)

    def _takes(self, task: Task, nbytes: int) -> float:
        """Seconds that passes take in which so many bytes are read."""
        key = task.makers, nbytes
        if key not in self._passes:
            rate = passing(task)
            known = rate if rate in self.measured else PASS
            self._passes[key] = rates.seconds(self.measured, known, nbytes)
        return self._passes[key]

    def takes_in_all(self, task: Task) -> float:
        """Seconds that a tensor takes: passes, and calls on whole tensors."""
        calls = sum(self.takes(expr, task) for expr in calls_of(task.root))
        return self.takes_tensor(task) + calls

    def named(self, names: Mapping[str, str]) -> "Cache":
        """The same for a run that knows files by other names."""
        return replace(self, names=names, numbers=self.numbers and self.numbers.named(names))

    def worth_noting(self, tasks: Iterable[Task]) -> dict[str, tuple[list[Task], int, float]]:
        """The tables of numbers for tensors of which not all are known, as far as they are worth
        keeping: of each those tensors, their bytes there, and the seconds that they save."""
        tables: dict[str, list[Task]] = {}
        for task in tasks:
            if task.action == COMPUTE and task.numbers < len(reductions(task.root)):
                tables.setdefault(self.numbers.table(task), []).append(task)
        tables.pop("", None)
        found = {}
        for table, each in tables.items():
            nbytes = sum(size(task.root, value_type(task)) for task in each)
            seconds = sum(self._takes(task, saved(task)) for task in each)
            if self._worth(seconds, nbytes) and nbytes <= LARGEST:
                found[table] = each, nbytes, seconds
        return found

    def back(self, nbytes: int) -> float:
        """Seconds to write a value and to read it back."""
        return sum(rates.seconds(self.measured, each, nbytes) for each in (READ, WRITE))

    def _worth(self, seconds: float, nbytes: int) -> bool:
        return self.mode == ALL or seconds > FACTOR * self.back(nbytes) + MOMENT


def with_cache(plan: Plan, mode: str = AUTO, limit: int = LIMIT) -> Plan:
    """The plan with what the store holds taken from there. `none` leaves the store alone."""
    plan = replace(plan, limit=limit)
    if mode == NONE:
        return plan
    names, blobs = file_names(plan), Blobs(limit)
    arith = plan.graph.program.arith
    numbers = Numbers(Tables(blobs), plan.checkpoints.values(), names, arith)
    cache = Cache(mode, limit, names, rates.rates(), numbers, arith)
    idle: set[Hashable] = set()  # of what differs only in its place nothing is kept, either

    def made(task: Task) -> Task:
        if alike(task) in idle:
            return task
        changed = _task(task, cache, blobs)
        if changed is task:
            idle.add(alike(task))
        return changed

    outputs = []
    for output in plan.outputs:
        tasks = tuple(map(made, output.tasks))
        outputs.append(replace(output, tasks=tasks))
        if len(plan.outputs) > 1:
            for noted, *_ in cache.worth_noting(tasks).values():
                for task in noted:
                    numbers.promise(task, value_type(task))
    return replace(plan, outputs=tuple(outputs), cache=cache)


def alike(task: Task) -> Hashable:
    """Equal for tensors of one pattern, whose makers are one object as long as there is a plan: all
    that is reckoned here is the same for them."""
    return task.root, id(task.makers), task.type, task.reads


def _task(task: Task, cache: Cache, blobs: Blobs) -> Task:
    if task.action != COMPUTE:
        return task
    if cache.keeps_tensor(task):
        made = derivation(task, cache.names, cache.arith)
        entry = blobs.find(made.key) if made else None
        if entry is not None and entry.extent.type == task.type:
            return task.taken(CACHED, entry.extent, entry.digest, task.change)
        task = task._replace(keeps=task.type.nbytes, seconds=cache.takes_tensor(task))
    inside = calls_of(task.root) or reductions(task.root)
    return _inside(task, cache, blobs) if inside else task


def _inside(task: Task, cache: Cache, blobs: Blobs) -> Task:
    """A task with calls on whole tensors or reductions: which of their values the store has, and
    which of calls it gets."""
    found, new = {}, []
    for expr in calls_of(task.root):
        entry = blobs.find(cache.key(expr, task))
        if entry is not None:
            found[expr] = entry
        elif cache.keeps(expr, task):
            new.append(expr)
    numbers = cache.numbers.expected(task, value_type(task))
    made = substitutes(task.root, found)
    given = frozenset(made.get(expr, expr) for expr in numbers)
    passes, reads, _ = cost(made.get(task.root, task.root), task.type, task.spills > 0, given)
    return task._replace(
        passes=passes, reads=reads, stored=len(found), numbers=len(numbers),
        keeps=task.keeps + len(new) * value_type(task).nbytes,
        seconds=task.seconds + sum(cache.takes(expr, task) for expr in new),
    )  # fmt: skip


@lru_cache(maxsize=1024)
def calls_of(root: Expr) -> tuple[Expr, ...]:
    """The calls on whole tensors within an expression, inner ones first."""
    return tuple(expr for expr in order(root) if expr.op == "whole")


def substitutes(root: Expr, found: Mapping[Expr, Entry]) -> dict[Expr, Expr]:
    """What stands for an expression and each below it where some values come from the store; empty
    where none do."""
    made: dict[Expr, Expr] = {}
    for expr in order(root) if found else ():
        if expr in found:
            made[expr] = make(BLOCK, "load", (), found[expr].extent)
        else:
            args = tuple(made[arg] for arg in expr.args)
            made[expr] = expr if args == expr.args else make(expr.kind, expr.op, args, expr.attr)
    return made


def passing(task: Task) -> str:
    """The name of the rate of the passes over a task's tensor: by the operators that make it."""
    return " ".join((PASS, *sorted({call.operator for call in task.makers})))


def value_type(task: Task) -> TensorType:
    """The type that values within a tensor have while it is computed."""
    return TensorType("F64" if is_wide(task.root) else "F32", task.type.shape)


def work(expr: Expr, type: TensorType) -> float:
    """The work of a call on whole tensors: its elements times the shorter side of its matrix."""
    side = min(type.shape[0], prod(type.shape[1:])) if len(type.shape) > 1 else 1
    return type.count * side * max(1, len(expr.args))


def paths(expr: Expr, task: Task) -> Iterator[str]:
    """The files that an expression reads."""
    return (task.binding.extent(extent).path for extent in loads(expr))


FACTS = "facts:"
"""Before what a file is called that has no digest yet."""


def file_names(plan: Plan) -> dict[str, str]:
    """A name for each file of weights: its digest, or where that is not known its facts."""
    found = {}
    for each in plan.checkpoints.values():
        for file in map(str, each.files):
            facts = each.facts.get(file, Facts(0, 0, 0))
            found[file] = digests.identity(file) or f"{FACTS}{file} {tuple(facts)}"
    return found
