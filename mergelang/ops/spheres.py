"""Means on spheres: `slerp`, `nuslerp`, `multislerp`, `karcher`.

Every result is a combination of the inputs, so the geometry happens on their scalar products: one
pass gathers those, a second one combines.
"""

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

from mergelang.ops.expr import COLUMNS, ROWS, SCALAR, Value, acos, dot, norm, sin, solve, where
from mergelang.ops.means import mean_mass
from mergelang.ops.registry import operator
from mergelang.ops.signature import Alike, Boolean, Each, Integer, Number
from mergelang.ops.sums import divided

COLINEAR = 0.9995
"""Cosine from which `slerp` is linear, as in mergekit."""

TINY = 1e-16
"""Squared sine up to which `nuslerp` is linear."""

OPPOSITE = math.pi - 1e-6
"""The angle from which a point counts as opposite: what an arc cosine still tells from pi."""


@operator(
    formula="sin((1-t) w)/sin(w) a + sin(t w)/sin(w) b, where cos(w) = a.b / (|a| |b|)",
    paper="Shoemake 1985, Animating rotation with quaternion curves",
    use="two fine-tunes of one base; for more, `multislerp` or `karcher`",
)
def slerp(a: Alike, b: Alike, *, t: Number(0, 1)) -> Alike:
    """Spherical interpolation from `a` (t = 0) to `b` (t = 1), tensor by tensor.

    The angle is that between the flattened tensors. Where they are nearly parallel (|cosine| above
    0.9995) the interpolation is linear, as in mergekit.
    """
    cosine = _cosine(a, b, SCALAR)
    return _between(a, b, t, cosine, abs(cosine) > COLINEAR)


@operator(
    task_vectors=True, points=True, least=2, most=2,
    needs={"row_wise": ("flatten", False)},
    formula="slerp(a, b, t: w_b / (w_a + w_b)); with a base of the task vectors",
    paper="Shoemake 1985; mergekit's nuslerp",
    use="as `slerp`, by weights instead of `t`; of task vectors; row by row",
)  # fmt: skip
def nuslerp(
    *inputs: Alike,
    weight: Each(Number()) = 1,
    flatten: Boolean() = True,
    row_wise: Boolean() = False,
) -> Alike:
    """Spherical interpolation of two models or task vectors by their weights.

    Linear only where they are parallel to the precision of float64. With `flatten: false` every row
    of a matrix (the weights into one output) is a vector of its own; with `row_wise: true` too,
    every column is, which is what mergekit calls row-wise.
    """
    (a, b), (first, second) = inputs, (Fraction(each) for each in weight)
    near = abs(first + second) < Fraction(1, 10**6)
    t = Fraction(1, 2) if near else second / (first + second)
    cosine = _cosine(a, b, SCALAR if flatten else COLUMNS if row_wise else ROWS)
    return _between(a, b, t, cosine, 1 - cosine * cosine <= TINY)


def _cosine(a: Value, b: Value, kind: str) -> Value:
    """The cosine between two tensors, or between their rows or columns; 0 where one is zero."""
    lengths = norm(a, kind) * norm(b, kind)
    return divided(dot(a, b, kind), lengths)


def _between(a: Value, b: Value, t: Fraction, cosine: Value, straight: Value) -> Value:
    angle = acos(where(straight, 0, cosine))
    part_a = sin(angle * (1 - Fraction(t))) / sin(angle)
    part_b = sin(angle * t) / sin(angle)
    # Anchored at `a`, so that equal inputs give exactly that input.
    whole = where(straight, 1, part_a + part_b)
    return a * whole + (b - a) * where(straight, t, part_b)


def _multislerp_mass(masses: tuple[Fraction, ...], options: Mapping[str, Any]) -> Fraction:
    """That of the inputs. ZeroDivisionError where weights are normalized that sum to 0."""
    normal = options["normalize_weights"] and len(masses) > 1
    return mean_mass(masses, options) if normal else masses[0]


@operator(
    task_vectors=True, points=True, least=1, mass=_multislerp_mass,
    formula="m / |m| sum(w_i |x_i|), where m = sum(w_i x_i / |x_i|)",
    paper="Buss and Fillmore 2001, Spherical averages; mergekit's multislerp",
    use="more than two models whose plain mean would be shorter than each of them",
)  # fmt: skip
def multislerp(
    *inputs: Alike,
    weight: Each(Number()) = 1,
    normalize_weights: Boolean() = True,
    eps: Number(0) = 1e-8,
) -> Alike:
    """The weighted mean of directions, with the weighted mean of lengths.

    With a base, of the task vectors. Where the directions cancel out (|m| below `eps`), the result
    is the weighted sum. One input is returned as it is. Weights are divided by their sum, which may
    be 0 only where `normalize_weights: false` leaves them as they are. As in mergekit `eps` is also
    added to the lengths |x_i| in m, and the result is times cos(eps), which is felt with a large
    one alone.
    """
    if len(inputs) == 1:
        return inputs[0]
    weights = [Fraction(each) for each in weight]
    if normalize_weights:
        total = sum(weights)
        weights = [each / total for each in weights]
    return _combined(
        inputs, "chordal_mean", weights=tuple(float(w) for w in weights), eps=float(eps)
    )


@operator(
    task_vectors=True, points=True, least=1,
    formula="sum(|x_i|) / n times the direction m with the least sum of angle(m, x_i)^2",
    paper="Karcher 1977, Riemannian center of mass; mergekit's karcher",
    use="more than two models that lie far apart, where `slerp`s of `slerp`s would depend on "
        "their order",
)  # fmt: skip
def karcher(*inputs: Alike, max_iter: Integer(0) = 10, tol: Number(0) = 1e-5) -> Alike:
    """The mean on the sphere: the direction nearest to all in squared angles, with the mean length.

    Starts from the mean of the directions and goes along geodesics until a step is shorter than
    `tol` or `max_iter` steps are done. Inputs of length up to `tol` have no direction.
    """
    if len(inputs) == 1:
        return inputs[0]
    return _combined(inputs, "karcher_mean", max_iter=max_iter, tol=float(tol))


def _combined(inputs: Sequence[Value], function: str, **parameters: object) -> Value:
    """The combination of the inputs whose coefficients a function here makes of their products."""
    count = len(inputs)
    products = [dot(inputs[i], inputs[j]) for i in range(count) for j in range(i + 1)]
    name = f"{__name__}:{function}"
    coefficients = solve(name, products, count, **parameters)
    whole = coefficients[0]
    for each in coefficients[1:]:
        whole = whole + each
    result = inputs[0] * whole
    for value, by in zip(inputs[1:], coefficients[1:], strict=True):
        result = result + (value - inputs[0]) * by
    return result


def chordal_mean(products: list[float], *, weights: tuple[float, ...], eps: float) -> list[float]:
    """Coefficients of `multislerp` over the inputs, from the lower triangle of their products."""
    gram = _symmetric(products)
    lengths = [math.sqrt(gram[i][i]) for i in range(len(gram))]
    direction = [
        w / (length + eps) if length else 0.0 for w, length in zip(weights, lengths, strict=True)
    ]
    size = _length(gram, direction)
    if size < eps or not size:
        return list(weights)
    mean = math.fsum(w * length for w, length in zip(weights, lengths, strict=True))
    # mergekit steps from the mean direction along a tangent, which is of length 0, plus eps.
    return [each / size * mean * math.cos(eps) for each in direction]


def karcher_mean(products: list[float], *, max_iter: int, tol: float) -> list[float]:
    """Coefficients of `karcher` over the inputs, from the lower triangle of their products."""
    gram = _symmetric(products)
    count = len(gram)
    lengths = [math.sqrt(gram[i][i]) for i in range(count)]
    valid = [i for i in range(count) if lengths[i] > tol]
    if not valid:
        return [0.0] * count
    mean = [1 / lengths[i] / len(valid) if i in valid else 0.0 for i in range(count)]
    size = _length(gram, mean)
    if size <= tol:
        mean = [1 / lengths[i] if i == valid[0] else 0.0 for i in range(count)]
        size = 1.0
    mean = [each / size for each in mean]
    for _ in range(max_iter):
        step = [0.0] * count
        for i in valid:
            cosine = math.fsum(gram[i][j] * mean[j] for j in range(count)) / lengths[i]
            angle = math.acos(max(-1.0, min(1.0, cosine)))
            if angle <= tol or angle > OPPOSITE:  # no direction leads there
                continue
            by = angle / math.sin(angle) / len(valid)
            step = [s - by * cosine * m for s, m in zip(step, mean, strict=True)]
            step[i] += by / lengths[i]
        size = _length(gram, step)
        if size <= tol:
            break
        along, across = math.cos(size), math.sin(size) / size
        mean = [along * m + across * s for m, s in zip(mean, step, strict=True)]
        length = _length(gram, mean)
        if length > tol:
            mean = [each / length for each in mean]
    average = math.fsum(lengths) / count
    return [each * average for each in mean]


def _symmetric(products: list[float]) -> list[list[float]]:
    count = math.isqrt(2 * len(products))
    rows = [[0.0] * count for _ in range(count)]
    given = iter(products)
    for i in range(count):
        for j in range(i + 1):
            rows[i][j] = rows[j][i] = next(given)
    return rows


def _length(gram: list[list[float]], combination: list[float]) -> float:
    """The length of a combination of the inputs."""
    count = range(len(gram))
    terms = (combination[i] * gram[i][j] * combination[j] for i in count for j in count)
    return math.sqrt(max(0.0, math.fsum(terms)))
