"""Numbers by themselves: curves, defaults for what a `match` leaves open, division, ranges."""

from collections.abc import Iterator
from fractions import Fraction

from mergelang.check.places import parts, places
from mergelang.check.schedule import Arithmetic, Arms, Curve, Schedule, at, values
from mergelang.check.value import Number
from mergelang.lang import ast
from mergelang.ops import signature
from mergelang.source import Span
from mergelang.tensors import Inventory


def divides_by_zero(schedule: Schedule) -> bool:
    """Whether a divisor is 0 somewhere, or passes through 0, as far as can be said without tensors.

    What is left is seen by `fails` when the tensors are known.
    """
    try:
        numbers = [at(schedule, place) for place in places(schedule, None)]
    except ZeroDivisionError:
        return True
    signs = {(number > 0) - (number < 0) for number in numbers if number is not None}
    return 0 in signs or len(signs) > 1


def fails(schedule: Schedule, inventory: Inventory | None) -> bool:
    """Whether a schedule divides by 0 at one of these tensors."""
    try:
        for place in places(schedule, inventory):
            at(schedule, place)
    except ZeroDivisionError:
        return True
    return False


def filled(schedule: Schedule, default: Schedule) -> Schedule:
    """The schedule with a default for every tensor that its `match`es leave open."""
    if not isinstance(schedule, Arms):
        return schedule
    arms = tuple((pattern, filled(value, default)) for pattern, value in schedule.arms)
    inner = default if schedule.default is None else filled(schedule.default, default)
    return Arms(arms, inner)


def written(expr: ast.Expr, number: Number) -> Iterator[tuple[Span, Fraction]]:
    """Every number that a schedule takes, with the place where it is written."""
    schedule = number.schedule
    if isinstance(expr, ast.Match) and isinstance(schedule, Arms):
        inner = [value for _, value in schedule.arms]
        if schedule.default is not None:
            inner.append(schedule.default)
        for arm, value in zip(expr.arms, inner, strict=False):
            yield from written(arm.value, Number(value))
    elif isinstance(expr, ast.Call) and isinstance(schedule, Curve):
        for argument, point in zip(expr.arguments, schedule.points, strict=True):
            yield argument.span, point
    elif any(isinstance(part, Arithmetic) for part in parts(schedule)):
        if fails(schedule, None):
            return
        for place in places(schedule, None):
            value = at(schedule, place)
            if value is not None:
                yield expr.span, value
    else:
        for value in values(schedule):
            yield expr.span, value


def out_of_range(
    expr: ast.Expr, number: Number, kind: signature.Number
) -> tuple[Span, Fraction] | None:
    """The first number of a schedule beyond the bounds, and its place."""
    return next(
        ((span, value) for span, value in written(expr, number) if not kind.holds(value)), None
    )
