"""What tensors have in common: those of one pattern are computed by one expression.

A model has a few dozen kinds of tensors and tens of thousands of tensors. A pattern holds all that
the expression of a tensor depends on but where its inputs lie: their types, the arms of a `match`
that it takes, the values of schedules at its place. So an expression is made, reckoned and compiled
once for each pattern. Models with adapters, new layouts and statistics have none: each of their
tensors has an expression of its own.
"""

from collections.abc import Callable, Hashable, Mapping
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from mergelang.check.schedule import Constant, Schedule, at
from mergelang.check.value import Opened
from mergelang.graph.node import Node, postorder
from mergelang.models.checkpoint import Checkpoint
from mergelang.models.reference import Reference
from mergelang.ops.layout import Pick
from mergelang.ops.registry import operators
from mergelang.plan.lower import SCHEDULES, arm_of
from mergelang.tensors import Binding, Extent, Layering, symbolic_extent, symbolic_name


class _NoPattern(Exception):
    """The expression depends on more than this module knows."""


class Pattern(NamedTuple):
    """`key` is equal for tensors of one pattern. `binding` is what differs: stored tensors and
    names, in the order in which the tensor's expression meets them."""

    key: tuple[Hashable, ...]
    binding: Binding

    def symbols(self) -> tuple[dict[Extent, Extent], dict[str, str]]:
        """What stands for each stored tensor, and for each name, in the expression of the pattern.
        """
        extents, names = self.binding
        return (
            {each: symbolic_extent(number, each.type) for number, each in enumerate(extents)},
            {each: symbolic_name(number) for number, each in enumerate(names)},
        )


def patterns(
    node: Node, checkpoints: Mapping[Reference, Checkpoint]
) -> Callable[[str], Pattern | None]:
    """What gives the pattern of each of a node's tensors by its name, None where it has none."""
    even = _even(node)
    sources = [checkpoints[each["reference"]] for each in even.sources] if even else []
    files = [file for each in sources for file in each.files]
    if even is None or len(set(files)) != len(files):  # no extent is that of two sources
        return lambda name: _pattern(node, name, checkpoints)
    tables = [each.extents for each in sources]

    def found(name: str) -> Pattern:
        extents = tuple([table[name] for table in tables])
        parts: list[Hashable] = [each.type for each in extents]
        for layering in even.layerings:
            tower, layer = layering.within(name) or (layering, None)
            parts += (tower.prefix, layer)
        return Pattern(tuple(parts), Binding(extents, (name,)))

    return found


def _pattern(
    node: Node, name: str, checkpoints: Mapping[Reference, Checkpoint]
) -> Pattern | None:
    parts: list[Hashable] = []
    extents: dict[Extent, Extent] = {}
    names = {name: symbolic_name(0)}
    try:
        _walk(node, name, checkpoints, parts, extents, names, set())
    except _NoPattern:
        return None
    return Pattern(tuple(parts), Binding(tuple(extents), tuple(names)))


def _walk(
    node: Node,
    name: str,
    checkpoints: Mapping[Reference, Checkpoint],
    parts: list[Hashable],
    extents: dict[Extent, Extent],
    names: dict[str, str],
    seen: set[tuple[int, str]],
) -> None:
    key = id(node), name
    if key in seen:
        return
    seen.add(key)
    op = node.op
    if op == "source":
        extent = checkpoints[node["reference"]].extents[name]
        symbol = extents.get(extent)
        if symbol is None:
            symbol = extents[extent] = symbolic_extent(len(extents), extent.type)
        parts.append(symbol)
        return
    inventory = node.term.inventory
    if inventory.sparse:
        raise _NoPattern
    below = [(each, name) for each in node.inputs]
    if op == "patch":
        chosen = name in node["names"]
        parts.append(chosen)
        below = [below[chosen]]
    elif op == "match":
        arm = arm_of(node, inventory.place(name))
        parts.append(arm)
        below = [below[arm]]
    elif op == "affine":
        parts += (at(each, inventory.place(name)) for each in _varying(node))
    elif node.term.layout is not None:
        origin = node.term.layout.origins[name]
        if not isinstance(origin, Pick):
            raise _NoPattern
        called = names.setdefault(origin.name, symbolic_name(len(names)))
        parts += (origin.input, called)
        below = [(node.inputs[origin.input], origin.name)]
    elif op in operators():
        parts += (at(each, inventory.place(name)) for each in _varying(node))
        parts.append(inventory.place(name).depth)
    else:
        raise _NoPattern
    for each, called in below:
        _walk(each, called, checkpoints, parts, extents, names, seen)


class _Even(NamedTuple):
    """What the tensors of a node are made of, where all are made in the same way: `sources`, and
    the `layerings` by which operators find the depth of a tensor."""

    sources: tuple[Node, ...]
    layerings: tuple[Layering, ...]


def _even(node: Node) -> _Even | None:
    """What is the same for all tensors of a node; None where they differ by more than their place
    in files and layers."""
    sources, layerings = [], {}
    for each in postorder((node,), lambda one: one.inputs):
        inventory = each.term.inventory
        if each.op == "source":
            sources.append(each)
            continue
        is_operator = each.op in operators() and each.term.layout is None
        try:
            varies = inventory.sparse or bool(_varying(each))
        except _NoPattern:
            return None
        if varies or not (is_operator or each.op == "affine"):
            return None
        if is_operator:
            layerings[id(inventory.layering)] = inventory.layering
    return _Even(tuple(sources), tuple(layerings.values()))


_known: WeakKeyDictionary[Node, tuple[Schedule, ...]] = WeakKeyDictionary()


def _varying(node: Node) -> tuple[Schedule, ...]:
    """What is not the same at every place of a node's options. Raises _NoPattern."""
    known = _known.get(node)
    if known is not None:
        return known
    found: list[Schedule] = []
    stack: list[Any] = [value for _, value in node.attrs]
    while stack:
        value = stack.pop()
        if isinstance(value, Opened):
            raise _NoPattern
        if isinstance(value, tuple):
            stack += value
        elif isinstance(value, SCHEDULES) and not isinstance(value, Constant):
            found.append(value)
    return _known.setdefault(node, tuple(found))
