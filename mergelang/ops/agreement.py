"""Methods on task vectors that weigh each element by how the tasks agree on it."""

import math
from collections.abc import Sequence
from fractions import Fraction

from mergelang.ops.deltas import DENSITY, agreeing
from mergelang.ops.expr import Value, dot, greatest, top, top_nonzero, total, where
from mergelang.ops.registry import operator
from mergelang.ops.signature import Delta, Each, Integer, Number
from mergelang.ops.sums import added, divided, times, weighted, weighted_mean, weighted_sum


@operator(
    task_vectors=True, least=1,
    formula="sum(W_i m_i d_i) / sum(W_i m_i), W_i = sum(d_i^2) / sum_j(sum(d_j^2)) over what is "
            "selected, m_i where d_i has the elected sign",
    paper="FuseChat (SCE), arXiv 2408.07990",
    use="fine-tunes of unlike strength, when there is nothing to find weights by",
)  # fmt: skip
def sce(
    *deltas: Delta, select_topk: Number(0, 1) = 1, epsilon: Number(0) = 0, lambda_: Number() = 1
) -> Delta:  # fmt: skip
    """Selects where the tasks differ most, calculates weights from energies, erases minorities.

    Of the elements whose variance over the inputs is not 0, the share `select_topk` of largest
    variance takes part (in a tensor where that is less than one element, none). Each input weighs
    as the sum of its squares there does. mergekit counts sums of weights below 1e-6 as nothing:
    with mean squares, as there, task vectors of real fine-tunes all weigh the same. `epsilon: 1e-6`
    does as mergekit.
    """
    count = len(deltas)
    chosen = list(deltas)
    if select_topk < 1:
        mean = weighted_mean(deltas, [1] * count)
        variance = added([(x - mean) * (x - mean) for x in deltas]) / count
        mask = top_nonzero(variance, select_topk)
        chosen = [where(mask, x, 0) for x in deltas]
    agree = agreeing(chosen)
    size = max(1, deltas[0].context.type.count)
    energies = [dot(x, x) / size for x in chosen]
    energy = added(energies)
    few = energy < epsilon if epsilon else energy.equals(0)
    weights = [where(few, Fraction(1, count), each / where(few, 1, energy)) for each in energies]
    parts = zip(agree, chosen, weights, strict=True)
    merged = added([where(mask, x * w, 0) for mask, x, w in parts])
    share = added([where(mask, w, 0) for mask, w in zip(agree, weights, strict=True)])
    low = share < epsilon if epsilon else share.equals(0)
    return times(merged / where(low, epsilon or 1, share), lambda_)


@operator(
    task_vectors=True, least=1,
    formula="mean of the d_i with |d_i| > epsilon",
    paper="Reinforced Agent Merging (RAM); as in mergekit",
    use="agents trained by reinforcement learning: sparse task vectors that overlap little, "
        "which a mean over all would dilute",
)  # fmt: skip
def ram(*deltas: Delta, epsilon: Number(0) = 1e-5) -> Delta:
    """Averages each element over those task vectors that changed it; what one changed stays whole.

    A change is a magnitude above `epsilon`.
    """
    changed = [abs(x) > epsilon for x in deltas]
    parts = [where(mask, x, 0) for mask, x in zip(changed, deltas, strict=True)]
    return divided(added(parts), _count(changed))


@operator(
    task_vectors=True, least=1,
    formula="as ram; what input i alone changed times 1 + r min(alpha, shared_i / unique_i)",
    paper="Reinforced Agent Merging (RAM+), tensor by tensor; as in mergekit",
    use="as `ram`, where inputs share so much that averaging weakens them",
)  # fmt: skip
def ramplus_tl(
    *deltas: Delta, r: Number(0) = 0.1, alpha: Number(0) = 0.2, epsilon: Number(0) = 1e-5
) -> Delta:
    """As `ram`, and makes up for what averaging takes from an input.

    In each tensor, what one input alone changed grows with how many elements it shares with others
    compared to those that are its own: by at most `r alpha`.
    """
    changed = [abs(x) > epsilon for x in deltas]
    count = _count(changed)
    shared, alone = count > 1, count.equals(1)
    parts = []
    for mask, x in zip(changed, deltas, strict=True):
        overlap, own = total(mask & shared), total(mask & alone)
        ratio = overlap / where(own.equals(0), epsilon or 1, own)
        grown = 1 + where(ratio > alpha, alpha, ratio) * r
        parts.append(where(mask, x * where(alone, grown, 1), 0))
    return divided(added(parts), count)


def _count(masks: Sequence[Value]) -> Value:
    """How many of the masks hold at each element."""
    return added([where(mask, 1, 0) for mask in masks])


@operator(
    task_vectors=True, least=2,
    formula="lambda m t, where t = sum(w_i d_i) and m is where at least k of the masks "
            "|d_i| >= threshold_i |t - d_i| hold",
    paper="Localizing task information (TALL masks, Consensus), arXiv 2405.07813",
    use="several tasks that disturb each other by what one of them alone uses",
)  # fmt: skip
def consensus(
    *deltas: Delta,
    weight: Each(Number()) = 1,
    threshold: Each(Number(0)) = 0.4,
    k: Integer(1) = 2,
    lambda_: Number() = 1,
) -> Delta:
    """Adds up task vectors and keeps what at least `k` tasks use.

    A task uses an element when its own task vector makes most of the sum there. What one task alone
    uses (selfish) and what none does (catastrophic) only disturbs the others. The paper searches
    `threshold` in 0.2 to 0.6 for each task, and `lambda` on held-out data.
    """
    together = weighted_sum(deltas, weight)
    uses = [
        abs(x) >= abs(together - x) * limit for x, limit in zip(deltas, threshold, strict=True)
    ]
    agreed = _count(uses) >= k
    return where(agreed, times(together, lambda_), 0)


@operator(
    task_vectors=True, least=1,
    formula="lambda sum(b_i d_i) / sum(b_i), where b_i = softmax(n norm(d_i d_i)) "
            "sum_j softmax(norm(d_i d_j)), 0 outside its floor(density size) largest",
    paper="Parameter Competition Balancing (PCB-Merging), arXiv 2410.02396",
    use="several tasks that compete for the same elements, when there is nothing to find "
        "weights by",
)  # fmt: skip
def pcb(
    *deltas: Delta, weight: Each(Number()) = 1, density: Each(DENSITY) = 0.2,
    lambda_: Number() = 1,
) -> Delta:  # fmt: skip
    """Weighs each element by its importance within its task and by its likeness to other tasks.

    Both are softmaxes over the tensor of products of task vectors, scaled to 0..1 (`norm`). Those
    with the largest weights, a share `density`, are kept; the rest count as dropped.
    """
    parts = weighted(deltas, weight)
    count = len(parts)
    inter: dict[tuple[int, int], Value] = {}
    for i in range(count):
        for j in range(i, count):
            inter[i, j] = inter[j, i] = _softmax(_scaled(parts[i] * parts[j]), 1)
    balanced = []
    for i, (x, share) in enumerate(zip(parts, density, strict=True)):
        balance = _softmax(_scaled(x * x), count) * added([inter[i, j] for j in range(count)])
        balanced.append(where(top(balance, share), balance, 0))
    merged = added([by * x for by, x in zip(balanced, parts, strict=True)])
    return times(divided(merged, added(balanced)), lambda_)


def _scaled(x: Value) -> Value:
    """Between 0 for the least element and 1 for the greatest; 0 where all are equal."""
    least = -greatest(-x)
    width = greatest(x) - least
    return (x - least) / where(width.equals(0), 1, width)


def _softmax(x: Value, factor: int) -> Value:
    """`exp(factor x)` over the mean of it: the softmax times the tensor's size, for x in 0..1."""
    powers = exponential(x * factor, factor)
    size = max(1, x.context.type.count)
    return powers / (total(powers) / size)


def exponential(x: Value, bound: float) -> Value:
    """exp(x) for |x| <= bound, of separately rounded products and sums alone.

    A Taylor polynomial of degree 11 of x / 2^k, squared k times: a relative error of about
    2^k times that of one rounding.
    """
    squarings = max(0, math.ceil(math.log2(max(bound, 1)))) + 4
    small = x * 2.0**-squarings
    power = small * (1 / math.factorial(11)) + 1 / math.factorial(10)
    for degree in range(9, -1, -1):
        power = power * small + 1 / math.factorial(degree)
    for _ in range(squarings):
        power = power * power
    return power
