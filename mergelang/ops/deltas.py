"""The small operators on task vectors, of which the named methods are made."""

from mergelang.ops.expr import Value, keep, sign, top, total, weighted_sum, where
from mergelang.ops.registry import operator
from mergelang.ops.signature import Alike, Boolean, Choice, Delta, Each, Integer, Number

DENSITY = Number(0, 1, low_open=True)


@operator(formula="x_i where |x_i| is among the floor(density n) largest, else 0",
          paper="TIES-Merging, arXiv 2306.01708")  # fmt: skip
def trim(x: Delta, *, density: Number(0, 1)) -> Delta:
    """Keeps the elements of largest magnitude, a share `density` of them, and makes the rest 0.

    Of a tensor with n elements `floor(density n)` are kept, at least one if density is not 0; of
    equal magnitudes those that stand first.
    """
    return where(top(x, density), x, 0)


@operator(formula="m_i x_i / density, where m_i is 1 with probability density, else 0",
          paper="DARE, arXiv 2311.03099")  # fmt: skip
def drop(
    x: Delta,
    *,
    density: DENSITY,
    rescale: Choice("inverse", "l1", "none") = "inverse",
    draw: Integer(0) = 0,
) -> Delta:
    """Keeps each element with probability `density`, makes the rest 0 and rescales what is left.

    `rescale: inverse` divides by the density, so that the expected value stays; `l1` scales to the
    sum of magnitudes before; `none` leaves it. The choice hangs on the seed of the file, on what is
    dropped from and on the name of the tensor; another `draw` chooses anew. A lower density keeps a
    subset of what a higher one keeps.
    """
    kept = where(keep(x, density, draw), x, 0)
    if rescale == "inverse":
        return kept if density == 1 else kept / density
    if rescale == "l1":
        before, after = total(abs(x)), total(abs(kept))
        nothing = after.equals(0)
        return kept * where(nothing, 1, before / where(nothing, 1, after))
    return kept


@operator(
    least=1,
    formula="mean of the w_i x_i whose sign is that of sum(w_i x_i), weighted by w_i",
    paper="TIES-Merging, arXiv 2306.01708",
)
def elect(
    *inputs: Delta, weight: Each(Number()) = 1, normalize: Boolean() = True
) -> Delta:  # fmt: skip
    """For each element elects a sign and merges the inputs that have it.

    The sign is that of the weighted sum (plus where that is 0). The inputs with that sign are
    averaged by their weights, or with `normalize: false` summed.
    """
    parts = [x if w == 1 else x * w for x, w in zip(inputs, weight, strict=True)]
    elected = where(weighted_sum(parts, [1] * len(parts)) < 0, -1, 1)
    agree = [sign(part).equals(elected) for part in parts]
    merged = _sum([where(mask, part, 0) for mask, part in zip(agree, parts, strict=True)])
    if not normalize:
        return merged
    weights = _sum([where(mask, w, 0) for mask, w in zip(agree, weight, strict=True)])
    return merged / where(weights.equals(0), 1, weights)


def _sum(values: list[Value]) -> Value:
    return weighted_sum(values, [1] * len(values))


@operator(formula="by x")
def scale(x: Alike, *, by: Number()) -> Alike:
    """A task vector times a number.

    Written out: `scale(a - base, by: 0.5)` is `0.5 * (a - base)`.
    """
    return x * by
