"""A graph as people see it: boxes and lines, before any form of drawing.

Models are boxes, an operator's box is where its lines join. Every named expression has a box; the
steps of an unnamed sum are one box, and so is a call with `base:`. Knows no coordinates.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from mergelang.check.mass import combine
from mergelang.check.program import Destination
from mergelang.check.schedule import ONE, Schedule
from mergelang.draw.words import path_shortened, plain_text, schedule_text, shortened
from mergelang.graph.build import lower
from mergelang.graph.node import Graph, Node

SOURCE, SUM, OPERATOR, OUTPUT = "source", "sum", "operator", "output"

WIDEST = 28
"""Characters of a recipe's text that a box shows."""


@dataclass(frozen=True)
class Box:
    """A model, an operation or an output. `id` is `n1`, `n2`, ... in the order of the recipe.

    `name` is the statement's, None for an expression without one; `text` what stands there. `node`
    is what it draws, of an output the model that is written; `target` of an output.
    """

    id: str
    kind: str
    name: str | None
    text: str
    node: Node
    target: Destination | None = None

    @property
    def lines(self) -> tuple[str, ...]:
        """What stands in the box: one line, or two."""
        return (self.text,) if self.name is None else tuple(filter(None, (self.name, self.text)))


@dataclass(frozen=True)
class Line:
    """From a box to one that uses it. `label`: a coefficient, or the option it is given by."""

    source: str
    target: str
    label: str = ""


@dataclass(frozen=True)
class Picture:
    boxes: tuple[Box, ...]
    lines: tuple[Line, ...]


def picture(graph: Graph) -> Picture:
    """The boxes and lines of a graph's program, inputs before what uses them."""
    graph = lower(graph.program)
    ids: dict[Node, str] = {}
    boxes: list[Box] = []
    lines: list[Line] = []

    def visit(node: Node) -> str:
        if node in ids:
            return ids[node]
        inputs = [(visit(each), label) for each, label in inputs_of(node, graph)]
        ids[node] = f"n{len(boxes) + 1}"
        boxes.append(_box(ids[node], node, graph.names.get(node)))
        lines.extend(_lines(inputs, ids[node]))
        return ids[node]

    for node in graph.names:
        visit(node)
    for target, node in graph.outputs:
        source = visit(node)
        box = Box(f"n{len(boxes) + 1}", OUTPUT, None, target.text, node, target)
        boxes.append(box)
        lines.append(Line(source, box.id))
    return Picture(tuple(boxes), tuple(lines))


def operator_of(node: Node) -> Node:
    """The node of the operator that a box draws: of a call with `base:` the one inside."""
    return node.inputs[1] if node.op == "affine" and node.term.op == "from_base" else node


def inputs_of(node: Node, graph: Graph) -> list[tuple[Node, str]]:
    """What a box's lines come from, with their labels."""
    if _is_call(node, graph):
        base, delta = node.inputs
        return [*((each.inputs[0], "") for each in delta.inputs), (base, "base")]
    if node.op == "affine":
        parts: dict[Node, Schedule] = {}
        for each, by in _parts(node, ONE, graph):
            parts[each] = combine("+", parts[each], by) if each in parts else by
        return [(each, "" if by == ONE else schedule_text(by)) for each, by in parts.items()]
    if node.op == "patch":
        return [*inputs_of(node.inputs[0], graph), (node.inputs[1], "from")]
    if node.op in ("adapted", "renamed") and node.inputs[0].op == "resized":
        return [(node.inputs[0].inputs[0], "")]
    return [(each, "") for each in node.inputs]


def _is_call(node: Node, graph: Graph) -> bool:
    """Whether a node is a call with `base:`, drawn as one box."""
    if node.op != "affine" or node.term.op != "from_base":
        return False
    base, delta = node.inputs
    return delta not in graph.names and all(
        each.op == "affine" and each.term.op == "sub" and each.inputs[1] is base
        for each in delta.inputs
    )


def _parts(node: Node, by: Schedule, graph: Graph) -> Iterator[tuple[Node, Schedule]]:
    for each, coefficient in zip(node.inputs, node["coefficients"], strict=True):
        product = combine("*", by, coefficient)
        if each.op != "affine" or each in graph.names or _is_call(each, graph):
            yield each, product
        else:
            yield from _parts(each, product, graph)


def _lines(inputs: list[tuple[str, str]], target: str) -> Iterator[Line]:
    labels: dict[str, list[str]] = {}
    for source, label in inputs:
        labels.setdefault(source, []).append(label)
    for source, found in labels.items():
        yield Line(source, target, ", ".join(filter(None, dict.fromkeys(found))))


def _box(id: str, node: Node, name: str | None) -> Box:
    while node.op == "patch":
        node = node.inputs[0]
    text = plain_text(node.term.span)
    if node.op == "lora":
        return Box(id, SOURCE, name, shortened(text, WIDEST), node)
    if node.op == "source":
        return Box(id, SOURCE, name, path_shortened(node["reference"].text, WIDEST), node)
    if node.op == "retokenize":
        return Box(id, OPERATOR, name, node.op, node)
    if node.op == "affine" and node.term.op != "from_base":
        return Box(id, SUM, name, shortened(text, WIDEST), node)
    operator = operator_of(node).op
    return Box(id, OPERATOR, name, text if len(text) <= WIDEST else operator, node)
