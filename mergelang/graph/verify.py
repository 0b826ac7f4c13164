"""What must hold of every graph, checked after it is built and after each pass.

A graph that fails is a mistake of ours, never of a recipe: the error names the pass and the node.
"""

from mergelang.check.schedule import ZERO, Arithmetic, Arms, Constant, Curve, Schedule, at
from mergelang.graph.node import Graph, Node, postorder
from mergelang.ops.registry import operators
from mergelang.tensors import Place

SCHEDULES = Constant | Curve | Arms | Arithmetic

PLACES = (
    Place("model.embed_tokens.weight", None, 7, frozenset({"embed"})),
    *(Place(f"model.layers.{layer}.mlp.up_proj.weight", layer, 7) for layer in range(7)),
)
"""Where schedules are compared when no tensors are known."""


class BrokenGraph(AssertionError):
    """A graph that does not hold together: which pass made it, which node, what is wrong."""

    def __init__(self, made_by: str, node: Node | None, problem: str):
        super().__init__(f"graph after {made_by}: {problem}" + (f" at {node!r}" if node else ""))
        self.made_by, self.node, self.problem = made_by, node, problem


def verify(graph: Graph, made_by: str, before: Graph | None = None) -> None:
    """Raises BrokenGraph unless the graph is sound and its outputs weigh what they did `before`."""
    def check(holds: bool, node: Node | None, problem: str) -> None:
        if not holds:
            raise BrokenGraph(made_by, node, problem)

    known: set[Node] = set()
    for node in graph.nodes:
        check(known.issuperset(node.inputs), node, "an input does not stand before what uses it")
        known.add(node)
    roots = [*(node for _, node in graph.outputs), *graph.names]
    reached = postorder(roots, lambda node: node.inputs)
    for node in roots:
        check(node in known, node, "an output or a name is not in it")
    loose = known.difference(reached)
    check(not loose, next(iter(loose), None), "it has loose nodes")
    check(len(known) == len(graph.nodes), None, "a node stands in it twice")
    structures = set()
    for node in reached:
        names = [name for name, _ in node.attrs]
        check(names == sorted(set(names)), node, "attributes are not sorted")
        try:
            structure = (node.op, node.inputs, node.attrs, node.key, node.seed)
            check(structure not in structures, node, "two nodes are equal")
            structures.add(structure)
        except TypeError as error:
            raise BrokenGraph(made_by, node, f"an attribute has no hash: {error}") from error
        problem = _arity(node) or (_affine(node) if node.op == "affine" else None)
        check(problem is None, node, problem or "")
    if before is not None:
        check(len(graph.outputs) == len(before.outputs), None, "the number of outputs changed")
        for (_, old), (_, new) in zip(before.outputs, graph.outputs, strict=True):
            check(_same(old.mass, new.mass, old), new, "the mass of an output changed")


def _arity(node: Node) -> str | None:
    count = len(node.inputs)
    match node.op:
        case "source":
            least, most = 0, 0
        case "affine":
            least, most = 1, None
        case "lora":
            least, most = 0, 0
        case "slice" | "module" | "renamed" | "adapted":
            least, most = 1, 1
        case "graft":
            least, most = 2, None
        case "patch":
            least, most = 2, 2
        case "retokenize" | "resized":
            least, most = 1, None
        case "match":
            least = most = len(node["patterns"])
        case name if name in operators():
            signature = operators()[name].signature
            named = len(signature.named)
            least = signature.least + named
            most = None if signature.most is None else signature.most + named
        case name:
            return f"there is no operator {name}"
    if count < least or (most is not None and count > most):
        return f"{count} inputs do not fit"
    return None


def _affine(node: Node) -> str | None:
    coefficients, points = node["coefficients"], node["points"]
    if not len(coefficients) == len(points) == len(node.inputs):
        return "coefficients and points are not one for each input"
    if not all(isinstance(each, SCHEDULES) for each in coefficients):
        return "a coefficient is no schedule"
    if points != tuple(each.mass != ZERO for each in node.inputs):
        return "points are not the inputs with a mass"
    return None


def _same(old: Schedule, new: Schedule, node: Node) -> bool:
    """Whether two schedules are the same numbers, at the node's tensors if they are known."""
    if old == new:
        return True
    inventory = node.term.inventory
    places = PLACES if inventory is None else map(inventory.place, inventory)
    return all(at(old, place) == at(new, place) for place in places)
