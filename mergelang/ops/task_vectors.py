"""Methods on task vectors: the differences between fine-tunes and their base.

Each takes models with `base:`, or task vectors without it. The bodies see task vectors; with a base
the result is the base plus what the body returns.
"""

from mergelang.ops.deltas import DENSITY, drop, elect, trim
from mergelang.ops.expr import Value, weighted_sum
from mergelang.ops.registry import operator
from mergelang.ops.signature import Boolean, Choice, Delta, Each, Integer, Number

RESCALE = Choice("inverse", "l1", "none")


@operator(
    task_vectors=True, least=1, formula="sum(w_i d_i)",
    paper="Editing models with task arithmetic, arXiv 2212.04089",
)  # fmt: skip
def task_arithmetic(*deltas: Delta, weight: Each(Number()) = 1) -> Delta:
    """The weighted sum of task vectors.

    Written out: `task_arithmetic(a { weight: 0.5 }, b { weight: 0.8 }, base: base)` is
    `base + 0.5 * (a - base) + 0.8 * (b - base)`.
    """
    return weighted_sum(deltas, weight)


@operator(
    task_vectors=True, least=1,
    formula="elect(trim(d_1), ..., trim(d_n))",
    paper="TIES-Merging, arXiv 2306.01708",
)  # fmt: skip
def ties(
    *deltas: Delta,
    weight: Each(Number()) = 1,
    density: Each(Number(0, 1, low_open=True)) = 0.2,
    normalize: Boolean() = True,
) -> Delta:
    """Trims each task vector to its largest elements, elects a sign, merges what agrees.

    Written out: `ties(a { weight: 0.7 }, b, density: 0.3, base: base)` is
    `base + elect(trim(a - base, density: 0.3) { weight: 0.7 }, trim(b - base, density: 0.3))`.
    The paper keeps a fifth of the elements, which is the default.
    """
    trimmed = [trim(x, density=d) for x, d in zip(deltas, density, strict=True)]
    return elect(*trimmed, weight=weight, normalize=normalize)


@operator(
    task_vectors=True, least=1,
    formula="sum(w_i drop(d_i))",
    paper="Language Models are Super Mario, arXiv 2311.03099",
)  # fmt: skip
def dare(
    *deltas: Delta,
    weight: Each(Number()) = 1,
    density: Each(DENSITY),
    rescale: RESCALE = "inverse",
    draw: Integer(0) = 0,
) -> Delta:
    """Drops most of each task vector at random, rescales the rest, adds them up.

    Written out: `dare(a { weight: 0.7 }, b { density: 0.2 }, density: 0.5, base: base)` is
    `base + 0.7 * drop(a - base, density: 0.5) + drop(b - base, density: 0.2)`.
    """
    return weighted_sum(_dropped(deltas, density, rescale, draw), weight)


@operator(
    task_vectors=True, least=1,
    formula="elect(drop(d_1), ..., drop(d_n))",
    paper="Language Models are Super Mario, arXiv 2311.03099; TIES-Merging, arXiv 2306.01708",
)  # fmt: skip
def dare_ties(
    *deltas: Delta,
    weight: Each(Number()) = 1,
    density: Each(DENSITY),
    rescale: RESCALE = "inverse",
    draw: Integer(0) = 0,
    normalize: Boolean() = False,
) -> Delta:
    """Drops at random as `dare` does, then elects a sign and merges what agrees, as `ties` does.

    Written out: `dare_ties(a, b { weight: 0.7 }, density: 0.5, base: base)` is `base +
    elect(drop(a - base, density: 0.5), drop(b - base, density: 0.5) { weight: 0.7 },
    normalize: false)`.
    As in mergekit what agrees is summed unless `normalize: true` asks for the mean.
    """
    dropped = _dropped(deltas, density, rescale, draw)
    return elect(*dropped, weight=weight, normalize=normalize)


def _dropped(
    deltas: tuple[Value, ...], density: tuple, rescale: str, draw: int
) -> list[Value]:  # fmt: skip
    return [
        drop(x, density=d, rescale=rescale, draw=draw)
        for x, d in zip(deltas, density, strict=True)
    ]
