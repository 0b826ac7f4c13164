"""Through which nodes of the graph each output tensor is made: what progress by node counts."""

from collections.abc import Mapping

from mergelang.graph.node import Node
from mergelang.ops.layout import Changed, Pick
from mergelang.plan.lower import absent, arm_of


def reach(node: Node, name: str, known: dict[tuple[Node, str], frozenset[Node]]) -> frozenset[Node]:
    """The nodes that take part in making one tensor of a node, itself among them.

    `known` keeps what was found, and may be shared by all tensors of a graph.
    """
    found = known.get((node, name))
    if found is None:
        below = _inputs(node, name)
        found = frozenset({node}).union(*(reach(each, other, known) for each, other in below))
        known[node, name] = found
    return found


def _inputs(node: Node, name: str) -> list[tuple[Node, str]]:
    """The inputs that a tensor of a node is made from, and its name there."""
    if node.term.inventory is not None and absent(node, name):
        return []
    if node.op == "match":
        return [(node.inputs[arm_of(node, node.term.inventory.place(name))], name)]
    if node.op == "patch":
        return [(node.inputs[name in node["names"]], name)]
    if node.term.layout is not None:
        origin = node.term.layout.origins[name]
        if isinstance(origin, Pick | Changed):
            return [(node.inputs[origin.input], origin.name)]
    return [(each, name) for each in node.inputs if _has(each, name)]


def _has(node: Node, name: str) -> bool:
    inventory: Mapping | None = node.term.inventory
    return inventory is None or name in inventory
