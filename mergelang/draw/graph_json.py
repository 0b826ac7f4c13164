"""A graph as plain data."""

from typing import Any

from mergelang.draw.picture import OUTPUT, Box, operator_of, picture
from mergelang.draw.words import option_text, plain_text, schedule_text
from mergelang.graph.node import Graph


def graph_json(graph: Graph) -> dict[str, Any]:
    """Nodes and edges; an option's value is text as a recipe writes it."""
    shown = picture(graph)
    return {
        "nodes": [_node(box) for box in shown.boxes],
        "edges": [
            {"source": line.source, "target": line.target, "label": line.label}
            for line in shown.lines
        ],
    }


def _node(box: Box) -> dict[str, Any]:
    facts: dict[str, Any] = {"id": box.id, "kind": box.kind, "name": box.name}
    if box.kind == OUTPUT:
        return facts | {"text": box.target.text, "path": box.target.path}
    term = box.node.term
    inventory = term.inventory
    facts |= {
        "op": operator_of(box.node).op,
        "text": plain_text(term.span),
        "mass": schedule_text(term.mass),
        "options": options(box),
    }
    if inventory is not None:
        facts |= {"tensors": len(inventory), "bytes": inventory.nbytes}
    return facts


def options(box: Box) -> dict[str, str]:
    """The options of a box's operation by name, as text."""
    node = operator_of(box.node)
    if node.op == "affine":
        return {}
    if node.reference is not None:
        return {"source": node.reference.text}
    return {name: option_text(value) for name, value in node.attrs}
