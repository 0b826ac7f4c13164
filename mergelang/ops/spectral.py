"""Methods on the singular values of task vectors: `tsv`, `iso_c`, `iso_cts`.

They need whole matrices. What is no matrix (biases, norms, convolutions) gets the mean of the task
vectors. The kernels run on one thread; their bytes are those of one build of torch on one kind of
CPU.
"""

from collections.abc import Sequence
from typing import Any

from mergelang.ops.expr import Number as Amount
from mergelang.ops.expr import Value, exact, whole
from mergelang.ops.registry import operator
from mergelang.ops.signature import Delta, Each, Number
from mergelang.ops.sums import times, weighted, weighted_mean

ROOM = {"iso_c": 9, "tsv": 15, "iso_cts": 19}
"""Tensors beside its inputs that each kernel takes at most, as measured on square matrices."""

KERNELS = "mergelang.ops.kernels.spectral"


@operator(
    task_vectors=True, least=1,
    formula="lambda U S V', the singular vectors of all tasks, cut to an nth each, made orthogonal",
    paper="Task Singular Vectors (TSV-M), arXiv 2412.00081",
    use="many tasks, when time does not matter: every matrix of every task is decomposed",
)  # fmt: skip
def tsv(*deltas: Delta, weight: Each(Number()) = 1, lambda_: Number() = 1) -> Delta:
    """Keeps the strongest singular vectors of each task and makes those of all tasks orthogonal.

    Of n tasks each keeps an nth of its singular values; the left and the right vectors of all are
    replaced by the nearest orthogonal ones, so that tasks do not interfere.
    """
    return _matrices("tsv", deltas, weight, lambda_)


@operator(
    task_vectors=True, least=1,
    formula="lambda mean(s) U V', where U diag(s) V' = sum(w_i d_i)",
    paper="No Task Left Behind (Iso-C), arXiv 2502.04959",
    use="many tasks of which a few outweigh the others in the plain sum",
)  # fmt: skip
def iso_c(*deltas: Delta, weight: Each(Number()) = 1, lambda_: Number() = 1) -> Delta:
    """Adds up task vectors and makes all singular values of the sum equal.

    Directions that few tasks share then count as much as those that all do. `lambda` is found on
    held-out data; the paper's are between 1 and 2.
    """
    return _matrices("iso_c", deltas, weight, lambda_)


@operator(
    task_vectors=True, least=1,
    formula="as iso_c, with the weakest directions of the sum replaced by those of single tasks",
    paper="No Task Left Behind (Iso-CTS), arXiv 2502.04959",
    use="as `iso_c`, for tasks that have little in common",
)  # fmt: skip
def iso_cts(
    *deltas: Delta, weight: Each(Number()) = 1, common: Number(0, 1) = 0.8, lambda_: Number() = 1
) -> Delta:  # fmt: skip
    """As `iso_c`, with room for what single tasks have outside the directions of all.

    A share `common` of the directions is that of the sum; the rest are, in equal numbers, the
    strongest ones of what each task has outside of those, made orthogonal to all others.
    """
    rank = min(deltas[0].context.type.shape, default=0)
    own = int(rank * (1 - exact(common)) / len(deltas))
    return _matrices("iso_cts", deltas, weight, lambda_, own=own)


def _matrices(
    kernel: str, deltas: Sequence[Value], weight: Sequence[Amount], factor: Amount, **options: Any
) -> Value:
    parts = weighted(deltas, weight)
    shape = deltas[0].context.type.shape
    if len(shape) == 2 and all(shape):
        result = whole(f"{KERNELS}:{kernel}", *parts, room=ROOM[kernel], **options)
    else:
        result = weighted_mean(parts, [1] * len(parts))
    return times(result, factor)
