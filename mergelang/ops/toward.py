"""Methods that go from a base towards fine-tunes, as far as a rule says."""

from itertools import combinations

from mergelang.ops.expr import ROWS, SCALAR, Value, dot, kth, norm, rowwise, sign, where
from mergelang.ops.registry import operator
from mergelang.ops.signature import Boolean, Delta, Model, Number
from mergelang.ops.sums import added, weighted_mean


@operator(
    task_vectors=True, least=2,
    formula="t mean(d_i), where t = n c / (1 + (n-1) c), c = mean cosine between pairs of d_i",
    paper="Model Stock, arXiv 2403.19522",
    use="fine-tunes of one base on one task, with other seeds or settings",
)  # fmt: skip
def model_stock(
    *deltas: Delta, filter_wise: Boolean() = False, epsilon: Number(0) = 0
) -> Delta:  # fmt: skip
    """Goes from the base towards the mean of fine-tunes, as far as they agree on the direction.

    With `filter_wise: true` every row of a matrix has an angle of its own. mergekit counts products
    of lengths below 1e-6 as 1e-6, which makes small task vectors look less alike; `epsilon: 1e-6`
    does as mergekit.
    """
    kind = ROWS if filter_wise else SCALAR
    count = len(deltas)
    cosines = [_cosine(a, b, kind, epsilon) for a, b in combinations(deltas, 2)]
    cosine = added(cosines) / len(cosines)
    below = 1 + cosine * (count - 1)
    vanishes = abs(below) < 1e-6
    t = where(vanishes, 0, cosine * count / where(vanishes, 1, below))
    return weighted_mean(deltas, [1] * count) * t


def _cosine(a: Value, b: Value, kind: str, epsilon: float) -> Value:
    lengths = norm(a, kind) * norm(b, kind)
    low = lengths < epsilon if epsilon else lengths.equals(0)
    cosine = dot(a, b, kind) / where(low, epsilon or 1, lengths)
    return where(cosine > 1, 1, where(cosine < -1, -1, cosine))


@operator(
    task_vectors=True,
    formula="d where |d| <= t, else sign(d) t",
    paper="mergekit's nearswap, after an idea of Alchemonaut",
    use="the tone of one model without its large differences",
)  # fmt: skip
def nearswap(x: Delta, *, t: Number(0)) -> Delta:
    """Takes what is near the base from `x`, and moves by at most `t` towards `x` elsewhere."""
    return where(abs(x) <= t, x, sign(x) * t)


@operator(
    formula="base + d where |d| K >= median + 1.5 (q3 - q1) of |d| K, else base; K = KL divergence "
            "of the softmaxes of the rows of x and base",
    paper="Arcee Fusion; as in mergekit",
    use="one fine-tune of which only the changes that matter are wanted",
)  # fmt: skip
def arcee_fusion(x: Model, *, base: Model) -> Model:
    """Takes from `x` the elements that matter most, and the rest from the base.

    An element matters as its difference times the divergence of its row. The quartiles are those of
    all elements of the tensor, also where mergekit (above a million) takes a random sample.
    """
    difference = x - base
    divergence = rowwise("mergelang.ops.kernels.divergence:divergence", x, base)
    importance = abs(difference) * divergence
    count = x.context.type.count
    if not count:
        return base
    first, median, third = (
        kth(importance, count - int(q * (count - 1))) for q in (0.25, 0.5, 0.75)
    )
    threshold = median + (third - first) * 1.5
    return where(importance >= threshold, base + difference, base)
