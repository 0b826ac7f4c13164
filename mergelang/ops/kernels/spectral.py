"""Singular value decompositions for `tsv`, `iso_c` and `iso_cts`, written from their papers.

Each function takes the task vectors of one matrix, [m, n] in float32 or float64, and returns the
merged one, of the same shape and dtype.
"""

import torch


def tsv(*deltas: torch.Tensor) -> torch.Tensor:
    """Of each task an nth of its singular vectors, one at least; of all the nearest orthogonal."""
    rank = min(deltas[0].shape)
    each = max(1, rank // len(deltas))
    left, values, right = [], [], []
    for delta in deltas:
        u, s, v = _first(_svd(delta), each)
        left.append(u)
        values.append(s)
        right.append(v)
    u, s, v = torch.cat(left, dim=1)[:, :rank], torch.cat(values)[:rank], torch.cat(right)[:rank]
    left.clear(), right.clear()
    return _orthogonal(u) * s @ _orthogonal(v)


def iso_c(*deltas: torch.Tensor) -> torch.Tensor:
    """All singular values of the sum become their mean."""
    u, s, v = _svd(_total(deltas))
    return s.mean() * (u @ v)


def iso_cts(*deltas: torch.Tensor, own: int) -> torch.Tensor:
    """The strongest directions of the sum, then `own` of each task outside of them."""
    u, s, v = _svd(_total(deltas))
    kept = len(s) - own * len(deltas)
    left, values, right = [u[:, :kept]], [s[:kept]], [v[:kept]]
    for delta in deltas if own else ():
        outside = delta - left[0] @ (left[0].T @ delta)
        p, t, q = _first(_svd(outside), own)
        left.append(p)
        values.append(t)
        right.append(q)
    u, s, v = torch.cat(left, dim=1), torch.cat(values), torch.cat(right)
    left.clear(), right.clear()
    return s.mean() * (_orthogonal(u) @ _orthogonal(v))


def _first(
    parts: tuple[torch.Tensor, torch.Tensor, torch.Tensor], count: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The first vectors and values of a decomposition, which hold no more than themselves."""
    u, s, v = parts
    return u[:, :count].clone(), s[:count].clone(), v[:count].clone()


def _total(deltas: tuple[torch.Tensor, ...]) -> torch.Tensor:
    total = deltas[0].clone()
    for delta in deltas[1:]:
        total += delta
    return total


def _orthogonal(x: torch.Tensor) -> torch.Tensor:
    """The nearest matrix with orthogonal columns (or rows): U V' of its decomposition."""
    u, _, v = _svd(x)
    return u @ v


def _svd(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """U [m, r], S [r] and V' [r, n]; of NaN where x is not finite, which LAPACK refuses.

    LAPACK's quick way (gesdd) now and then fails on a matrix whose singular values are nearly
    equal. The same numbers turned round are another matrix to it.
    """
    if x.isfinite().all():
        try:
            return torch.linalg.svd(x, full_matrices=False)
        except torch.linalg.LinAlgError:
            v, s, u = torch.linalg.svd(x.T, full_matrices=False)
            return u.T, s, v.T
    rank = min(x.shape)
    shapes = (x.shape[0], rank), (rank,), (rank, x.shape[1])
    u, s, v = (x.new_full(shape, torch.nan) for shape in shapes)
    return u, s, v
