"""Values from the store instead of work, and new ones into it, while an output is made."""

import mmap
import time
from array import array
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from mergelang.files import Facts, changed
from mergelang.ops.expr import CHOICE, SCALAR, Expr
from mergelang.plan.cached import (
    Cache,
    alike,
    calls_of,
    paths,
    substitutes,
    value_type,
    work,
)  # fmt: skip
from mergelang.plan.keys import derivation
from mergelang.plan.passes import reductions
from mergelang.plan.plan import COMPUTE, OutputPlan, Plan, Task
from mergelang.plan.previous import known_digests
from mergelang.run.machine import Choice
from mergelang.run.resume import refuse_changed
from mergelang.run.writer import Folder
from mergelang.store import rates
from mergelang.store.blobs import PENDING
from mergelang.store.rates import READ, WRITE


def worth_a_look(plan: Plan, task: Task, wants: bool) -> bool:
    """Whether the store may have values or numbers of a computed tensor, or gets some; `wants` says
    so of its numbers."""
    return plan.cache is not None and bool(calls_of(task.root) or task.numbers or wants)


class Prepared:
    """The expression of one tensor with what the store has of it.

    `keep` puts into the store what is worth it. `dropped` counts entries that were damaged, whose
    values are computed. `known` are the numbers of reductions, `wants` all reductions, as they
    stand in the expression. `inputs` are the facts of files for which the names of the cache hold.
    What calls take is noted where they are `timed`: on a device they take another time.
    """

    def __init__(self, cache: Cache, task: Task, inputs: Mapping[str, Facts], timed: bool = True):
        self._cache, self._task, self._blobs = cache, task, cache.blobs
        self._inputs, self._timed = inputs, timed
        keys = {expr: cache.key(expr, task) for expr in calls_of(task.root)}
        self.dropped = 0
        found = {}
        for expr, key in keys.items():
            there = self._blobs.find(key)
            began = time.perf_counter()
            entry = there and self._blobs.checked(key)
            if entry:
                rates.note(READ, time.perf_counter() - began, entry.size)
                found[expr] = entry
            self.dropped += there is not None and entry is None
        made = substitutes(task.root, found)
        self.root = made.get(task.root, task.root)
        # A call on a value that is there is another expression, and has the key that it had.
        self._keys = {made.get(expr, expr): key for expr, key in keys.items()}
        numbers = cache.numbers.known(task, value_type(task))
        self.known = {made.get(expr, expr): _number(expr, each) for expr, each in numbers.items()}
        self.wants = tuple(made.get(expr, expr) for expr in reductions(task.root))

    def keep(self, expr: Expr, value: np.ndarray, seconds: float) -> None:
        if self._timed:
            rates.note(expr.attr[0], seconds, work(expr, self._task.type))
        key = self._keys.get(expr)
        worth = key and self._cache.keeps(expr, self._task, seconds) and np.isfinite(value).all()
        if worth and changed(self._inputs) is None:  # else it may be that of other bytes
            began = time.perf_counter()
            data = memoryview(value)
            type = value_type(self._task)
            if self._blobs.put(key, type, data, expr.attr[0], seconds):
                rates.note(WRITE, time.perf_counter() - began, type.nbytes)


def numbers_wanted(plan: Plan, output: OutputPlan) -> set[str]:
    """The tensors of an output whose numbers go into the store."""
    found = plan.cache.worth_noting(output.tasks).values() if plan.cache else ()
    return {task.name for tasks, *_ in found for task in tasks}


def drop(plan: Plan, task: Task) -> None:
    """Removes the entry that a tensor was to be taken from, and which is damaged."""
    entry = plan.cache.blobs.find(Path(task.sources[0].path).stem)
    if entry is not None:
        plan.cache.blobs.drop(entry)


def publish(
    plan: Plan, output: OutputPlan, folder: Folder, numbers: Mapping[str, Sequence[Any]],
    inputs: Mapping[str, Facts],
) -> Plan:  # fmt: skip
    """Gives the values of an output their keys, now that its inputs have digests; keeps whole
    tensors that are worth it, and `numbers`, those that the reductions of its tensors gave. The
    plan given back knows the digests. Raises RunError where the `inputs` are not as they were."""
    cache: Cache | None = plan.cache
    if cache is None:
        return plan
    digests = known_digests(plan)
    refuse_changed(inputs)  # else the digests are not those of what was read
    known = cache.named({**cache.names, **digests})
    idle: set[Hashable] = set()
    for task in output.tasks:
        if task.action != COMPUTE or alike(task) in idle:
            continue
        if not calls_of(task.root) and not cache.keeps_tensor(task):
            idle.add(alike(task))
            continue
        for expr in calls_of(task.root):
            was = cache.key(expr, task)
            if was.startswith(PENDING) and digests.keys() >= set(paths(expr, task)):
                cache.blobs.publish(was, known.key(expr, task))
        made = derivation(task, digests, cache.arith) if cache.keeps_tensor(task) else None
        if made is not None and cache.blobs.find(made.key) is None:
            _put(cache, folder, task, made.key)
    for table, (tasks, _, seconds) in known.worth_noting(output.tasks).items():
        found: dict[str, array] = {}
        for task in tasks:
            keys = known.numbers.keys(task, value_type(task))
            told = dict(zip(reductions(task.root), numbers.get(task.name, ()), strict=False))
            found |= {
                keys[expr]: _vector(number) for expr, number in told.items()
                if number is not None and digests.keys() >= set(paths(expr, task))
            }  # fmt: skip
        known.numbers.tables.keep(table, found, seconds)
    return replace(plan, cache=known)


def _vector(number: Any) -> array:
    """What a reduction gave, as doubles."""
    if isinstance(number, Choice):
        return array("d", (number.threshold, number.cut, number.quota))
    return array("d", number if isinstance(number, np.ndarray) else (number,))


def _number(expr: Expr, vector: array) -> Any:
    """What a reduction gave, out of doubles."""
    if expr.kind == CHOICE:
        threshold, cut, quota = vector
        return Choice(threshold, int(cut), int(quota))
    return vector[0] if expr.kind == SCALAR else np.array(vector)


def _put(cache: Cache, folder: Folder, task: Task, key: str) -> None:
    extent = folder.extent(task.name)
    if not extent.type.nbytes:
        return
    with open(extent.path, "rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        data = memoryview(mapped)[extent.offset : extent.offset + extent.type.nbytes]
        cache.blobs.put(key, task.type, data, "tensor", cache.takes_tensor(task))
        data.release()
        mapped.close()
