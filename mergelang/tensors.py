"""What a tensor is before anyone reads it: dtype, shape, layer, roles; a model as a set of them.

The base of `ops`, `models`, `check` and `plan`. Knows no files and no torch.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cached_property, lru_cache
from math import prod
from typing import NamedTuple

DTYPES: dict[str, int] = {
    "F64": 8, "F32": 4, "F16": 2, "BF16": 2, "F8_E4M3": 1, "F8_E5M2": 1,
    "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U64": 8, "U32": 4, "U16": 2, "U8": 1, "BOOL": 1,
}  # fmt: skip
"""Bytes an element of each dtype we know, by its name in safetensors."""

MERGEABLE = frozenset({"F64", "F32", "F16", "BF16"})
"""Dtypes that take part in arithmetic; all others are only copied."""


class TensorType(NamedTuple):
    """Dtype (as safetensors names it) and shape of one tensor."""

    dtype: str
    shape: tuple[int, ...]

    @property
    def count(self) -> int:
        """Elements; 1 for a 0-d tensor, 0 for an empty one."""
        return _product(self.shape)

    @property
    def nbytes(self) -> int:
        return _product(self.shape) * DTYPES[self.dtype]

    def __str__(self) -> str:
        return _type_text(self.dtype, self.shape)


@lru_cache(maxsize=4096)
def _type_text(dtype: str, shape: tuple[int, ...]) -> str:
    return f"{dtype} [{', '.join(map(str, shape))}]"


@lru_cache(maxsize=4096)
def tensor_type(dtype: str, shape: tuple[int, ...]) -> TensorType:
    """The one object for this type: a model has few types and many tensors."""
    return TensorType(dtype, shape)


@lru_cache(maxsize=4096)
def _product(shape: tuple[int, ...]) -> int:
    return prod(shape)


def along_last(shape: tuple[int, ...]) -> bool:
    """Whether a table of this shape has its rows along the last axis, a number each: [1, rows]."""
    return len(shape) > 1 and _product(shape[:-1]) == 1


def row_of(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of one row of a table."""
    return () if along_last(shape) else shape[1:]


def with_rows(shape: tuple[int, ...], rows: int) -> tuple[int, ...]:
    """The shape of a table with another number of rows."""
    return (*shape[:-1], rows) if along_last(shape) else (rows, *shape[1:])


class Extent(NamedTuple):
    """Where the bytes of a stored tensor lie: file (as text), absolute offset, type."""

    path: str
    offset: int
    type: TensorType


@lru_cache(maxsize=4096)
def symbolic_extent(number: int, type: TensorType) -> Extent:
    """What stands for the stored tensor of this number in an expression of many tensors."""
    return Extent("", number, type)


@lru_cache(maxsize=4096)
def symbolic_name(number: int) -> str:
    """What stands for a tensor's name there. No tensor is called so."""
    return f"\0{number}"


class Binding(NamedTuple):
    """What the symbols of an expression stand for, in one tensor; empty where it has none."""

    extents: tuple[Extent, ...] = ()
    names: tuple[str, ...] = ()

    def extent(self, each: Extent) -> Extent:
        return each if each.path else self.extents[each.offset]

    def name(self, each: str) -> str:
        return self.names[int(each[1:])] if each.startswith("\0") else each


UNBOUND = Binding()
"""The binding of an expression without symbols."""


@lru_cache(maxsize=4096)
def _depth(layer: int | None, layers: int) -> Fraction:
    return Fraction(0) if layer is None or layers < 2 else Fraction(layer, layers - 1)


@dataclass(frozen=True, slots=True)
class Place:
    """Where in a model a tensor stands: what schedules and patterns look at.

    `layer` is 0-based, None outside the layers; `layers` is how many its tower has, and `tower` is
    what stands before the number.
    """

    name: str
    layer: int | None = None
    layers: int = 0
    roles: frozenset[str] = frozenset()
    tower: str = ""

    @property
    def depth(self) -> Fraction:
        """0 in the first layer, 1 in the last; 0 outside the layers and where is only one."""
        return _depth(self.layer, self.layers)


@dataclass(frozen=True)
class Layering:
    """How the layers of a model are numbered: `prefix + str(i) + "." + rest`.

    `stated` are the keys, from the outermost, under which the config says how many there are.
    `others` are further towers of the model that are numbered by themselves: a decoder beside an
    encoder, the layers that look at images beside those that write. `alone` are the parts that only
    the first layer has, for all of them (in T5 the bias of positions).
    """

    prefix: str = ""
    count: int = 0
    stated: tuple[str, ...] = ()
    others: "tuple[Layering, ...]" = ()
    alone: frozenset[str] = frozenset()

    @cached_property
    def towers(self) -> "tuple[Layering, ...]":
        """This one and the others, those that have layers."""
        return tuple(each for each in (self, *self.others) if each.count)

    def tower(self, name: str) -> "Layering | None":
        """The tower that a tensor is in; None outside of all."""
        found = self.within(name)
        return found and found[0]

    def within(self, name: str) -> "tuple[Layering, int] | None":
        """The tower that a tensor is in, and its layer there; None outside of all."""
        for each in self.towers:
            layer = each.split(name)[0]
            if layer is not None:
                return each, layer
        return None

    def split(self, name: str) -> tuple[int | None, str]:
        """Layer and rest of the name; (None, name) outside the layers."""
        number, rest = self._numbered(name)
        return (number, rest) if number is not None and number < self.count else (None, name)

    def _numbered(self, name: str) -> tuple[int | None, str]:
        """The number behind the prefix, whether or not there is such a layer, and the rest."""
        if self.count and name.startswith(self.prefix):
            number, dot, rest = name[len(self.prefix) :].partition(".")
            if dot and number.isdigit():
                return int(number), rest
        return None, name

    def over(self, names: Collection[str], before: Collection[str]) -> "Layering":
        """The layering of a model that has these tensors instead of those `before`: each tower with
        the layers that they are in. What was numbered beyond the last layer stays beyond it."""
        if names == before:
            return self
        beyond = {self._numbered(name)[0] for name in before} - {*range(self.count)} | {None}
        layers = {self._numbered(name)[0] for name in names} - beyond
        others = tuple(each.over(names, before) for each in self.others)
        return replace(self, count=max(layers, default=-1) + 1, others=others)

    def join(self, layer: int, rest: str) -> str:
        return f"{self.prefix}{layer}.{rest}"

    def moved(self, name: str, count: int) -> str:
        """The name of a tensor outside the layers when there are `count` of them: one that is
        numbered beyond the last layer stays beyond it."""
        number, rest = self._numbered(name)
        return name if number is None else self.join(number - self.count + count, rest)


@dataclass(frozen=True, eq=False)
class Inventory:
    """The tensors of a model or of a model expression: types by name, layers, roles by name.

    Iterates names in the order of the file(s). `roles` may leave names out. `architecture` is the
    config's `model_type`, empty where there is none or it no longer holds. A `sparse` inventory, of
    an adapter, lists what is not zero: it is completed by that of what it is added to.
    """

    tensors: Mapping[str, TensorType]
    layering: Layering = Layering()
    roles: Mapping[str, frozenset[str]] = field(default_factory=dict)
    architecture: str = ""
    sparse: bool = False

    def __iter__(self) -> Iterator[str]:
        return iter(self.tensors)

    def __contains__(self, name: object) -> bool:
        return name in self.tensors

    def __getitem__(self, name: str) -> TensorType:
        return self.tensors[name]

    def __len__(self) -> int:
        return len(self.tensors)

    def place(self, name: str) -> Place:
        roles = self.roles.get(name, frozenset())
        found = self.layering.within(name)
        if found is None:
            return Place(name, None, self.layering.count, roles)
        tower, layer = found
        return Place(name, layer, tower.count, roles, tower.prefix)

    @cached_property
    def nbytes(self) -> int:
        return sum(kind.nbytes for kind in self.tensors.values())
