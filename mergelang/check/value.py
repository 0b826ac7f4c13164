"""What an expression can be: a term, a number, a plain value, or unknown because it is wrong."""

from dataclasses import dataclass
from fractions import Fraction
from typing import Any, TypeAlias

from mergelang.check.program import Term
from mergelang.check.schedule import ZERO, Constant, Curve, Schedule, constant
from mergelang.lang import ast
from mergelang.models.checkpoint import Checkpoint
from mergelang.models.reference import Reference


class Unknown:
    """The value of an expression with a mistake in it. It fits everywhere and says nothing more."""


UNKNOWN = Unknown()


@dataclass(frozen=True)
class Number:
    """A number or a schedule. `size`: it was written with a unit of bytes.

    `open`: a `match` in it that has no `_` arm, so that not every tensor has a value yet.
    """

    schedule: Schedule
    size: bool = False
    open: ast.Match | None = None


@dataclass(frozen=True)
class Opened:
    """A source that a text names; without its checkpoint where no model is looked at."""

    reference: Reference
    checkpoint: Checkpoint | None


@dataclass(frozen=True, eq=False)
class File:
    """A file that `use` brought in: its names with their values, and where they are defined."""

    path: str
    names: "dict[str, Value]"
    source: Any


Value: TypeAlias = Term | Number | bool | str | tuple | dict | File | Unknown


def exactly(value: Value) -> Fraction | None:
    """The number of a value that is one and does not vary, else None."""
    return constant(value.schedule) if isinstance(value, Number) and not value.size else None


def describe(value: Value) -> str:
    """What a value is, for a sentence."""
    match value:
        case Term():
            return "a task vector" if value.mass == ZERO else "a model"
        case Number(size=True):
            return "a size"
        case Number(schedule=Constant()):
            return "a number"
        case Number(schedule=Curve()):
            return "a curve"
        case Number():
            return "a schedule"
        case bool():
            return "true or false"
        case str():
            return "a string"
        case tuple():
            return "a list"
        case dict():
            return "a map"
        case File():
            return "a file"
    return "a value"
