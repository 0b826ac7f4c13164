"""What a run has to fetch from the Hub before it begins, to the byte."""

from collections.abc import Iterator
from typing import NamedTuple

from mergelang.models.hub import Snapshot
from mergelang.plan.cost import loads
from mergelang.plan.plan import Plan, Task
from mergelang.tensors import Extent


class Fetch(NamedTuple):
    """A file of a source that is not on this machine yet."""

    source: str
    snapshot: Snapshot
    name: str
    nbytes: int


def fetches(plan: Plan) -> tuple[Fetch, ...]:
    """The files that a run of the plan reads and that are not here, in the order of their use."""
    owners = {
        str(path): checkpoint
        for checkpoint in plan.checkpoints.values() if checkpoint.origin is not None
        for path in checkpoint.files if not path.exists()
    }  # fmt: skip
    if not owners:
        return ()
    first = (path for each in plan.preparations if not each.ready for path in each.reads)
    tasks = (task for output in plan.outputs for task in output.tasks)
    used = dict.fromkeys((*first, *(extent.path for task in tasks for extent in stored(task))))
    found = []
    for path in used:
        if path in owners:
            checkpoint = owners[path]
            name = path.rpartition("/")[2]
            size = checkpoint.origin.files[name].size
            found.append(Fetch(checkpoint.reference.text, checkpoint.origin, name, size))
    return tuple(found)


def stored(task: Task) -> Iterator[Extent]:
    """The stored tensors that a task reads."""
    if task.root is None:
        yield from task.sources
    else:
        yield from map(task.binding.extent, loads(task.root))
