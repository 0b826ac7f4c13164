"""Whether the tensors of expressions fit together, and which ones their combination has.

Compares names and shapes from the headers; two tables are compared once, and the tables of
expressions that agree are one object, so that large models cost little.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from mergelang.tensors import MERGEABLE, Inventory


class Difference(NamedTuple):
    """How a table differs from a first one: names it lacks, has more, of other shape, of a dtype
    that does not merge with the first one's."""

    lacks: tuple[str, ...]
    extra: tuple[str, ...]
    shapes: tuple[str, ...]
    dtypes: tuple[str, ...]

    def __bool__(self) -> bool:
        return any(self)


SAME = Difference((), (), (), ())


@dataclass(frozen=True)
class Fit:
    """The tensors that fit, and those that do not: missing somewhere, of different shapes."""

    inventory: Inventory
    missing: tuple[str, ...]
    mismatched: tuple[str, ...]


class Comparisons:
    """Compares tables of tensors, each pair once."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, int], tuple[Inventory, Inventory, Difference]] = {}
        self._common: dict[tuple[int, ...], tuple[tuple[Inventory, ...], Fit]] = {}

    def difference(self, first: Inventory, other: Inventory) -> Difference:
        """How `other` differs from `first`."""
        if first is other:
            return SAME
        key = (id(first), id(other))
        if key not in self._known:
            # The tables are kept beside the answer, so that their ids stay theirs.
            self._known[key] = (first, other, _difference(first, other))
        return self._known[key][2]

    def fit(self, inventories: Sequence[Inventory], donor: int) -> Fit:
        """What the tables have in common, in the order and with the types of the donor's."""
        key = (donor, *map(id, inventories))
        if key not in self._common:
            self._common[key] = (tuple(inventories), self._fit(inventories, donor))
        return self._common[key][1]

    def _fit(self, inventories: Sequence[Inventory], donor: int) -> Fit:
        first = inventories[donor]
        missing: dict[str, None] = {}
        mismatched: dict[str, None] = {}
        for each in inventories:
            found = self.difference(first, each)
            missing.update(dict.fromkeys((*found.lacks, *found.extra)))
            mismatched.update(dict.fromkeys(found.shapes))
        for name in missing:
            mismatched.pop(name, None)
        if not missing and not mismatched:
            return Fit(first, (), ())
        left_out = missing.keys() | mismatched.keys()
        return Fit(without(first, left_out), tuple(missing), tuple(mismatched))


def completed(inventories: Sequence[Inventory]) -> tuple[list[Inventory], dict[int, list[str]]]:
    """Sparse tables with the tensors of the dense ones, where all are sparse those of each other.

    The second result says for each sparse table (by its number) which of its tensors no dense one
    has. Tables that agree are one object, in particular the dense one.
    """
    dense = [each for each in inventories if not each.sparse]
    if len(dense) == len(inventories):
        return list(inventories), {}
    whole = dense[0] if dense else _union(inventories)
    strays = {
        index: lost for index, each in enumerate(inventories)
        if each.sparse and (lost := [name for name in each if name not in whole])
    }  # fmt: skip
    return [_completed(each, whole) if each.sparse else each for each in inventories], strays


def _completed(inventory: Inventory, whole: Inventory) -> Inventory:
    tensors = dict(whole.tensors)
    for name, kind in inventory.tensors.items():
        wanted = tensors.get(name)
        if wanted and (wanted.shape != kind.shape or wanted.dtype not in MERGEABLE):
            tensors[name] = kind
    return whole if tensors == whole.tensors else replace(whole, tensors=tensors)


def _union(inventories: Sequence[Inventory]) -> Inventory:
    first, *others = inventories
    if all(each is first for each in others):
        return first
    tensors = {name: kind for each in reversed(inventories) for name, kind in each.tensors.items()}
    ordered = {name: tensors[name] for each in inventories for name in each}
    roles = {name: role for each in inventories for name, role in each.roles.items()}
    layering = max((each.layering for each in inventories), key=lambda layers: layers.count)
    return Inventory(ordered, layering, roles, sparse=True)


def _difference(first: Inventory, other: Inventory) -> Difference:
    a, b = first.tensors, other.tensors
    if a == b:
        return SAME
    lacks = tuple(name for name in a if name not in b)
    extra = tuple(name for name in b if name not in a)
    shapes, dtypes = [], []
    for name, kind in a.items():
        match = b.get(name)
        if match is None or match is kind or match == kind:
            continue
        if match.shape != kind.shape:
            shapes.append(name)
        elif match.dtype != kind.dtype and not {match.dtype, kind.dtype} <= MERGEABLE:
            dtypes.append(name)
    return Difference(lacks, extra, tuple(shapes), tuple(dtypes))


def without(inventory: Inventory, names: "Mapping | set[str]") -> Inventory:
    """The inventory less some tensors; itself where it has none of them."""
    kept = {name: kind for name, kind in inventory.tensors.items() if name not in names}
    if len(kept) == len(inventory):
        return inventory
    layering = inventory.layering.over(kept.keys(), inventory.tensors.keys())
    return replace(inventory, tensors=kept, layering=layering)


def patched(inventory: Inventory, order: Inventory, donors: Mapping[str, Inventory]) -> Inventory:
    """The inventory with the tensors of `donors` (by name) put in, in the order of `order`, those
    that it does not have behind."""
    tensors, roles = {}, dict(inventory.roles)
    for name in (*order, *(name for name in donors if name not in order)):
        if name in donors:
            tensors[name] = donors[name][name]
            roles[name] = donors[name].roles.get(name, frozenset())
        elif name in inventory:
            tensors[name] = inventory[name]
    layering = order.layering.over(tensors.keys(), order.tensors.keys())
    return Inventory(tensors, layering, roles, order.architecture)
