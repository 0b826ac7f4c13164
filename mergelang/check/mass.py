"""The mass of an expression: 1 is a model, 0 a task vector; exact, for every tensor.

A mass is a schedule, since a coefficient may be one. Here is how masses combine, and where one is
looked at: at the real tensors when they are known, else at made-up ones that take each arm and
each point of a curve.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from math import lcm
from typing import Any

from mergelang.check.schedule import (
    ONE,
    ZERO,
    Arithmetic,
    Arms,
    Constant,
    Curve,
    Schedule,
    arithmetic,
    at,
)
from mergelang.lang import ast
from mergelang.tensors import Inventory, Place

MOST_LAYERS = 240
"""How finely curves are looked at when the number of layers is not known."""


def combine(op: str, left: Schedule, right: Schedule) -> Schedule:
    """`left op right`, without what adds or multiplies nothing."""
    if op in "+-" and right == ZERO:
        return left
    if op == "+" and left == ZERO:
        return right
    if op in "*/" and right == ONE:
        return left
    if op == "*" and left == ONE:
        return right
    if op in "*/" and left == ZERO:
        return ZERO
    if op == "*" and right == ZERO:
        return ZERO
    return arithmetic(op, left, right)


def settle(schedule: Schedule, inventory: Inventory | None) -> Schedule:
    """The same schedule, as a constant if it is one number at every tensor."""
    if isinstance(schedule, Constant):
        return schedule
    numbers = set()
    for place in places(schedule, inventory):
        numbers.add(at(schedule, place))
        if len(numbers) > 1:
            return schedule
    number = next(iter(numbers), None)
    return schedule if number is None else Constant(number)


def elsewhere(
    schedule: Schedule, wanted: Fraction, inventory: Inventory | None
) -> tuple[Place | None, Fraction] | None:
    """A tensor where the schedule is not the number wanted, with what it is; None if it always is.

    The place is None for a constant.
    """
    if isinstance(schedule, Constant):
        return None if schedule.value == wanted else (None, schedule.value)
    for place in places(schedule, inventory):
        value = at(schedule, place)
        if value is not None and value != wanted:
            return place, value
    return None


def places(schedule: Schedule, inventory: Inventory | None) -> Iterator[Place]:
    """Where to look at a schedule: at every tensor, or at made-up ones when none are known."""
    if inventory is not None:
        return map(inventory.place, inventory)
    return iter(_made_up(schedule))


def _made_up(schedule: Schedule) -> list[Place]:
    steps, atoms, bounds = {1}, {}, {0, 1}
    for part in parts(schedule):
        if isinstance(part, Curve):
            steps.add(max(1, len(part.points) - 1))
        elif isinstance(part, Arms):
            for pattern, _ in part.arms:
                for atom in _atoms(pattern):
                    if isinstance(atom, ast.Layers):
                        bounds |= {atom.range.low or 0, atom.range.high or 0}
                    else:
                        atoms[atom] = None
    # Twice the points, so that products of curves are seen between them too.
    last = 2 * lcm(*steps)
    last = min(last, MOST_LAYERS)
    while last < max(bounds) + 1:
        last *= 2
    inside = range(last + 1) if len(steps) > 1 else sorted(b for b in bounds if b <= last)
    layers = [None, *inside]
    return [_place(atom, layer, last + 1) for atom in (None, *atoms) for layer in layers]


def _place(atom: ast.Pattern | None, layer: int | None, layers: int) -> Place:
    match atom:
        case ast.Glob(glob):
            return Place(glob.replace("*", "x").replace("?", "x"), layer, layers)
        case ast.Word(word):
            return Place(f"model.{word}.weight", layer, layers)
        case ast.Role(role):
            return Place("model.weight", layer, layers, frozenset({role}))
    return Place("model.weight", layer, layers)


def parts(schedule: Schedule) -> Iterator[Schedule]:
    """A schedule and all schedules in it."""
    yield schedule
    match schedule:
        case Arms(arms, default):
            for _, value in arms:
                yield from parts(value)
            if default is not None:
                yield from parts(default)
        case Arithmetic(_, left, right):
            yield from parts(left)
            yield from parts(right)


def _atoms(pattern: ast.Pattern) -> Iterator[ast.Pattern]:
    match pattern:
        case ast.Not(operand):
            yield from _atoms(operand)
        case ast.And(left, right) | ast.Or(left, right):
            yield from _atoms(left)
            yield from _atoms(right)
        case ast.Anything():
            pass
        case _:
            yield pattern


class Symbol:
    """A schedule that computes like a number, for an operator's own formula of its mass."""

    def __init__(self, schedule: Schedule):
        self.schedule = schedule

    def __add__(self, other: Any) -> "Symbol":
        return _symbol("+", self, other)

    def __radd__(self, other: Any) -> "Symbol":
        return _symbol("+", other, self)

    def __sub__(self, other: Any) -> "Symbol":
        return _symbol("-", self, other)

    def __rsub__(self, other: Any) -> "Symbol":
        return _symbol("-", other, self)

    def __mul__(self, other: Any) -> "Symbol":
        return _symbol("*", self, other)

    def __rmul__(self, other: Any) -> "Symbol":
        return _symbol("*", other, self)

    def __truediv__(self, other: Any) -> "Symbol":
        return _symbol("/", self, other)

    def __rtruediv__(self, other: Any) -> "Symbol":
        return _symbol("/", other, self)

    def __neg__(self) -> "Symbol":
        return _symbol("-", 0, self)


def _symbol(op: str, left: Any, right: Any) -> Symbol:
    sides = [
        side.schedule if isinstance(side, Symbol) else Constant(Fraction(side))
        for side in (left, right)
    ]
    return Symbol(combine(op, *sides))


def formula(
    mass: Callable[..., Any], masses: Sequence[Schedule], options: Mapping[str, Any]
) -> Schedule:
    """What an operator's own formula gives for these masses and options.

    Raises TypeError when the formula cannot take schedules, ZeroDivisionError.
    """
    numbers = tuple(map(_number, masses))
    values = {
        name: tuple(map(_number, value)) if isinstance(value, tuple) else _number(value)
        for name, value in options.items()
    }
    result = mass(numbers, values)
    return result.schedule if isinstance(result, Symbol) else Constant(Fraction(result))


def _number(value: Any) -> Any:
    if isinstance(value, Constant):
        return value.value
    return Symbol(value) if isinstance(value, Curve | Arms | Arithmetic) else value


def common(masses: Iterable[Schedule], inventory: Inventory | None) -> Schedule | None:
    """The one mass that all have, at every tensor; None when they differ."""
    settled = [settle(mass, inventory) for mass in masses]
    if all(mass == settled[0] for mass in settled):
        return settled[0]
    first = settled[0]
    for other in settled[1:]:
        difference = settle(combine("-", first, other), inventory)
        if difference != ZERO:
            return None
    return first
