"""The DAG of a program: one immutable, interned node type.

Equal expressions are one node, whatever they are called and wherever they stand, so sharing needs
no search once nodes exist. Spans and names live in `Graph`, beside the nodes.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from mergelang.check.mass import combine
from mergelang.check.program import Destination, Program, Term
from mergelang.check.schedule import ZERO, Schedule
from mergelang.models.reference import Reference

if TYPE_CHECKING:
    import networkx


@dataclass(frozen=True, eq=False, repr=False)
class Node:
    """One model-valued operation.

    `op`: source | lora | adapted | resized | affine | slice | module | graft | renamed | match |
    patch | retokenize | an operator's name. `attrs` are sorted pairs of name and hashable value
    (Schedules, words, tuples):

        source      reference
        lora        reference, of an adapter: what it adds
        adapted     reference, of an adapter: what it makes of the input
        resized     reference, of an adapter: the first input with the tables that it holds whole,
                    `words`: what their rows stand for
        affine      coefficients, points, mass: `sum of coefficient_i * input_i`, with one Schedule
                    for each input and whether it is a point rather than a delta, so the algebra of
                    a recipe is one node however it was written; `mass` is that of the sum
        slice       low, high
        module      words: the module of a model
        graft       words: the modules that the further inputs take the places of
        renamed     names: a digest of those that another model has for the input's tensors
        match       patterns, one for each input
        retokenize  alignment: where the rows of the first input's tables come from
        patch       names: tensors that come from the second input, all others from the first
        others      the options of the operator

    `key` is the structural key that random masks depend on: operators and sources, no numbers. It
    is fixed when the program is lowered and survives every pass. `term` is one of those that the
    node stands for.
    """

    op: str
    inputs: "tuple[Node, ...]"
    attrs: tuple[tuple[str, Any], ...]
    key: bytes
    seed: int
    term: Term = field(compare=False)

    def __getitem__(self, name: str) -> Any:
        for key, value in self.attrs:
            if key == name:
                return value
        raise KeyError(name)

    def __repr__(self) -> str:
        return f"{self.op}({', '.join(each.op for each in self.inputs)})"

    @property
    def reference(self) -> Reference | None:
        """The source that the node reads itself."""
        return dict(self.attrs).get("reference")

    @property
    def mass(self) -> Schedule:
        """1 for a model, 0 for a task vector; of an `affine`, what its algebra gives, whatever
        `as_model` says about it."""
        return self["mass"] if self.op == "affine" else self.term.mass


@dataclass(frozen=True, eq=False)
class Graph:
    """Nodes, each after its inputs, the root of each output, names.

    `names`: what people call a node, where a statement names it.
    """

    program: Program
    nodes: tuple[Node, ...]
    outputs: tuple[tuple[Destination, Node], ...]
    names: Mapping[Node, str]

    @cached_property
    def dag(self) -> "networkx.DiGraph":
        """The nodes in a networkx DiGraph, edges from input to user. Made when it is asked for: to
        load networkx takes longer than to check most recipes."""
        import networkx

        made = networkx.DiGraph()
        made.add_nodes_from(self.nodes)
        made.add_edges_from((each, node) for node in self.nodes for each in node.inputs)
        return made


class Interner:
    """Makes nodes; a structure that was made before is the same object."""

    def __init__(self) -> None:
        self._nodes: dict[tuple[Any, ...], Node] = {}

    def node(
        self, op: str, inputs: Iterable[Node], attrs: Mapping[str, Any], like: "Node | None" = None,
        *, key: bytes = b"", seed: int = 0, term: Term | None = None,
    ) -> Node:  # fmt: skip
        """The node of this structure; key, seed and term are those of `like`, or given."""
        if like is not None:
            key, seed, term = like.key, like.seed, like.term
        made = Node(op, tuple(inputs), tuple(sorted(attrs.items())), key, seed, term)
        return self._nodes.setdefault((made.op, made.inputs, made.attrs, key, seed), made)

    def affine(
        self, parts: Iterable[tuple[Node, Schedule]], like: "Node | None" = None, **identity: Any
    ) -> Node:
        """The weighted sum of some nodes."""
        inputs, coefficients = zip(*parts, strict=True)
        mass: Schedule = ZERO
        for each, by in zip(inputs, coefficients, strict=True):
            mass = combine("+", mass, combine("*", by, each.mass))
        points = tuple(each.mass != ZERO for each in inputs)
        attrs = {"coefficients": coefficients, "points": points, "mass": mass}
        return self.node("affine", inputs, attrs, like, **identity)


T = TypeVar("T")


def postorder(roots: Iterable[T], inputs: Callable[[T], Iterable[T]]) -> list[T]:
    """Everything under the roots, each once, inputs before what uses them."""
    order: list[T] = []
    seen: set[T] = set()
    stack = [(root, False) for root in reversed(list(roots))]
    while stack:
        each, ready = stack.pop()
        if ready:
            order.append(each)
        elif each not in seen:
            seen.add(each)
            stack.append((each, True))
            stack.extend((below, False) for below in reversed(list(inputs(each))))
    return order


def assemble(
    program: Program, outputs: Iterable[tuple[Destination, Node]], names: Mapping[Node, str]
) -> Graph:
    """The graph of everything under some outputs and named nodes."""
    outputs = tuple(outputs)
    roots = [*(node for _, node in outputs), *names]
    return Graph(program, tuple(postorder(roots, lambda node: node.inputs)), outputs, names)
