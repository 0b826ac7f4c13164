"""From the graph of models to the expression of one output tensor.

Walks the graph for a tensor's name: slices and stacks turn it into the name of an input's tensor,
a `match` picks its arm, schedules become numbers at the tensor's place, operators run their bodies.
Nothing is read.
"""

from collections.abc import Mapping
from importlib import import_module
from typing import Any, NamedTuple

from mergelang.check.schedule import Arithmetic, Arms, Constant, Curve, at, matches
from mergelang.check.value import Opened
from mergelang.errors import Diagnostic, RecipeError
from mergelang.graph.node import Node
from mergelang.models.checkpoint import Checkpoint
from mergelang.models.reference import Reference
from mergelang.ops.expr import BLOCK, Context, Expr, Extent, Value, load, make, zeros
from mergelang.ops.layout import Changed, Pick, Prepared
from mergelang.ops.registry import operators
from mergelang.ops.signature import Operator
from mergelang.ops.sums import weighted_sum
from mergelang.plan.adapters import added_by, merged
from mergelang.tensors import MERGEABLE, Inventory, Place

SCHEDULES = (Constant, Curve, Arms, Arithmetic)


class Call(NamedTuple):
    """One call of an operator's body: what went in, and what came out."""

    operator: str
    version: int
    inputs: tuple[Expr, ...]
    result: Expr


class Lowering:
    """Values of one output tensor; shared nodes are lowered once. Make one for each tensor.

    `calls` are those of operators that were met on the way, `made` what each node came to, inner
    ones first. `extents` and `names` give symbols for
    stored tensors and names, where the expression is that of many tensors.
    """

    def __init__(
        self,
        checkpoints: Mapping[Reference, Checkpoint],
        extents: Mapping[Extent, Extent] | None = None,
        names: Mapping[str, str] | None = None,
    ):
        self._checkpoints = checkpoints
        self._extents, self._names = extents or {}, names or {}
        self.calls: list[Call] = []
        self.made: list[tuple[Node, Expr]] = []
        self._values: dict[tuple[int, str, int], Value] = {}

    def value(self, node: Node, name: str, within: Inventory | None = None) -> Value:
        """The value of tensor `name` of a node. It exists: the checker has seen to that.

        What is made of adapters alone takes types, layers and roles from what it is added to, whose
        tensors are `within`, and is zero where no adapter is.
        """
        inventory = node.term.inventory
        within = within if inventory.sparse and within is not None else inventory
        key = (id(node), name, id(within))
        known = self._values.get(key)
        if known is None:
            known = self._values[key] = self._lower(node, name, within)
            self.made.append((node, known.expr))
        return known

    def _lower(self, node: Node, name: str, within: Inventory) -> Value:
        place = within.place(name)
        tensor = self._names.get(name, name)
        context = Context(node.seed, tensor, within[name], place.depth)
        if absent(node, name):
            return Value(make(BLOCK, "fill", (), 0.0), node.key, context)
        match node.op:
            case "source":
                checkpoint = self._checkpoints[node["reference"]]
                extent = checkpoint.extents[name]
                return load(self._extents.get(extent, extent), node.key, context)
            case "lora":
                part = self._checkpoints[node["reference"]].parts[name]
                result = added_by(part, node.key, context)
            case "adapted":
                base = self.value(node.inputs[0], name)
                adapter = self._checkpoints[node["reference"]]
                part = adapter.parts.get(name)
                if part is None:
                    return base
                result = merged(base, part, node.key, name in adapter.tables)
            case "match":
                return self.value(node.inputs[arm_of(node, place)], name, within)
            case "patch":
                chosen = node.inputs[name in node["names"]]
                return self.value(chosen, name, within)
            case "affine":
                result = self._affine(node, name, within)
            case _ if node.term.layout is not None:
                origin = node.term.layout.origins[name]
                if isinstance(origin, Pick):
                    return self.value(node.inputs[origin.input], origin.name)
                if isinstance(origin, Prepared):
                    result = load(self._prepared(node, origin.name), node.key, context)
                elif isinstance(origin, Changed):
                    inner = self.value(node.inputs[origin.input], origin.name)
                    options = {key: resolve(value, place) for key, value in node.attrs}
                    result = origin.make(inner, context, node.key, options)
                else:
                    result = origin.make(context, node.key)
                if node.op in operators():
                    self._note(operators()[node.op], [], result)
            case _:
                inputs = [self.value(each, name, within) for each in node.inputs]
                options = {key: resolve(value, place) for key, value in node.attrs}
                result = self._call(operators()[node.op], node, name, inputs, options)
        return Value(result.expr, node.key, context)

    def _prepared(self, node: Node, name: str) -> Extent:
        """Where a prepare task leaves a tensor. By name, since such tasks are planned with this."""
        module = import_module("mergelang.plan.prepare")
        return module.preparation(node, self._checkpoints).tensors[name]

    def _call(
        self, operator: Operator, node: Node, name: str, inputs: list[Value],
        options: dict[str, Any],
    ) -> Value:  # fmt: skip
        """The body's result. What a package's body raises is told as a mistake of the package."""
        package = operator.signature.origin
        try:
            result = operator(*inputs, **options)
            self._note(operator, inputs, result)
            return result
        except Exception as error:
            if package == "mergelang":
                raise
            facts = {
                "operator": operator.name, "package": package, "tensor": name,
                "reason": f"{type(error).__name__}: {error}",
            }  # fmt: skip
            raise RecipeError([Diagnostic("E0320", node.term.span, facts)]) from error

    def _note(self, operator: Operator, inputs: list[Value], result: Value) -> None:
        exprs = tuple(each.expr for each in inputs)
        self.calls.append(Call(operator.name, operator.signature.version, exprs, result.expr))

    def _affine(self, node: Node, name: str, within: Inventory) -> Value:
        """`sum of c_i x_i`, written as `mass * anchor + sum of c_i (x_i - anchor)` over the points.

        So equal points give exactly that point, and a task vector's own base cancels before it is
        scaled. The anchor is the first point; of a delta's points the one subtracted most.
        """
        place = within.place(name)
        points, deltas = [], []
        for each, by, is_point in zip(
            node.inputs, node["coefficients"], node["points"], strict=True
        ):
            coefficient = at(by, place)
            if is_point or (coefficient and not absent(each, name)):
                terms = points if is_point else deltas
                terms.append((self.value(each, name, within), coefficient))
        values = [value for value, _ in deltas]
        weights = [weight for _, weight in deltas]
        anchor = None
        if points:
            mass = sum(weight for _, weight in points)
            index = 0 if mass else min(range(len(points)), key=lambda i: points[i][1])
            anchor = points[index][0]
            rest = [(x, c) for x, c in points if c and x.expr is not anchor.expr]
            values = [x - anchor for x, _ in rest] + values
            weights = [c for _, c in rest] + weights
            if not mass:
                anchor = None
            elif mass != 1:
                anchor = anchor * mass
        if not values:
            if anchor is not None:
                return anchor
            return zeros(self.value(node.inputs[0], name, within))
        total = weighted_sum(values, weights)
        return total if anchor is None else anchor + total


def absent(node: Node, name: str) -> bool:
    """Whether a node is made of adapters none of which touches this tensor."""
    return node.term.inventory.sparse and name not in node.term.inventory


def arm_of(node: Node, place: Place) -> int:
    """The number of the arm of a `match` node that a tensor takes."""
    return next(i for i, pattern in enumerate(node["patterns"]) if matches(pattern, place))


def resolve(value: Any, place: Place) -> Any:
    """An option's value at a tensor: schedules become numbers, files of statistics the Extent of
    the tensor in them (or None); tuples go item by item."""
    if isinstance(value, SCHEDULES):
        return at(value, place)
    if isinstance(value, tuple):
        return tuple(resolve(item, place) for item in value)
    if isinstance(value, Opened):
        return value.checkpoint.extents.get(place.name)
    return value


def leaves(node: Node, name: str, checkpoints: Mapping[Reference, Checkpoint]) -> list[Extent]:
    """The stored tensors behind a tensor that takes no part in arithmetic, each once."""
    found: dict[Extent, None] = {}
    stack = [(node, name)]
    seen = set()
    while stack:
        node, name = stack.pop()
        if (id(node), name) in seen:
            continue
        seen.add((id(node), name))
        if absent(node, name):
            continue
        if node.op == "source":
            found[checkpoints[node["reference"]].extents[name]] = None
        elif node.op == "match":
            place = node.term.inventory.place(name)
            stack.append((node.inputs[arm_of(node, place)], name))
        elif node.op == "patch":
            stack.append((node.inputs[name in node["names"]], name))
        elif node.term.layout is not None:
            origin = node.term.layout.origins[name]
            if isinstance(origin, Pick | Changed):
                stack.append((node.inputs[origin.input], origin.name))
        else:
            stack.extend((each, name) for each in reversed(node.inputs))
    return list(found)


def merges(dtype: str) -> bool:
    """Whether tensors of this dtype take part in arithmetic."""
    return dtype in MERGEABLE
