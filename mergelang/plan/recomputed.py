"""Which nodes of a recipe are evaluated more than once for a tensor, rather than held whole.

What several passes over a tensor need is evaluated in each of them. Nothing is read here.
"""

from collections.abc import Mapping

from mergelang.graph.node import Node
from mergelang.models.checkpoint import Checkpoint
from mergelang.models.reference import Reference
from mergelang.ops.expr import Expr
from mergelang.plan.lower import Lowering
from mergelang.plan.passes import readers
from mergelang.plan.plan import COMPUTE, Task

GIVEN = frozenset({"load", "gather", "fill", "whole"})
"""What is read, and not evaluated."""


def recomputed(
    node: Node, task: Task, checkpoints: Mapping[Reference, Checkpoint]
) -> dict[Node, int]:
    """How many passes evaluate what a node adds to the expression of a task's tensor, for all nodes
    below one of which that are several; outer ones first, without what no pass evaluates but for
    one of them."""
    if task.action != COMPUTE or task.passes == 1:
        return {}
    lowering = Lowering(checkpoints)
    root = lowering.value(node, task.name).expr
    passes = {
        expr: min(len(numbers), task.passes)
        for expr, numbers in readers(root, apart=task.spills > 0).items() if expr.op not in GIVEN
    }  # fmt: skip
    found: dict[Node, int] = {}
    claimed: set[Expr] = set()
    for each, expr in lowering.made:
        if _implied(each):
            continue  # what it adds is that of the call
        own = _below(expr, claimed)
        claimed.update(own)
        found[each] = max((found.get(each, 0), *(passes.get(one, 0) for one in own)))
    most: dict[Node, int] = {}  # of the passes that evaluate a node that uses this one
    for each, count in reversed(found.items()):
        for below in each.inputs:
            most[below] = max(most.get(below, 1), count, most.get(each, 1))
    return {each: n for each, n in reversed(found.items()) if n > most.get(each, 1)}


def _implied(node: Node) -> bool:
    """Whether a node is no words of the recipe: the task vector of an input of a call with `base:`.
    """
    return node.term.op == "sub" and "-" not in node.term.span.text


def _below(root: Expr, known: set[Expr]) -> list[Expr]:
    """The expressions below one that are not known yet."""
    found: dict[Expr, None] = {}
    stack = [root]
    while stack:
        expr = stack.pop()
        if expr not in known and expr not in found:
            found[expr] = None
            stack.extend(expr.args)
    return list(found)
