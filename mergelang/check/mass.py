"""The mass of an expression: 1 is a model, 0 a task vector; exact, for every tensor.

A mass is a schedule, since a coefficient may be one. Here is how masses combine, and whether one is
the same number everywhere.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from fractions import Fraction
from typing import Any

from mergelang.check.places import places
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
from mergelang.tensors import Inventory, Place


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
    # 0 divided by what is 0 somewhere is an error there, so such a quotient stays one.
    if op == "*" and ZERO in (left, right):
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
    """The one mass that all have, at every tensor; None when they differ or cannot be told."""
    try:
        return _common(masses, inventory)
    except ZeroDivisionError:
        return None


def _common(masses: Iterable[Schedule], inventory: Inventory | None) -> Schedule | None:
    settled = [settle(mass, inventory) for mass in masses]
    if all(mass == settled[0] for mass in settled):
        return settled[0]
    first = settled[0]
    for other in settled[1:]:
        difference = settle(combine("-", first, other), inventory)
        if difference != ZERO:
            return None
    return first
