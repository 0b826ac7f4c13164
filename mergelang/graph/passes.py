"""The passes over a graph, by name: pure functions from graph to graph.

Every pass keeps what each output and named expression is worth at every tensor, and the structural
key of every node that an operator looks at: a random mask does not depend on what was folded.
"""

from collections.abc import Callable
from typing import Any

from mergelang.check.mass import combine
from mergelang.check.schedule import ONE, ZERO, Arithmetic, Arms, Constant, Curve, Schedule
from mergelang.graph.node import Graph, Interner, Node, assemble, postorder
from mergelang.lang import ast
from mergelang.ops.registry import operators
from mergelang.tensors import Inventory

CHOOSING = ("match", "patch", "slice", "retokenize", "resized", "module", "graft", "renamed")
"""What takes tensors as they are from its inputs, under whatever names."""

Rule = Callable[[Interner, Node, tuple[Node, ...]], Node]


def fold_constants(graph: Graph) -> Graph:
    """Schedules that are one number everywhere become that number."""

    def rule(intern: Interner, node: Node, inputs: tuple[Node, ...]) -> Node:
        if node.op == "affine":
            return intern.affine(
                zip(inputs, map(simplify, node["coefficients"]), strict=True), node
            )
        return intern.node(node.op, inputs, {k: _simplified(v) for k, v in node.attrs}, node)

    return _rewrite(graph, rule)


def fold_affine(graph: Graph) -> Graph:
    """Sums of sums become one sum, each input once; what counts for nothing is left out."""
    watched = _watched(graph)

    def rule(intern: Interner, node: Node, inputs: tuple[Node, ...]) -> Node:
        if node.op != "affine":
            return _copy(intern, node, inputs)
        parts: dict[Any, tuple[Node, Schedule]] = {}
        for each, by in zip(inputs, node["coefficients"], strict=True):
            for below, coefficient in _spread(each, by, node):
                like = below.attrs if below.op == "source" else below
                first, so_far = parts.get(like, (below, ZERO))
                parts[like] = (first, simplify(combine("+", so_far, coefficient)))
        # One input stays, with coefficient 0, to say what zero has the shape of.
        counted = [part for part in parts.values() if part[1] != ZERO] or list(parts.values())[:1]
        if len(counted) == 1 and counted[0][1] == ONE:
            only = counted[0][0]
            if only.key == node.key or node not in watched:
                return only
        return intern.affine(counted, node)

    return _rewrite(graph, rule)


def share(graph: Graph) -> Graph:
    """Nodes that have become equal become one."""
    return _rewrite(graph, lambda intern, node, inputs: _copy(intern, node, inputs))


def drop_unused(graph: Graph) -> Graph:
    """What no output needs goes."""
    used = set(postorder((node for _, node in graph.outputs), lambda node: node.inputs))
    names = {node: name for node, name in graph.names.items() if node in used}
    return assemble(graph.program, graph.outputs, names)


PASSES = (fold_constants, fold_affine, share, drop_unused)
"""What a program goes through before it is planned, in this order."""


def _rewrite(graph: Graph, rule: Rule) -> Graph:
    """A new graph, made bottom-up; names go to what has taken their node's place."""
    intern = Interner()
    new: dict[Node, Node] = {}
    roots = [*(node for _, node in graph.outputs), *graph.names]
    for node in postorder(roots, lambda node: node.inputs):
        new[node] = rule(intern, node, tuple(new[each] for each in node.inputs))
    names: dict[Node, str] = {}
    for node, name in graph.names.items():
        names.setdefault(new[node], name)
    return assemble(graph.program, ((target, new[node]) for target, node in graph.outputs), names)


def _copy(intern: Interner, node: Node, inputs: tuple[Node, ...]) -> Node:
    if node.op == "affine":
        return intern.affine(zip(inputs, node["coefficients"], strict=True), node)
    return intern.node(node.op, inputs, dict(node.attrs), node)


def _spread(node: Node, by: Schedule, user: Node) -> list[tuple[Node, Schedule]]:
    """What `by * node` is a sum of, seen from a node that uses it."""
    if node.op != "affine":
        return [(node, by)]
    coefficients = node["coefficients"]
    varies = any(not isinstance(each, Constant) for each in coefficients)
    if varies and not _same_places(node.term.inventory, user.term.inventory):
        return [(node, by)]
    return [
        (each, combine("*", by, inner))
        for each, inner in zip(node.inputs, coefficients, strict=True)
    ]


def _same_places(one: Inventory | None, other: Inventory | None) -> bool:
    """Whether a schedule has the same number at each tensor of both. Adapters take their users'."""
    if one is other or one is None or other is None or one.sparse:
        return True
    return one.layering == other.layering and one.roles == other.roles


def _watched(graph: Graph) -> set[Node]:
    """The nodes whose keys operators get to see: their inputs, also through what only chooses."""
    watched: set[Node] = set()
    for node in reversed(graph.nodes):
        if node.op == "affine":
            continue
        chooses = node.op in CHOOSING or (
            node.reference is None and operators()[node.op].signature.arranges
        )
        if not chooses or node in watched:
            watched.update(node.inputs)
    return watched


def simplify(schedule: Schedule) -> Schedule:
    """The same schedule, as a constant where its form shows that it is one."""
    match schedule:
        case Curve(points) if len(set(points)) == 1:
            return Constant(points[0])
        case Arithmetic(op, left, right):
            left, right = simplify(left), simplify(right)
            if op == "/" and right == ZERO:
                return Arithmetic(op, left, right)
            return combine(op, left, right)
        case Arms(arms, default):
            return _simplified_arms(arms, default)
    return schedule


def _simplified_arms(
    arms: tuple[tuple[ast.Pattern, Schedule], ...], default: Schedule | None
) -> Schedule:
    kept: list[tuple[ast.Pattern, Schedule]] = []
    last = None if default is None else simplify(default)
    for pattern, value in arms:
        if isinstance(pattern, ast.Anything):
            last = simplify(value)
            break
        kept.append((pattern, simplify(value)))
    while kept and kept[-1][1] == last:
        kept.pop()
    if not kept and last is not None:
        return last
    return Arms(tuple(kept), last)


def _simplified(value: Any) -> Any:
    """An option with its schedules simplified, item by item in a tuple."""
    if isinstance(value, tuple):
        return tuple(map(_simplified, value))
    return simplify(value) if isinstance(value, Curve | Arms | Arithmetic) else value
