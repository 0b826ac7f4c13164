"""Methods on task vectors: the differences between fine-tunes and their base.

Each takes models with `base:`, or task vectors without it. The bodies see task vectors; with a base
the result is the base plus what the body returns. Those that all of mergekit's family share:

    weight      of each task vector, after it was pruned
    normalize   divide by the sum of the weights (where a sign was elected: of those that have it)
    lambda      a factor for the result
"""

from collections.abc import Sequence
from fractions import Fraction

from mergelang.ops.deltas import DENSITY, RESCALE, drop, elect, trim
from mergelang.ops.expr import Number as Amount
from mergelang.ops.expr import Value
from mergelang.ops.registry import operator
from mergelang.ops.signature import Boolean, Choice, Delta, Each, Integer, Number
from mergelang.ops.sums import times, weighted_sum


def summed(
    deltas: Sequence[Value], weight: Sequence[Amount], normalize: bool, factor: Amount
) -> Value:
    """`factor` times the weighted sum, divided by the sum of the weights (unless it is 0)."""
    weights = [Fraction(each) for each in weight]
    total = sum(weights) if normalize else 1
    by = Fraction(factor) / (total or 1)
    return weighted_sum(deltas, [each * by for each in weights])


def elected(
    deltas: Sequence[Value], weight: Sequence[Amount], normalize: bool, factor: Amount
) -> Value:
    """`factor` times what `elect` makes."""
    return times(elect(*deltas, weight=weight, normalize=normalize), factor)


@operator(
    task_vectors=True, least=1, formula="lambda sum(w_i d_i)",
    paper="Editing models with task arithmetic, arXiv 2212.04089",
    use="the first thing to try; where task vectors disagree much, `ties` or `dare` lose less",
)  # fmt: skip
def task_arithmetic(
    *deltas: Delta,
    weight: Each(Number()) = 1,
    normalize: Boolean() = False,
    lambda_: Number() = 1,
) -> Delta:
    """The weighted sum of task vectors.

    Written out: `task_arithmetic(a { weight: 0.5 }, b { weight: 0.8 }, base: base)` is
    `base + 0.5 * (a - base) + 0.8 * (b - base)`.
    """
    return summed(deltas, weight, normalize, lambda_)


@operator(
    task_vectors=True, least=1,
    formula="lambda elect(trim(d_1), ..., trim(d_n))",
    paper="TIES-Merging, arXiv 2306.01708",
    use="several task vectors that disagree on signs",
)  # fmt: skip
def ties(
    *deltas: Delta,
    weight: Each(Number()) = 1,
    density: Each(DENSITY) = 0.2,
    normalize: Boolean() = True,
    rescale: Choice("none", "l1") = "none",
    lambda_: Number() = 1,
) -> Delta:
    """Trims each task vector to its largest elements, elects a sign, merges what agrees.

    Written out: `ties(a { weight: 0.7 }, b, density: 0.3, base: base)` is
    `base + elect(trim(a - base, density: 0.3) { weight: 0.7 }, trim(b - base, density: 0.3))`.
    The paper keeps a fifth of the elements, which is the default; mergekit's is to keep all.
    """
    trimmed = [trim(x, density=d, rescale=rescale) for x, d in zip(deltas, density, strict=True)]
    return elected(trimmed, weight, normalize, lambda_)


@operator(
    task_vectors=True, least=1,
    formula="lambda sum(w_i drop(d_i))",
    paper="Language Models are Super Mario, arXiv 2311.03099",
    use="fine-tunes whose changes are small and redundant, so that most of them can be left out",
)  # fmt: skip
def dare(
    *deltas: Delta,
    weight: Each(Number()) = 1,
    density: Each(DENSITY),
    rescale: RESCALE = "inverse",
    normalize: Boolean() = False,
    lambda_: Number() = 1,
    draw: Integer(0) = 0,
) -> Delta:
    """Drops most of each task vector at random, rescales the rest, adds them up.

    Written out: `dare(a { weight: 0.7 }, b { density: 0.2 }, density: 0.5, base: base)` is
    `base + 0.7 * drop(a - base, density: 0.5) + drop(b - base, density: 0.2)`.
    The paper divides what is left by the density; mergekit, whose `dare_linear` this is, scales it
    to the sum of magnitudes before, which `rescale: l1` does.
    """
    return summed(_dropped(deltas, density, rescale, draw), weight, normalize, lambda_)


@operator(
    task_vectors=True, least=1,
    formula="lambda elect(drop(d_1), ..., drop(d_n))",
    paper="Language Models are Super Mario, arXiv 2311.03099; TIES-Merging, arXiv 2306.01708",
    use="as `dare`, where task vectors disagree on signs too",
)  # fmt: skip
def dare_ties(
    *deltas: Delta,
    weight: Each(Number()) = 1,
    density: Each(DENSITY),
    rescale: RESCALE = "inverse",
    normalize: Boolean() = False,
    lambda_: Number() = 1,
    draw: Integer(0) = 0,
) -> Delta:
    """Drops at random as `dare` does, then elects a sign and merges what agrees, as `ties` does.

    Written out: `dare_ties(a, b { weight: 0.7 }, density: 0.5, base: base)` is `base +
    elect(drop(a - base, density: 0.5), drop(b - base, density: 0.5) { weight: 0.7 },
    normalize: false)`.
    As in mergekit what agrees is summed unless `normalize: true` asks for the mean. The paper
    divides what is left by the density, mergekit does as `rescale: l1`.
    """
    return elected(_dropped(deltas, density, rescale, draw), weight, normalize, lambda_)


@operator(
    task_vectors=True, least=1,
    formula="lambda sum(w_i m_i d_i / q_i), where m_i is 1 with probability density, else 0",
    paper="DARE the Extreme (DAREx), arXiv 2410.09344",
    use="densities of a tenth and less, where dividing by the density makes the noise "
        "larger than the signal",
)  # fmt: skip
def darex(
    *deltas: Delta,
    weight: Each(Number()) = 1,
    density: Each(DENSITY),
    q: Each(Number(0, low_open=True)),
    normalize: Boolean() = False,
    lambda_: Number() = 1,
    draw: Integer(0) = 0,
) -> Delta:
    """Drops as `dare` does, and divides what is left by `q` instead of the density.

    Written out: `darex(a, density: 0.1, q: 0.4, base: base)` is to rounding
    `base + drop(a - base, density: 0.1, rescale: none) / 0.4`.
    A `q` larger than the density, found on held-out data for the whole model or by layer, keeps
    most of the skill.
    """
    dropped = [
        drop(x, density=d, rescale="none", draw=draw) / by
        for x, d, by in zip(deltas, density, q, strict=True)
    ]
    return summed(dropped, weight, normalize, lambda_)


@operator(
    task_vectors=True, least=1,
    formula="(alpha + beta l / (L - 1)) sum(w_i d_i) in layer l of L",
    paper="LiNeS, arXiv 2410.17146",
    use="merges that forget what the base could: shallow layers hold what all tasks share",
)  # fmt: skip
def lines(
    *deltas: Delta, weight: Each(Number()) = 1, alpha: Number(0), beta: Number()
) -> Delta:  # fmt: skip
    """Task arithmetic whose factor grows linearly with depth: shallow layers stay near the base.

    Written out: `lines(a, alpha: 0.2, beta: 0.8, base: base)` is
    `base + curve(0.2, 1) * (a - base)`.
    Outside the layers the factor is `alpha`.
    """
    depth = deltas[0].context.depth
    return summed(deltas, weight, False, Fraction(alpha) + Fraction(beta) * depth)


def _dropped(
    deltas: Sequence[Value], density: Sequence[Amount], rescale: str, draw: int
) -> list[Value]:  # fmt: skip
    return [
        drop(x, density=d, rescale=rescale, draw=draw)
        for x, d in zip(deltas, density, strict=True)
    ]
