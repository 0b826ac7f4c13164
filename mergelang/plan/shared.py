"""Tensors that several outputs of one run have alike: made for the first, copied by the others.

Compares derivations; nothing is read. A copy is never more work than the passes over the inputs.
"""

from dataclasses import replace

from mergelang.plan.cached import file_names
from mergelang.plan.keys import derivation
from mergelang.plan.plan import COMPUTE, SHARED, Plan
from mergelang.tensors import Extent


def with_shared(plan: Plan) -> Plan:
    """The plan with each tensor that an earlier output of it makes taken from there."""
    if len(plan.outputs) == 1:
        return plan
    names = plan.cache.names if plan.cache else file_names(plan)
    arith = plan.graph.program.arith
    made: dict[str, Extent] = {}
    outputs = []
    for output in plan.outputs:
        places = output.extents
        new: dict[str, Extent] = {}
        tasks = []
        for task in output.tasks:
            computed = task.original.action == COMPUTE and not output.current
            derived = derivation(task.original, names, arith) if computed else None
            if derived is not None:
                new[derived.key] = places[task.name]
                if task.action == COMPUTE and derived.key in made:
                    task = task.taken(SHARED, made[derived.key], change=task.change)
            tasks.append(task)
        made = new | made
        outputs.append(replace(output, tasks=tuple(tasks)))
    return replace(plan, outputs=tuple(outputs))
