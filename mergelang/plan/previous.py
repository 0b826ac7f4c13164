"""What of an output that is there already can be kept: tensors whose derivation is the same.

Compares derivations and the facts of files; no weight is read. Whether a kept tensor's bytes are
still those that were written is found when they are copied.
"""

from collections.abc import Mapping
from dataclasses import replace

from mergelang.files import Facts, facts_of
from mergelang.plan.keys import Derivation, derivation
from mergelang.plan.plan import KEEP, OutputPlan, Plan
from mergelang.plan.prepare import preparations
from mergelang.store import digests
from mergelang.store.outputs import Made, Written, load

NEW = "new tensor"
MISSING = "missing"
CHANGED = "changed on disk"
INPUT = "new input"
OPERATOR = "new operator"
VERSION = "new operator version"
PARAMETER = "new parameter"


def with_previous(plan: Plan) -> Plan:
    """The plan with every tensor kept that an earlier run of it has written and nobody changed."""
    before = [load(output.path) for output in plan.outputs]
    if not any(before):
        return plan
    known = known_digests(plan)
    outputs = (
        _kept(output, written, known, plan.graph.program.arith) if written else output
        for output, written in zip(plan.outputs, before, strict=True)
    )
    return replace(plan, outputs=tuple(outputs))


def known_digests(plan: Plan) -> dict[str, str]:
    """The digests, as far as they are known, of all files that hold weights for a plan.

    Of files on the Hub the one that it states, whether they were fetched or not; of gates that were
    made before, theirs.
    """
    found = {}
    for each in plan.checkpoints.values():
        for file in each.files:
            stated = each.origin and each.origin.files.get(file.name)
            found[str(file)] = stated.digest if stated else digests.identity(str(file))
    for each in preparations((output.node for output in plan.outputs), plan.checkpoints):
        found[each.value.path] = each.digest
    return {path: digest for path, digest in found.items() if digest}


def _kept(
    output: OutputPlan, written: Written, known: Mapping[str, str], arith: str | None
) -> OutputPlan:
    files = {name: _state(output, name, facts) for name, facts in written.files.items()}
    if all(state == MISSING for state in files.values()):
        gone = tuple(task._replace(change=MISSING) for task in output.tasks)
        return replace(output, tasks=gone)
    written = load(output.path, tensors=True) or written
    tasks = []
    for task in output.tasks:
        made = written.tensors.get(task.name)
        change = NEW
        if made is not None:
            lies = made.extent.path.rpartition("/")[2]
            now = derivation(task, known, arith)
            change = _change(made, now) or files.get(lies, MISSING)
        tasks.append(
            task._replace(change=change) if change else task.taken(KEEP, made.extent, made.digest)
        )
    return replace(output, tasks=tuple(tasks))


def _state(output: OutputPlan, name: str, facts: Facts) -> str:
    """What is wrong with a file of the output; empty if it is as it was written."""
    try:
        return "" if facts_of(output.path / name) == facts else CHANGED
    except OSError:
        return MISSING


def _change(made: Made, now: Derivation | None) -> str:
    """Why a tensor comes to be otherwise than it did; empty if it does not."""
    if now is None:
        return INPUT
    if now.key == made.key:
        return ""
    if now.operators != made.operators:
        versions = {_name(each) for each in now.operators} == {_name(each) for each in
                                                               made.operators}  # fmt: skip
        return VERSION if versions else OPERATOR
    return INPUT if now.inputs != made.inputs else PARAMETER


def _name(operator: str) -> str:
    return operator.partition(" ")[0]
