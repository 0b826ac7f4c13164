"""What a run of a plan takes of memory at least, known before it begins."""

from mergelang.errors import RunError
from mergelang.plan.plan import PROCESS, Plan
from mergelang.plan.prepare import LIBRARIES

MEMORY = 1 << 30
"""The default of `--memory`, bytes."""

BUFFERS = 400
"""Bytes of buffers for each element of a block, in one thread."""


def minimum_memory(plan: Plan) -> int:
    """The least `memory` that a run of the plan can keep, in bytes."""
    work = plan.holds + max(32 << 20, plan.rows * BUFFERS)
    waiting = [each.holds for each in plan.preparations if not each.ready]
    libraries = LIBRARIES if waiting else 0
    return PROCESS + max(libraries + work, *waiting, 0)


def check_memory(plan: Plan, memory: int | None) -> int:
    """The bytes a run may take; RunError where they are too few. None is the default."""
    memory = MEMORY if memory is None else memory
    least = minimum_memory(plan)
    if memory < least:
        raise RunError("E0908", memory=size_text(memory), minimum=size_text(least))
    return memory


def size_text(count: int) -> str:
    """Bytes as people write them, `512MiB` or `1.5GiB`, rounded up to a MiB."""
    mebibytes = -(-count // (1 << 20))
    return f"{mebibytes}MiB" if mebibytes < 1024 else f"{mebibytes / 1024:.4g}GiB"
