"""One operator: task vectors added up without their outliers.

The body runs once for each tensor and says what is to be computed; no data is there yet. So it has
no `if` on values but `where`, and it needs no torch. The engine computes it block by block, with
two passes over each tensor: one for the norm, one for the rest.
"""

from math import sqrt

from mergelang.ops import Delta, Each, Number, Value, norm, operator, weighted_sum, where


@operator(
    task_vectors=True, least=1,
    formula="sum(w_i clip(d_i, -limit rms(d_i), limit rms(d_i)))",
)  # fmt: skip
def clipped(
    *deltas: Delta,
    weight: Each(Number()) = 1,
    limit: Each(Number(0, low_open=True)) = 3,
) -> Delta:
    """Adds task vectors up after cutting off their outliers.

    An element is cut off at `limit` times the root mean square of its tensor. Use it when a few
    weights of a fine-tune moved far more than all others and spoil a sum.
    """
    parts = [_clip(x, by) for x, by in zip(deltas, limit, strict=True)]
    return weighted_sum(parts, weight)


def _clip(x: Value, limit: float) -> Value:
    bound = norm(x) * limit / sqrt(max(1, x.context.type.count))
    return where(x > bound, bound, where(x < -bound, -bound, x))
