"""The DAG of a program: one immutable, interned node type.

Equal expressions are one node, whatever they are called and wherever they stand, so sharing needs
no pass of its own once nodes exist. Spans and names live in `Graph`, beside the nodes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import networkx

from mergelang.check.program import Destination, Program, Term


@dataclass(frozen=True, eq=False, repr=False)
class Node:
    """One model-valued operation.

    `op`: source | affine | slice | match | an operator's name. `attrs` are sorted pairs of name and
    hashable value (Schedules, words, tuples). An `affine` node is `sum of coefficient_i * input_i`
    with `coefficients` (Schedules) and `points` (for each input: whether it is a point rather than
    a delta) among its attrs, so the algebra of a recipe is one node however it was written.

    `key` is the structural key that random masks hang on: operators and sources, no numbers. It is
    fixed when the program is lowered and survives every pass.
    """

    op: str
    inputs: "tuple[Node, ...]"
    attrs: tuple[tuple[str, Any], ...]
    key: bytes
    seed: int
    term: Term = field(compare=False)

    def __getitem__(self, name: str) -> Any:
        return dict(self.attrs)[name]

    def __repr__(self) -> str:
        return f"{self.op}({', '.join(map(repr, self.inputs))})"


@dataclass(frozen=True, eq=False)
class Graph:
    """Nodes in a networkx DiGraph (edges from input to user), the root of each output, names.

    `names`: what people call a node, where a statement names it.
    """

    program: Program
    dag: networkx.DiGraph
    outputs: tuple[tuple[Destination, Node], ...]
    names: Mapping[Node, str]
