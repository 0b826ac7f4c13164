"""Numbers that vary over a model: constants, curves over the layers, arms by pattern, arithmetic.

Exact rationals throughout; a float is made where a number meets weights. Patterns are those of the
tree (`lang.ast`).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from fractions import Fraction
from typing import TypeAlias

from mergelang.lang import ast
from mergelang.tensors import Place


@dataclass(frozen=True)
class Constant:
    value: Fraction


@dataclass(frozen=True)
class Curve:
    """Piecewise linear over the layers, the points evenly spaced; outside the layers the first."""

    points: tuple[Fraction, ...]


@dataclass(frozen=True)
class Arms:
    """The schedule of the first pattern that matches; `default` where none does."""

    arms: "tuple[tuple[ast.Pattern, Schedule], ...]"
    default: "Schedule | None" = None


@dataclass(frozen=True)
class Arithmetic:
    """`left op right`, op of `+ - * /`, at each tensor."""

    op: str
    left: "Schedule"
    right: "Schedule"


Schedule: TypeAlias = Constant | Curve | Arms | Arithmetic

ONE = Constant(Fraction(1))
ZERO = Constant(Fraction(0))


def at(schedule: Schedule, place: Place) -> Fraction | None:
    """The number at a tensor; None where no arm matches and there is no default."""
    match schedule:
        case Constant(value):
            return value
        case Curve(points):
            return _on_curve(points, place)
        case Arms(arms, default):
            for pattern, value in arms:
                if matches(pattern, place):
                    return at(value, place)
            return None if default is None else at(default, place)
        case Arithmetic(op, left, right):
            a, b = at(left, place), at(right, place)
            if a is None or b is None:
                return None
            return _compute(op, a, b)


def arithmetic(op: str, left: Schedule, right: Schedule) -> Schedule:
    """`left op right`, folded when both are constants. Raises ZeroDivisionError then."""
    if isinstance(left, Constant) and isinstance(right, Constant):
        return Constant(_compute(op, left.value, right.value))
    return Arithmetic(op, left, right)


def constant(schedule: Schedule) -> Fraction | None:
    """The number of a schedule that does not vary, else None."""
    return schedule.value if isinstance(schedule, Constant) else None


def more_parts(schedule: Schedule, most: int) -> bool:
    """Whether a schedule has more than `most` parts, one that is there twice counted twice."""
    count, stack = 0, [schedule]
    while stack and count <= most:
        count += 1
        match stack.pop():
            case Arms(arms, default):
                stack += [value for _, value in arms]
                stack += [] if default is None else [default]
            case Arithmetic(_, left, right):
                stack += [left, right]
    return count > most


def values(schedule: Schedule) -> Iterator[Fraction]:
    """The numbers written in a schedule, for range checks: constants, points, those of all arms."""
    match schedule:
        case Constant(value):
            yield value
        case Curve(points):
            yield from points
        case Arms(arms, default):
            for _, value in arms:
                yield from values(value)
            if default is not None:
                yield from values(default)
        case Arithmetic(_, left, right):
            yield from values(left)
            yield from values(right)


def matches(pattern: ast.Pattern, place: Place) -> bool:
    """Whether a tensor is one that the pattern names."""
    match pattern:
        case ast.Anything():
            return True
        case ast.Word(word):
            return f".{word}." in f".{place.name}."
        case ast.Glob(glob):
            return fnmatchcase(place.name, glob)
        case ast.Role(role):
            return role in place.roles
        case ast.Layers(range, module):
            if place.layer is None or (module and f".{module}." not in f".{place.tower}"):
                return False
            return (range.low or 0) <= place.layer < (
                place.layers if range.high is None else range.high
            )
        case ast.Not(operand):
            return not matches(operand, place)
        case ast.And(left, right):
            return matches(left, place) and matches(right, place)
        case ast.Or(left, right):
            return matches(left, place) or matches(right, place)


def _on_curve(points: tuple[Fraction, ...], place: Place) -> Fraction:
    if len(points) == 1:
        return points[0]
    position = place.depth * (len(points) - 1)
    left = min(int(position), len(points) - 2)
    return points[left] + (position - left) * (points[left + 1] - points[left])


def _compute(op: str, a: Fraction, b: Fraction) -> Fraction:
    match op:
        case "+":
            return a + b
        case "-":
            return a - b
        case "*":
            return a * b
        case _:
            return a / b
