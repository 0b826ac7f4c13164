"""Means of models: `linear`, `mean`, `slerp`."""

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from mergelang.ops.expr import (
    acos,
    dot,
    norm,
    sin,
    weighted_mean,
    weighted_sum,
    where,
)  # fmt: skip
from mergelang.ops.registry import operator
from mergelang.ops.signature import Alike, Boolean, Each, Number

COLINEAR = 0.9995
"""Cosine from which two tensors count as parallel, as in mergekit."""


def _linear_mass(masses: tuple[Fraction, ...], options: Mapping[str, Any]) -> Fraction:
    weights = options["weight"]
    total = sum((w * m for w, m in zip(weights, masses, strict=True)), Fraction(0))
    return total / sum(weights, Fraction(0)) if options["normalize"] else total


@operator(
    least=1,
    mass=_linear_mass,
    formula="sum(w_i x_i) / sum(w_i); without normalize sum(w_i x_i)",
    paper="Model soups, arXiv 2203.05482",
)
def linear(
    *inputs: Alike, weight: Each(Number()) = 1, normalize: Boolean() = True
) -> Alike:  # fmt: skip
    """The weighted mean of its inputs; without `normalize` their weighted sum.

    Written out: `linear(a { weight: 0.6 }, b { weight: 0.4 })` is `0.6 * a + 0.4 * b`.
    Equal inputs give exactly that input.
    """
    return (weighted_mean if normalize else weighted_sum)(inputs, weight)


@operator(least=1, formula="sum(x_i) / n", paper="Model soups, arXiv 2203.05482")
def mean(*inputs: Alike) -> Alike:
    """The plain mean of its inputs.

    Written out: `mean(a, b)` is `linear(a, b)`.
    """
    return weighted_mean(inputs, [Fraction(1)] * len(inputs))


@operator(
    formula="sin((1-t) w)/sin(w) a + sin(t w)/sin(w) b, where cos(w) = a.b / (|a| |b|)",
    paper="Shoemake 1985, Animating rotation with quaternion curves",
)
def slerp(a: Alike, b: Alike, *, t: Number(0, 1)) -> Alike:
    """Spherical interpolation from `a` (t = 0) to `b` (t = 1), tensor by tensor.

    The angle is that between the flattened tensors. Where they are nearly parallel (|cosine| above
    0.9995), or one is zero, the interpolation is linear, as in mergekit.
    """
    lengths = norm(a) * norm(b)
    zero = lengths.equals(0)
    cosine = dot(a, b) / where(zero, 1, lengths)
    straight = zero | (abs(cosine) > COLINEAR)
    angle = acos(where(straight, 0, cosine))
    part_b = sin(angle * t) / sin(angle)
    part_a = sin(angle * (1 - Fraction(t))) / sin(angle)
    # Anchored at `a`, so that equal inputs give exactly that input.
    whole = where(straight, 1, part_a + part_b)
    return a * whole + (b - a) * where(straight, t, part_b)


