"""Methods that prune by magnitude: `breadcrumbs` (small and largest elements), `della` (by rank).

Options as in `task_vectors`; the pruning itself are the delta operators `trim` and `magprune`.
"""

from collections.abc import Sequence

from mergelang.ops.deltas import DENSITY, RESCALE, magprune, trim
from mergelang.ops.expr import Number as Amount
from mergelang.ops.expr import Value
from mergelang.ops.registry import operator
from mergelang.ops.signature import Boolean, Choice, Delta, Each, Integer, Number
from mergelang.ops.task_vectors import elected, summed


@operator(
    task_vectors=True, least=1,
    formula="lambda sum(w_i trim(d_i, density, gamma))",
    paper="Model Breadcrumbs, arXiv 2312.06795",
    use="task vectors whose largest elements are outliers of one training, which `ties` would keep",
)  # fmt: skip
def breadcrumbs(
    *deltas: Delta,
    weight: Each(Number()) = 1,
    density: Each(DENSITY),
    gamma: Each(Number(0, 1)) = 0.01,
    normalize: Boolean() = False,
    rescale: Choice("none", "l1") = "none",
    lambda_: Number() = 1,
) -> Delta:
    """Drops the largest and the smallest elements of each task vector, and adds up what is left.

    Written out: `breadcrumbs(a { weight: 0.7 }, b, density: 0.5, gamma: 0.1, base: base)` is
    `base + 0.7 * trim(a - base, density: 0.5, gamma: 0.1)
    + trim(b - base, density: 0.5, gamma: 0.1)`.
    One element of a tensor at least is kept; mergekit keeps none where `density` of it is less than
    one element.
    """
    return summed(_trimmed(deltas, density, gamma, rescale), weight, normalize, lambda_)


@operator(
    task_vectors=True, least=1,
    formula="lambda elect(trim(d_1, density, gamma), ..., trim(d_n, density, gamma))",
    paper="Model Breadcrumbs, arXiv 2312.06795; TIES-Merging, arXiv 2306.01708",
    use="as `breadcrumbs`, where task vectors disagree on signs too",
)  # fmt: skip
def breadcrumbs_ties(
    *deltas: Delta,
    weight: Each(Number()) = 1,
    density: Each(DENSITY),
    gamma: Each(Number(0, 1)) = 0.01,
    normalize: Boolean() = False,
    rescale: Choice("none", "l1") = "none",
    lambda_: Number() = 1,
) -> Delta:
    """Prunes as `breadcrumbs` does, then elects a sign and merges what agrees, as `ties` does.

    Written out: `breadcrumbs_ties(a, b, density: 0.5, gamma: 0.1, base: base)` is `base +
    elect(trim(a - base, density: 0.5, gamma: 0.1), trim(b - base, density: 0.5, gamma: 0.1),
    normalize: false)`.
    One element of a tensor at least is kept; mergekit keeps none where `density` of it is less than
    one element.
    """
    return elected(_trimmed(deltas, density, gamma, rescale), weight, normalize, lambda_)


@operator(
    task_vectors=True, least=1,
    formula="lambda elect(magprune(d_1), ..., magprune(d_n))",
    paper="DELLA-Merging, arXiv 2406.11617",
    use="in place of `dare_ties` where few elements carry most of a task vector",
)  # fmt: skip
def della(
    *deltas: Delta,
    weight: Each(Number()) = 1,
    density: Each(DENSITY),
    epsilon: Each(Number(0, 1)) = 0.15,
    normalize: Boolean() = True,
    rescale: RESCALE = "inverse",
    lambda_: Number() = 1,
    draw: Integer(0) = 0,
) -> Delta:
    """Drops small elements more probably than large ones, elects a sign, merges what agrees.

    Written out: `della(a { weight: 0.7 }, b, density: 0.5, base: base)` is `base +
    elect(magprune(a - base, density: 0.5) { weight: 0.7 }, magprune(b - base, density: 0.5))`.
    The paper divides each element by its own probability, mergekit does as `rescale: l1`.
    """
    return elected(_pruned(deltas, density, epsilon, rescale, draw), weight, normalize, lambda_)


@operator(
    task_vectors=True, least=1,
    formula="lambda sum(w_i magprune(d_i))",
    paper="DELLA-Merging, arXiv 2406.11617",
    use="in place of `dare` where few elements carry most of a task vector",
)  # fmt: skip
def della_linear(
    *deltas: Delta,
    weight: Each(Number()) = 1,
    density: Each(DENSITY),
    epsilon: Each(Number(0, 1)) = 0.15,
    normalize: Boolean() = False,
    rescale: RESCALE = "inverse",
    lambda_: Number() = 1,
    draw: Integer(0) = 0,
) -> Delta:
    """Drops small elements more probably than large ones, and adds up what is left.

    Written out: `della_linear(a { weight: 0.7 }, b, density: 0.5, base: base)` is
    `base + 0.7 * magprune(a - base, density: 0.5) + magprune(b - base, density: 0.5)`.
    The paper divides each element by its own probability, mergekit does as `rescale: l1`.
    """
    return summed(_pruned(deltas, density, epsilon, rescale, draw), weight, normalize, lambda_)


def _trimmed(
    deltas: Sequence[Value], density: Sequence[Amount], gamma: Sequence[Amount], rescale: str
) -> list[Value]:
    return [
        trim(x, density=d, gamma=g, rescale=rescale)
        for x, d, g in zip(deltas, density, gamma, strict=True)
    ]


def _pruned(
    deltas: Sequence[Value], density: Sequence[Amount], epsilon: Sequence[Amount], rescale: str,
    draw: int,
) -> list[Value]:  # fmt: skip
    return [
        magprune(x, density=d, epsilon=e, rescale=rescale, draw=draw)
        for x, d, e in zip(deltas, density, epsilon, strict=True)
    ]
