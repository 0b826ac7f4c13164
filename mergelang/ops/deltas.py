"""The small operators on task vectors, of which the named methods are made."""

from fractions import Fraction

from mergelang.ops.expr import (
    Value,
    exact,
    keep,
    rank,
    share_of,
    top,
    top_count,
    total,
    uniform,
    where,
)  # fmt: skip
from mergelang.ops.registry import operator
from mergelang.ops.signature import Alike, Boolean, Choice, Delta, Each, Integer, Number
from mergelang.ops.sums import added, divided, weighted

DENSITY = Number(0, 1, low_open=True)
RESCALE = Choice("inverse", "l1", "none")


@operator(
    formula="x_i where |x_i| is among the floor(density n) largest, else 0",
    paper="TIES-Merging, arXiv 2306.01708; Model Breadcrumbs, arXiv 2312.06795",
    use="task vectors of which the small elements are noise; the first step of `ties`",
)
def trim(
    x: Delta,
    *,
    density: Number(0, 1),
    gamma: Number(0, 1) = 0,
    rescale: Choice("none", "l1") = "none",
) -> Delta:
    """Keeps the elements of largest magnitude, a share `density` of them, and makes the rest 0.

    Of a tensor with n elements `floor(density n)` are kept, at least one if density is not 0; of
    equal magnitudes those that stand first. With `gamma` the `floor(gamma n)` largest are dropped
    too, and those kept are the next ones; fewer are dropped where not enough others are left.
    `rescale: l1` scales what is kept to the sum of magnitudes before.
    """
    if not gamma or density == 1:
        kept = where(top(x, density), x, 0)
    else:
        count = x.context.type.count
        wanted = share_of(density, count)
        outliers = min(int(exact(gamma) * count), count - wanted)
        mask = top_count(x, wanted + outliers) & ~top_count(x, outliers)
        kept = where(mask, x, 0)
    return _as_large_as(x, kept) if rescale == "l1" and density != 1 else kept


@operator(
    formula="m_i x_i / density, where m_i is 1 with probability density, else 0",
    paper="DARE, arXiv 2311.03099",
    use="sparse task vectors in front of any method; the first step of `dare`",
)
def drop(
    x: Delta,
    *,
    density: DENSITY,
    rescale: RESCALE = "inverse",
    draw: Integer(0) = 0,
) -> Delta:
    """Keeps each element with probability `density`, makes the rest 0 and rescales what is left.

    `rescale: inverse` divides by the density, so that the expected value stays; `l1` scales to the
    sum of magnitudes before; `none` leaves it. The choice depends on the seed of the file, on what
    is dropped from and on the name of the tensor; another `draw` chooses anew. A lower density
    keeps a subset of what a higher one keeps.
    """
    if density == 1:
        return x
    kept = where(keep(x, density, draw), x, 0)
    if rescale == "inverse":
        return kept / density
    return _as_large_as(x, kept) if rescale == "l1" else kept


@operator(
    formula="m_i x_i / p_i, where m_i is 1 with probability p_i, else 0, and p_i grows from "
        "density - epsilon to density + epsilon with the rank of |x_i| in its row",
    paper="DELLA-Merging, arXiv 2406.11617",
    use="in place of `drop` where few elements carry most of a task vector",
)
def magprune(
    x: Delta,
    *,
    density: DENSITY,
    epsilon: Number(0, 1) = 0.15,
    rescale: RESCALE = "inverse",
    draw: Integer(0) = 0,
) -> Delta:
    """Drops at random as `drop` does, small elements more probably than large ones.

    Elements are ranked by magnitude within their row (along the last dimension). Where
    `density - epsilon` or `density + epsilon` would leave 0..1, epsilon is as large as fits.
    `rescale: inverse` divides each element by its own probability, as the paper does; `l1` scales
    all to the sum of magnitudes before, as mergekit does.
    """
    density, shape = Fraction(density), x.context.type.shape
    if density == 1:
        return x
    epsilon = min(Fraction(epsilon), density, 1 - density)
    last = (shape[-1] if shape else 1) - 1
    if not epsilon or last < 1:
        return drop(x, density=density, rescale=rescale, draw=draw)
    probability = rank(x) * (2 * epsilon / last) + (density - epsilon)
    mask = uniform(x, draw) < probability
    kept = where(mask, x, 0)
    if rescale == "inverse":
        return kept / where(mask, probability, 1)
    return _as_large_as(x, kept) if rescale == "l1" else kept


def _as_large_as(x: Value, kept: Value) -> Value:
    """What was kept, scaled to the sum of the magnitudes of all; as it is where nothing was."""
    before, after = total(abs(x)), total(abs(kept))
    nothing = after.equals(0)
    return kept * where(nothing, 1, before / where(nothing, 1, after))


@operator(
    least=1,
    formula="sum(w_i x_i) / sum(w_i) over the inputs whose w_i x_i has the sign of the whole sum",
    paper="TIES-Merging, arXiv 2306.01708",
    use="task vectors that pull the same elements in opposite directions; the last step of `ties`",
)
def elect(
    *inputs: Delta, weight: Each(Number()) = 1, normalize: Boolean() = True
) -> Delta:  # fmt: skip
    """For each element elects a sign and merges the inputs that have it.

    The sign is that of the weighted sum of all inputs (plus where that is 0). Those with that sign
    are averaged by their weights, or with `normalize: false` summed.
    """
    parts = weighted(inputs, weight)
    agree = agreeing(parts)
    merged = added([where(mask, part, 0) for mask, part in zip(agree, parts, strict=True)])
    if not normalize:
        return merged
    weights = added([where(mask, w, 0) for mask, w in zip(agree, weight, strict=True)])
    return divided(merged, weights)


def agreeing(parts: list[Value]) -> list[Value]:
    """For each part the mask of the elements that have the sign of the sum, plus where it is 0."""
    negative = added(parts) < 0
    return [(negative & (part < 0)) | (~negative & (part > 0)) for part in parts]


@operator(
    formula="by x",
    use="more or less of a task vector; a negative number takes a skill away",
)
def scale(x: Alike, *, by: Number()) -> Alike:
    """A task vector times a number.

    Written out: `scale(a - base, by: 0.5)` is `0.5 * (a - base)`.
    """
    return x * by
