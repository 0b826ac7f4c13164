"""What an operator that rearranges tensors returns: where each output tensor comes from.

Slices, stacks and mixtures move whole tensors about under other names; the few tensors that they
make anew have a body like any other operator.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from mergelang.ops.expr import Context, Value
from mergelang.tensors import Inventory


class Pick(NamedTuple):
    """The tensor `name` of input number `input`."""

    input: int
    name: str


class Fresh(NamedTuple):
    """A tensor made by `make(context, key)`, where `key` is the structural key of the call."""

    make: Callable[[Context, bytes], Value]


@dataclass(frozen=True, eq=False)
class Layout:
    """The tensors of the result, and for each its origin.

    `config` lists changes to the donor's config in order, each the name of a function of
    `models.config` with its arguments: `("with_layers", {"count": 24})`. `dropped` says for each
    reason how many input tensors are left out.
    """

    inventory: Inventory
    origins: Mapping[str, Pick | Fresh]
    config: tuple[tuple[str, Mapping[str, Any]], ...] = ()
    dropped: Mapping[str, int] = field(default_factory=dict)


class LayoutError(Exception):
    """The inputs cannot be arranged so: a code, its facts, and which input (None: the call)."""

    def __init__(self, code: str, input: int | None = None, **facts: Any):
        super().__init__(code, facts)
        self.code, self.input, self.facts = code, input, facts


def slice_layers(inventory: Inventory, low: int, high: int) -> Layout:
    """The layers `low` to `high` (exclusive), renumbered from 0, and all tensors outside layers."""
    tensors, origins, roles = {}, {}, {}
    layering = inventory.layering
    cut = 0
    for name in inventory:
        layer, rest = layering.split(name)
        if layer is not None and not low <= layer < high:
            cut += 1
            continue
        new = name if layer is None else layering.join(layer - low, rest)
        tensors[new], origins[new] = inventory[name], Pick(0, name)
        roles[new] = inventory.roles.get(name, frozenset())
    kept = type(layering)(layering.prefix, high - low)
    config = ("with_layers", {"count": high - low})
    dropped = {f"outside the slice {low}..{high}": cut} if cut else {}
    made = Inventory(tensors, kept, roles, inventory.architecture)
    return Layout(made, origins, (config,), dropped)
