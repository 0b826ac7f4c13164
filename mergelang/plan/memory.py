"""What a run of a plan takes of memory at least, and how a plan is made to take less: all known
before it begins."""

from dataclasses import replace

from mergelang.errors import RunError
from mergelang.plan.cached import calls_of, value_type
from mergelang.plan.cost import cost
from mergelang.plan.plan import COMPUTE, PROCESS, OutputPlan, Plan, Task
from mergelang.plan.prepare import LIBRARIES

MEMORY = 1 << 30
"""The default of `--memory`, bytes."""

BUFFERS = 400
"""Bytes of buffers for each element of a block, in one thread."""


def minimum_memory(plan: Plan) -> int:
    """The least `memory` that a run of the plan can keep, in bytes."""
    waiting = [each.holds for each in plan.preparations if not each.ready]
    return max(_beside(plan) + plan.holds, *(PROCESS + each for each in waiting), 0)


def _beside(plan: Plan) -> int:
    """Bytes that a run takes beside whole tensors."""
    waiting = any(not each.ready for each in plan.preparations)
    return PROCESS + (LIBRARIES if waiting else 0) + max(32 << 20, plan.rows * BUFFERS)


def wanted_memory(plan: Plan) -> int:
    """What a run of the plan is given where nobody says how much: the default, or the least that
    it can keep, in bytes."""
    return max(MEMORY, minimum_memory(plan))


def with_memory(plan: Plan, memory: int | None) -> Plan:
    """The plan for a run in so many bytes; None is the default.

    Tensors whose calls on whole tensors do not fit into them together get a pass for each call,
    which reads and evaluates its inputs anew, and the values wait on the disk.
    """
    memory = MEMORY if memory is None else memory
    room = memory - _beside(plan)
    outputs = tuple(
        replace(each, tasks=tuple(_fitted(task, room) for task in each.tasks))
        for each in plan.outputs
    )
    return replace(plan, outputs=outputs, memory=memory)


def _fitted(task: Task, room: int) -> Task:
    if task.instead is not None:
        return task._replace(instead=_fitted(task.instead, room))
    calls = calls_of(task.root) if task.action == COMPUTE and task.holds > room else ()
    if not calls:
        return task
    passes, reads, holds = cost(task.root, task.type, apart=True)
    if holds >= task.holds:
        return task
    spills = len(calls) * value_type(task).nbytes
    return task._replace(passes=passes, reads=reads, holds=holds, spills=spills)


def spilled(plan: Plan, output: OutputPlan) -> int:
    """Bytes that wait on the disk at once at most, while an output is made."""
    room = max(0, (plan.memory or 0) - PROCESS)
    at_once = [task.spills * max(1, room // max(1, task.holds)) for task in output.tasks]
    total = sum(task.spills for task in output.tasks)
    return 0 if output.current else min(total, max(at_once, default=0))


def check_memory(plan: Plan) -> int:
    """The bytes that a run of the plan may take; RunError (E0908) where they are too few."""
    memory = MEMORY if plan.memory is None else plan.memory
    least = minimum_memory(plan)
    if memory < least:
        raise RunError("E0908", memory=size_text(memory), minimum=size_text(least))
    return memory


def size_text(count: int) -> str:
    """Bytes as people write them, `512MiB` or `1.5GiB`, rounded up: what is written is enough."""
    mebibytes = -(-count // (1 << 20))
    hundredths = -(-mebibytes * 100 // 1024)
    return f"{mebibytes}MiB" if mebibytes < 1024 else f"{hundredths / 100:g}GiB"
