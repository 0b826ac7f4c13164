"""Sums, means and quotients of values, made of the arithmetic of `expr`."""

from collections.abc import Iterable, Sequence
from fractions import Fraction

from mergelang.ops.expr import Number, Value, where


def times(x: Value, number: Number) -> Value:
    """`x` times a number that steers a merge; exactly 1 costs no product."""
    return x if number == 1 else x * number


def added(values: Sequence[Value]) -> Value:
    """The sum of one or more values, added in this order."""
    return sum(values[1:], values[0])


def weighted(values: Sequence[Value], weights: Iterable[Number]) -> list[Value]:
    """Each value times its weight."""
    return [times(x, w) for x, w in zip(values, weights, strict=True)]


def weighted_sum(values: Sequence[Value], weights: Iterable[Number]) -> Value:
    """`w0 x0 + w1 x1 + ...`, added in this order."""
    return added(weighted(values, weights))


def weighted_mean(values: Sequence[Value], weights: Iterable[Number]) -> Value:
    """The mean with these weights (their sum must not be 0), as `x0 + sum of w_i (x_i - x0)`.

    Written from the first value, so that equal values give exactly that value.
    """
    weights = [Fraction(w) for w in weights]
    scale = sum(weights)
    rest = [x - values[0] for x in values[1:]]
    if not rest:
        return values[0]
    return values[0] + weighted_sum(rest, [w / scale for w in weights[1:]])


def divided(x: Value, by: Value) -> Value:
    """`x / by`, and `x` where `by` is 0."""
    return x / where(by.equals(0), 1, by)
