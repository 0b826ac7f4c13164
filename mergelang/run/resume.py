"""Going on where an earlier run of the same output ended: of what run a journal is, and what is
left to do.
"""

import os
from collections.abc import Mapping
from typing import Any

from mergelang.errors import RunError
from mergelang.files import Facts, changed
from mergelang.ops.registry import operators
from mergelang.plan.arithmetic import arithmetic, tied
from mergelang.plan.cost import order
from mergelang.plan.keys import ENGINE
from mergelang.plan.origin import Seal
from mergelang.plan.plan import COMPUTE, RESUME, OutputPlan, Plan, Task
from mergelang.run.writer import Folder
from mergelang.store.digests import of_bytes


def inputs_of(plan: Plan, output: OutputPlan) -> dict[str, Facts]:
    """The facts of the files that hold weights for an output, from before they were read."""
    known = {path: facts for each in plan.checkpoints.values() for path, facts in
             each.facts.items()}  # fmt: skip
    files = (str(file.path) for parent in output.origin.parents for file in parent.files)
    return {path: known[path] for path in sorted(files) if path in known}


def refuse_changed(inputs: Mapping[str, Facts]) -> None:
    """RunError where an input is gone (E0901), or not what it was when it was planned (E2001)."""
    path = changed(inputs)
    if path is not None:
        try:
            os.stat(path)
        except OSError as error:
            raise RunError("E0901", path=path, reason=error.strerror) from error
        raise RunError("E2001", path=path)


def head(
    output: OutputPlan, inputs: Mapping[str, Facts], arith: str | None = None
) -> dict[str, Any]:
    """The first line of an output's journal: all that its bytes depend on, and the inputs' facts.
    The arithmetic of a card is among it where one of its tensors is tied to that."""
    said = [str(ENGINE), arithmetic()]
    said += [f"{name} {each.signature.version}" for name, each in sorted(operators().items())]
    parts = ["\0".join(said).encode(), *(shard.header(Seal()) for shard in output.shards)]
    tied = arith is not None and any(_is_tied(task, arith) for task in output.tasks)
    return {
        "run": of_bytes(b"\0".join(parts)),
        **({"arith": arith} if tied else {}),
        "inputs": {path: list(facts) for path, facts in inputs.items()},
    }


def _is_tied(task: Task, arith: str) -> bool:
    """Whether the bytes of a tensor depend on an arithmetic."""
    made = task.original
    return made.action == COMPUTE and any(each.op in tied(arith) for each in order(made.root))


def tasks_left(output: OutputPlan, folder: Folder, known: Mapping[str, str]) -> list[Task]:
    """The tasks of an output; those that are done already only look at what lies there."""
    return [
        task.taken(RESUME, folder.extent(task.name), known[task.name])
        if task.name in known else task
        for task in output.tasks
    ]
