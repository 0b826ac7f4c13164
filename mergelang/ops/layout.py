"""What an operator that rearranges tensors returns: where each output tensor comes from.

Slices, stacks and mixtures move whole tensors about under other names; the few tensors that they
make anew have a body like any other operator.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from mergelang.ops.expr import Context, Value
from mergelang.tensors import Inventory, Layering


class Pick(NamedTuple):
    """The tensor `name` of input number `input`."""

    input: int
    name: str


class Fresh(NamedTuple):
    """A tensor made by `make(context, key)`, where `key` is the structural key of the call."""

    make: Callable[[Context, bytes], Value]


class Changed(NamedTuple):
    """What `make(value, context, key, options)` makes of the tensor `name` of input number `input`.

    `options` are those of the call, with the numbers that schedules have at the tensor.
    """

    input: int
    name: str
    make: Callable[[Value, Context, bytes, Mapping[str, Any]], Value]


class Prepared(NamedTuple):
    """A tensor that a prepare task writes to a file of its own, under this name."""

    name: str


Origin = Pick | Fresh | Changed | Prepared


class Gates(NamedTuple):
    """A prepare task: rows of gates, made of what a model makes of prompts.

    `prompts` are texts to go towards and texts to go away from, a pair for each row. `base` is the
    number of the input that reads them, `routers` say of each gate its name, its layer, and which
    rows it has: the first one and how many.
    """

    mode: str
    pool: str
    prompts: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]
    base: int
    routers: tuple[tuple[str, int, int, int], ...]


@dataclass(frozen=True, eq=False)
class Layout:
    """The tensors of the result, and for each its origin.

    `config` lists changes to the donor's config in order, each the name of a function of
    `models.config` with its arguments: `("with_layers", {"count": 24})`. `dropped` says for each
    reason how many input tensors are left out. `prepare` makes the `Prepared` ones. `warnings` are
    codes with their facts: what there is to be said of such a result.
    """

    inventory: Inventory
    origins: Mapping[str, Origin]
    config: tuple[tuple[str, Mapping[str, Any]], ...] = ()
    dropped: Mapping[str, int] = field(default_factory=dict)
    prepare: Gates | None = None
    warnings: tuple[tuple[str, Mapping[str, Any]], ...] = ()


class LayoutError(Exception):
    """The inputs cannot be arranged so: a code, its facts, and which input (None: the call), with
    the `other` one that it does not go with."""

    def __init__(
        self, code: str, input: int | None = None, other: int | None = None, **facts: Any
    ):
        super().__init__(code, facts)
        self.code, self.input, self.other, self.facts = code, input, other, facts


def several(layering: Layering) -> dict[str, Any]:
    """What is said of a model with several towers, where one was meant."""
    names = [each.prefix.rstrip(".") for each in layering.towers]
    modules = [_module(name, names) for name in names]
    return {"towers": ", ".join(f"`{name}`" for name in names), "module": modules[0]}


def _module(name: str, names: list[str]) -> str:
    """The shortest beginning of a tower's name that is not one of another's."""
    words = name.split(".")
    for count in range(1, len(words)):
        begin = ".".join(words[:count]) + "."
        if not any(other != name and other.startswith(begin) for other in names):
            return ".".join(words[:count])
    return name


def slice_layers(inventory: Inventory, low: int, high: int) -> Layout:
    """The layers `low` to `high` (exclusive), renumbered from 0, and all tensors outside layers.

    What only the first layer has, for all of them, the first layer of every slice has.
    """
    tensors, origins, roles = {}, {}, {}
    layering = inventory.layering
    cut = 0
    for name in inventory:
        layer, rest = layering.split(name)
        if layer is None:
            new = layering.moved(name, high - low)
        elif low <= layer < high:
            new = layering.join(layer - low, rest)
        elif layer == 0 and rest in layering.alone:
            new = layering.join(0, rest)
        else:
            cut += 1
            continue
        tensors[new], origins[new] = inventory[name], Pick(0, name)
        roles[new] = inventory.roles.get(name, frozenset())
    kept = replace(layering, count=high - low)
    config = ("with_layers", {"count": high - low, "stated": layering.stated})
    dropped = {f"outside the slice {low}..{high}": cut} if cut else {}
    made = Inventory(tensors, kept, roles, inventory.architecture)
    return Layout(made, origins, (config,), dropped)
