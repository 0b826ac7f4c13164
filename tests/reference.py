"""What each operator gives, in plain numpy float64, written from the formulas of the papers.

One function an operator, under its name: the inputs as arrays, named inputs and options as
keywords, an option of each input as a list. A function that draws at random asks for `kept(input,
density, draw)`, the mask of an input, or for `uniform(input, draw)`, numbers in [0, 1); one that
looks at the layer for `depth`. Shares no code with `mergelang.ops`.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

Array = np.ndarray


def weighted(x: Sequence[Array], weight: Sequence[float]) -> Array:
    return sum(w * each for w, each in zip(weight, x, strict=True))


def linear(*x: Array, weight: list[float], normalize: bool) -> Array:
    return weighted(x, weight) / (sum(weight) if normalize else 1)


def mean(*x: Array) -> Array:
    return np.mean(x, axis=0)


def ema(*x: Array, decay: float) -> Array:
    average = x[0]
    for each in x[1:]:
        average = decay * average + (1 - decay) * each
    return average


def passthrough(x: Array, *, scale: float) -> Array:
    return scale * x


# On spheres


def unit(x: Array) -> Array:
    length = np.sqrt((x * x).sum())
    return x / length if length else x


def interpolated(a: Array, b: Array, t: float, straight: Callable[[float], bool]) -> Array:
    cosine = (unit(a) * unit(b)).sum()
    if straight(cosine):
        return (1 - t) * a + t * b
    angle = math.acos(cosine)
    return (math.sin((1 - t) * angle) * a + math.sin(t * angle) * b) / math.sin(angle)


def slerp(a: Array, b: Array, *, t: float) -> Array:
    return interpolated(a, b, t, lambda cosine: abs(cosine) > 0.9995)


def nuslerp(a: Array, b: Array, *, weight: list[float], flatten: bool, row_wise: bool) -> Array:
    t = weight[1] / sum(weight) if abs(sum(weight)) > 1e-6 else 0.5

    def between(x: Array, y: Array) -> Array:
        return interpolated(x, y, t, lambda cosine: 1 - cosine * cosine <= 1e-16)

    if flatten or a.ndim < 2 or not a.size:
        return between(a, b)
    axis = 0 if row_wise else -1
    x, y = (np.moveaxis(each, axis, -1) for each in (a, b))
    result = np.empty_like(x)
    for place in np.ndindex(x.shape[:-1]):
        result[place] = between(x[place], y[place])
    return np.moveaxis(result, -1, axis)


def multislerp(*x: Array, weight: list[float], normalize_weights: bool, eps: float) -> Array:
    if len(x) == 1:
        return x[0]
    w = np.array(weight) / (sum(weight) if normalize_weights else 1)
    lengths = np.sqrt([(each * each).sum() for each in x])
    direction = sum(by * each / (size + eps) for by, each, size in zip(w, x, lengths, strict=True))
    length = np.sqrt((direction * direction).sum())
    if length < eps:
        return weighted(x, w)
    return direction / length * sum(w * lengths) * math.cos(eps)


def karcher(*x: Array, max_iter: int, tol: float) -> Array:
    """Gradient descent on the sphere, in the space of the tensors themselves."""
    lengths = [np.sqrt((each * each).sum()) for each in x]
    points = [unit(each) for each, length in zip(x, lengths, strict=True) if length > tol]
    if len(x) == 1 or not points:
        return x[0] if len(x) == 1 else 0 * x[0]
    m = sum(points) / len(points)
    m = unit(m) if np.sqrt((m * m).sum()) >= tol else points[0]
    for _ in range(max_iter):
        step = 0 * m
        for u in points:
            cosine = min(1.0, max(-1.0, (m * u).sum()))
            angle = math.acos(cosine)
            if tol <= angle < math.pi - 1e-6:
                step = step + angle / math.sin(angle) * (u - cosine * m) / len(points)
        size = np.sqrt((step * step).sum())
        if size < tol:
            break
        m = unit(math.cos(size) * m + math.sin(size) * step / size)
    return m * np.mean(lengths)


# Task vectors


def summed(d: Sequence[Array], weight: list[float], normalize: bool, lambda_: float) -> Array:
    divisor = sum(weight) if normalize and abs(sum(weight)) > 1e-8 else 1
    return lambda_ * weighted(d, weight) / divisor


def task_arithmetic(
    *d: Array, weight: list[float], normalize: bool, lambda_: float
) -> Array:
    return summed(d, weight, normalize, lambda_)


def lines(*d: Array, weight: list[float], alpha: float, beta: float, depth: float) -> Array:
    return (alpha + beta * depth) * weighted(d, weight)


def count_of(share: float, size: int) -> int:
    return max(math.floor(share * size + 1e-9), 1) if share and size else 0


def l1(kept: Array, before: Array) -> Array:
    return kept * abs(before).sum() / abs(kept).sum() if abs(kept).sum() else kept


def trim(x: Array, *, density: float, gamma: float, rescale: str) -> Array:
    keep = count_of(density, x.size)
    out = 0 if density == 1 else min(math.floor(gamma * x.size + 1e-9), x.size - keep)
    flat = x.reshape(-1)
    chosen = np.argsort(-abs(flat), kind="stable")[out : out + keep]
    kept = np.zeros_like(flat)
    kept[chosen] = flat[chosen]
    kept = kept.reshape(x.shape)
    return l1(kept, x) if rescale == "l1" else kept


def drop(x: Array, *, density: float, rescale: str, draw: int, kept: Callable) -> Array:
    return dropped(x, kept(0, density, draw), density, rescale)


def dropped(x: Array, mask: Array, density: float, rescale: str) -> Array:
    left = np.where(mask, x, 0)
    if rescale == "inverse":
        return left / density
    return l1(left, x) if rescale == "l1" else left


def magprune(
    x: Array, *, density: float, epsilon: float, rescale: str, draw: int,
    uniform: Callable, kept: Callable, index: int = 0,
) -> Array:  # fmt: skip
    epsilon = min(epsilon, density, 1 - density)
    last = (x.shape[-1] if x.ndim else 1) - 1
    if density == 1:
        return x
    if epsilon < 1e-12 or last < 1:
        return dropped(x, kept(index, density, draw), density, rescale)
    ranks = np.empty_like(x)
    for place in np.ndindex(x.shape[:-1]):
        order = np.lexsort((-np.arange(last + 1), abs(x[place])))
        ranks[place][order] = np.arange(last + 1)
    probability = density - epsilon + 2 * epsilon * ranks / last
    left = np.where(uniform(index, draw) < probability, x, 0)
    if rescale == "inverse":
        return left / probability
    return l1(left, x) if rescale == "l1" else left


def agreement(parts: Sequence[Array]) -> list[Array]:
    elected = np.where(sum(parts) >= 0, 1, -1)
    return [np.sign(part) == elected for part in parts]


def elect(*x: Array, weight: list[float], normalize: bool) -> Array:
    parts = [w * each for w, each in zip(weight, x, strict=True)]
    agree = agreement(parts)
    merged = sum(np.where(mask, part, 0) for mask, part in zip(agree, parts, strict=True))
    weights = sum(np.where(mask, w, 0.0) for mask, w in zip(agree, weight, strict=True))
    return merged / np.where(weights == 0, 1, weights) if normalize else merged


def scale(x: Array, *, by: float) -> Array:
    return by * x


def ties(
    *d: Array, weight: list[float], density: list[float], normalize: bool, rescale: str,
    lambda_: float,
) -> Array:  # fmt: skip
    trimmed = [
        trim(each, density=share, gamma=0, rescale=rescale)
        for each, share in zip(d, density, strict=True)
    ]
    return lambda_ * elect(*trimmed, weight=weight, normalize=normalize)


def all_dropped(
    d: tuple[Array, ...], density: list[float], rescale: str, draw: int, kept: Callable
) -> list[Array]:
    return [
        dropped(each, kept(index, share, draw), share, rescale)
        for index, (each, share) in enumerate(zip(d, density, strict=True))
    ]


def dare(
    *d: Array, weight: list[float], density: list[float], rescale: str, normalize: bool,
    lambda_: float, draw: int, kept: Callable,
) -> Array:  # fmt: skip
    return summed(all_dropped(d, density, rescale, draw, kept), weight, normalize, lambda_)


def dare_ties(
    *d: Array, weight: list[float], density: list[float], rescale: str, normalize: bool,
    lambda_: float, draw: int, kept: Callable,
) -> Array:  # fmt: skip
    left = all_dropped(d, density, rescale, draw, kept)
    return lambda_ * elect(*left, weight=weight, normalize=normalize)


def darex(
    *d: Array, weight: list[float], density: list[float], q: list[float], normalize: bool,
    lambda_: float, draw: int, kept: Callable,
) -> Array:  # fmt: skip
    left = all_dropped(d, density, "none", draw, kept)
    return summed([x / by for x, by in zip(left, q, strict=True)], weight, normalize, lambda_)


def breadcrumbs(
    *d: Array, weight: list[float], density: list[float], gamma: list[float], normalize: bool,
    rescale: str, lambda_: float,
) -> Array:  # fmt: skip
    left = [
        trim(each, density=share, gamma=top, rescale=rescale)
        for each, share, top in zip(d, density, gamma, strict=True)
    ]
    return summed(left, weight, normalize, lambda_)


def breadcrumbs_ties(
    *d: Array, weight: list[float], density: list[float], gamma: list[float], normalize: bool,
    rescale: str, lambda_: float,
) -> Array:  # fmt: skip
    left = [
        trim(each, density=share, gamma=top, rescale=rescale)
        for each, share, top in zip(d, density, gamma, strict=True)
    ]
    return lambda_ * elect(*left, weight=weight, normalize=normalize)


def all_pruned(
    d: tuple[Array, ...], density: list[float], epsilon: list[float], **options: Any
) -> list[Array]:
    return [
        magprune(each, density=share, epsilon=window, index=index, **options)
        for index, (each, share, window) in enumerate(zip(d, density, epsilon, strict=True))
    ]


def della(
    *d: Array, weight: list[float], density: list[float], epsilon: list[float], normalize: bool,
    rescale: str, lambda_: float, draw: int, uniform: Callable, kept: Callable,
) -> Array:  # fmt: skip
    left = all_pruned(d, density, epsilon, rescale=rescale, draw=draw, uniform=uniform, kept=kept)
    return lambda_ * elect(*left, weight=weight, normalize=normalize)


def della_linear(
    *d: Array, weight: list[float], density: list[float], epsilon: list[float], normalize: bool,
    rescale: str, lambda_: float, draw: int, uniform: Callable, kept: Callable,
) -> Array:  # fmt: skip
    left = all_pruned(d, density, epsilon, rescale=rescale, draw=draw, uniform=uniform, kept=kept)
    return summed(left, weight, normalize, lambda_)


# Agreement


def ratio(a: Array, b: Array) -> Array:
    return np.divide(a, b, out=np.array(a, dtype=float), where=b != 0)


def sce(*d: Array, select_topk: float, epsilon: float, lambda_: float) -> Array:
    chosen = list(d)
    if select_topk < 1:
        variance = np.var(d, axis=0)
        count = math.floor(select_topk * np.count_nonzero(variance) + 1e-9)
        mask = np.zeros(variance.size, dtype=bool)
        mask[np.argsort(-variance.reshape(-1), kind="stable")[:count]] = True
        chosen = [np.where(mask.reshape(x.shape), x, 0) for x in d]
    energies = np.array([(x * x).sum() / max(1, x.size) for x in chosen])
    low = energies.sum() < epsilon if epsilon else energies.sum() == 0
    weights = np.full(len(d), 1 / len(d)) if low else energies / energies.sum()
    masks = agreement(chosen)
    merged = sum(w * np.where(m, x, 0) for w, m, x in zip(weights, masks, chosen, strict=True))
    share = sum(w * m for w, m in zip(weights, masks, strict=True))
    return lambda_ * (merged / np.maximum(share, epsilon) if epsilon else ratio(merged, share))


def ram(*d: Array, epsilon: float) -> Array:
    changed = [abs(x) > epsilon for x in d]
    return weighted(d, changed) / np.maximum(sum(m.astype(int) for m in changed), 1)


def ramplus_tl(*d: Array, r: float, alpha: float, epsilon: float) -> Array:
    changed = [abs(x) > epsilon for x in d]
    count = sum(m.astype(int) for m in changed)
    parts = []
    for mask, x in zip(changed, d, strict=True):
        shared, own = (mask & (count > 1)).sum(), (mask & (count == 1)).sum()
        factor = 1 + r * min(shared / max(own, epsilon), alpha)
        parts.append(mask * x * np.where(count == 1, factor, 1))
    return sum(parts) / np.maximum(count, 1)


def consensus(
    *d: Array, weight: list[float], threshold: list[float], k: int, lambda_: float
) -> Array:
    together = weighted(d, weight)
    masks = [abs(x) >= limit * abs(together - x) for x, limit in zip(d, threshold, strict=True)]
    return lambda_ * np.where(sum(m.astype(int) for m in masks) >= k, together, 0)


def pcb(*d: Array, weight: list[float], density: list[float], lambda_: float) -> Array:
    d = tuple(w * x for w, x in zip(weight, d, strict=True))
    if not d[0].size:
        return d[0]

    def softmax(x: Array, factor: float) -> Array:
        width = x.max() - x.min()
        powers = np.exp(factor * ((x - x.min()) / width if width else 0 * x))
        return powers / powers.sum()

    balanced = []
    for x, share in zip(d, density, strict=True):
        balance = softmax(x * x, len(d)) * sum(softmax(x * y, 1) for y in d)
        balanced.append(balance * (trim(balance, density=share, gamma=0, rescale="none") != 0))
    return lambda_ * ratio(sum(b * x for b, x in zip(balanced, d, strict=True)), sum(balanced))


# Towards and away from a base


def model_stock(*d: Array, filter_wise: bool, epsilon: float) -> Array:
    n = len(d)
    axis = -1 if filter_wise and d[0].ndim else None

    def dot(x: Array, y: Array) -> Array:
        return (x * y).sum(axis=axis, keepdims=True)

    cosines = []
    for i in range(n):
        for j in range(i):
            lengths = np.sqrt(dot(d[i], d[i]) * dot(d[j], d[j]))
            lengths = np.maximum(lengths, epsilon) if epsilon else lengths
            cosines.append(np.clip(ratio(dot(d[i], d[j]), lengths), -1, 1))
    cosine = np.mean(cosines, axis=0)
    t = np.where(abs(1 + (n - 1) * cosine) < 1e-6, 0, ratio(n * cosine, 1 + (n - 1) * cosine))
    return t * np.mean(d, axis=0)


def nearswap(x: Array, *, t: float) -> Array:
    return np.clip(x, -t, t)


def arcee_fusion(x: Array, *, base: Array) -> Array:
    if not x.size:
        return base

    def probabilities(y: Array) -> Array:
        powers = np.exp(y - y.max(axis=axis, keepdims=True))
        return powers / powers.sum(axis=axis, keepdims=True) + 1e-8

    axis = -1 if x.ndim else None
    p, q = probabilities(x), probabilities(base)
    importance = abs(x - base) * np.maximum((p * np.log(p / q)).sum(axis=axis, keepdims=True), 0)
    ordered = np.sort(importance.reshape(-1))
    first, middle, third = (ordered[int(q * (x.size - 1))] for q in (0.25, 0.5, 0.75))
    return np.where(importance >= middle + 1.5 * (third - first), x, base)


# Singular values


def tsv(*d: Array, weight: list[float], lambda_: float) -> Array:
    d = tuple(w * x for w, x in zip(weight, d, strict=True))
    if d[0].ndim != 2 or not d[0].size:
        return lambda_ * np.mean(d, axis=0)
    rank = min(d[0].shape)
    each = max(1, rank // len(d))
    parts = [np.linalg.svd(x, full_matrices=False) for x in d]
    u = np.hstack([u[:, :each] for u, _, _ in parts])[:, :rank]
    s = np.concatenate([s[:each] for _, s, _ in parts])[:rank]
    v = np.vstack([v[:each] for _, _, v in parts])[:rank]
    return lambda_ * orthogonal(u) @ np.diag(s) @ orthogonal(v)


def orthogonal(x: Array) -> Array:
    u, _, v = np.linalg.svd(x, full_matrices=False)
    return u @ v


def iso_c(*d: Array, weight: list[float], lambda_: float) -> Array:
    d = tuple(w * x for w, x in zip(weight, d, strict=True))
    if d[0].ndim != 2 or not d[0].size:
        return lambda_ * np.mean(d, axis=0)
    _, s, _ = np.linalg.svd(sum(d), full_matrices=False)
    return lambda_ * s.mean() * orthogonal(sum(d))


def iso_cts(*d: Array, weight: list[float], common: float, lambda_: float) -> Array:
    d = tuple(w * x for w, x in zip(weight, d, strict=True))
    if d[0].ndim != 2 or not d[0].size:
        return lambda_ * np.mean(d, axis=0)
    u, s, v = np.linalg.svd(sum(d), full_matrices=False)
    own = math.floor(len(s) * (1 - common) / len(d) + 1e-9)
    kept = len(s) - own * len(d)
    left, values, right = [u[:, :kept]], [s[:kept]], [v[:kept]]
    for x in d:
        p, t, q = np.linalg.svd(x - u[:, :kept] @ u[:, :kept].T @ x, full_matrices=False)
        left, values, right = [*left, p[:, :own]], [*values, t[:own]], [*right, q[:own]]
    u, v = orthogonal(np.hstack(left)), orthogonal(np.vstack(right))
    return lambda_ * np.concatenate(values).mean() * u @ v
