"""The tree of a recipe: frozen nodes that carry their spans.

Equality ignores spans, so `parse(format(x)) == parse(x)` says that formatting keeps the meaning.
The tree is text with structure: names are not resolved, options not checked.
"""

from dataclasses import dataclass, field
from fractions import Fraction
from typing import TypeAlias

from mergelang.source import Source, Span


@dataclass(frozen=True)
class Node:
    span: Span = field(compare=False, repr=False, kw_only=True)


# Expressions


@dataclass(frozen=True)
class Number(Node):
    """`0.4`, `1e-3`, `90%` (unit `%`, value 9/10), `5GB` (unit `GB`, value in bytes)."""

    value: Fraction
    unit: str = ""


@dataclass(frozen=True)
class String(Node):
    value: str


@dataclass(frozen=True)
class Bool(Node):
    value: bool


@dataclass(frozen=True)
class Name(Node):
    id: str


@dataclass(frozen=True)
class Attribute(Node):
    """`house.blend`: a name of a `use`d file, or a module of a model."""

    value: "Expr"
    name: Name


@dataclass(frozen=True)
class Unary(Node):
    """`-x`."""

    op: str
    operand: "Expr"


@dataclass(frozen=True)
class Binary(Node):
    """`+ - * /`."""

    op: str
    left: "Expr"
    right: "Expr"


@dataclass(frozen=True)
class Range(Node):
    """`a..b`, `a..`, `..b`: half open, from 0."""

    low: int | None
    high: int | None


@dataclass(frozen=True)
class Slice(Node):
    """`model[8..16]`."""

    value: "Expr"
    range: Range


@dataclass(frozen=True)
class List(Node):
    items: "tuple[Expr, ...]"


@dataclass(frozen=True)
class Entry(Node):
    """`key: value` of a record (key a Name) or of a map (key a String)."""

    key: "Name | String"
    value: "Expr"


@dataclass(frozen=True)
class Record(Node):
    """`{ weight: 0.5 }` after an argument, an output's or a param's expression."""

    entries: tuple[Entry, ...]


@dataclass(frozen=True)
class Map(Node):
    """`{ "<|pad|>": zero }`, a value whose keys are strings."""

    entries: tuple[Entry, ...]


@dataclass(frozen=True)
class Argument(Node):
    """`expr`, `expr { ... }`, `name: expr` or `name: expr { ... }`."""

    name: Name | None
    value: "Expr"
    record: Record | None = None


@dataclass(frozen=True)
class Call(Node):
    function: "Name | Attribute"
    arguments: tuple[Argument, ...]


@dataclass(frozen=True)
class Arm(Node):
    """`pattern => value`."""

    pattern: "Pattern"
    value: "Expr"


@dataclass(frozen=True)
class Match(Node):
    """A schedule or a model expression, by the tensor's name."""

    arms: tuple[Arm, ...]


Expr: TypeAlias = (
    Number | String | Bool | Name | Attribute | Unary | Binary | Range | Slice | List | Map | Call
    | Match
)


# Patterns


@dataclass(frozen=True)
class Word(Node):
    """A bare word: one dot-separated component of the tensor's name."""

    value: str


@dataclass(frozen=True)
class Glob(Node):
    """A string: a glob over the whole name."""

    value: str


@dataclass(frozen=True)
class Role(Node):
    """`@attn`; `value` is without the `@`."""

    value: str


@dataclass(frozen=True)
class Layers(Node):
    """`layers 0..8`, or `layers(vision_tower) 0..8` of one of several towers."""

    range: Range
    module: str | None = None


@dataclass(frozen=True)
class Anything(Node):
    """`_`."""


@dataclass(frozen=True)
class Not(Node):
    operand: "Pattern"


@dataclass(frozen=True)
class And(Node):
    left: "Pattern"
    right: "Pattern"


@dataclass(frozen=True)
class Or(Node):
    left: "Pattern"
    right: "Pattern"


Pattern: TypeAlias = Word | Glob | Role | Layers | Anything | Not | And | Or


# Statements


@dataclass(frozen=True)
class Edition(Node):
    """`mergelang 1`."""

    number: int


@dataclass(frozen=True)
class Seed(Node):
    value: int


@dataclass(frozen=True)
class Use(Node):
    """`use "other.merge" as house`."""

    path: String
    name: Name


@dataclass(frozen=True)
class Param(Node):
    name: Name
    value: Expr
    record: Record | None = None


@dataclass(frozen=True)
class Model(Node):
    name: Name
    source: String


@dataclass(frozen=True)
class Let(Node):
    name: Name
    value: Expr


@dataclass(frozen=True)
class Output(Node):
    path: String
    value: Expr
    record: Record | None = None


Statement: TypeAlias = Edition | Seed | Use | Param | Model | Let | Output


@dataclass(frozen=True)
class Comment(Node):
    """`# ...` to the end of its line; `text` includes the `#`."""

    text: str


@dataclass(frozen=True)
class Recipe:
    """A whole file. `comments` are kept for the formatter and take no part in equality."""

    source: Source = field(compare=False, repr=False)
    statements: tuple[Statement, ...]
    comments: tuple[Comment, ...] = field(default=(), compare=False, repr=False)
