"""What each operator gives, in plain numpy float64, written from the formulas of the papers.

One function an operator, under its name: the inputs as arrays, named inputs and options as
keywords, an option of each input as a list. A function that draws at random asks for `kept(input,
density, draw)`, the mask of an input. Shares no code with `mergelang.ops`.
"""

import math
from collections.abc import Callable

import numpy as np

Array = np.ndarray


def linear(*x: Array, weight: list[float], normalize: bool) -> Array:
    total = sum(w * each for w, each in zip(weight, x, strict=True))
    return total / sum(weight) if normalize else total


def mean(*x: Array) -> Array:
    return np.mean(x, axis=0)


def slerp(a: Array, b: Array, *, t: float) -> Array:
    lengths = np.sqrt((a * a).sum()) * np.sqrt((b * b).sum())
    cosine = (a * b).sum() / lengths if lengths else 1.0
    if abs(cosine) > 0.9995:
        return (1 - t) * a + t * b
    angle = math.acos(cosine)
    return (math.sin((1 - t) * angle) * a + math.sin(t * angle) * b) / math.sin(angle)


def task_arithmetic(*d: Array, weight: list[float]) -> Array:
    return sum(w * each for w, each in zip(weight, d, strict=True))


def trim(x: Array, *, density: float) -> Array:
    count = max(math.floor(density * x.size + 1e-9), 1) if density and x.size else 0
    flat = x.reshape(-1)
    first = np.argsort(-abs(flat), kind="stable")[:count]
    result = np.zeros_like(flat)
    result[first] = flat[first]
    return result.reshape(x.shape)


def drop(x: Array, *, density: float, rescale: str, draw: int, kept: Callable) -> Array:
    return _dropped(x, kept(0, density, draw), density, rescale)


def _dropped(x: Array, mask: Array, density: float, rescale: str) -> Array:
    left = np.where(mask, x, 0)
    if rescale == "inverse":
        return left / density
    if rescale == "l1" and abs(left).sum():
        return left * abs(x).sum() / abs(left).sum()
    return left


def elect(*x: Array, weight: list[float], normalize: bool) -> Array:
    parts = [w * each for w, each in zip(weight, x, strict=True)]
    elected = np.where(sum(parts) >= 0, 1, -1)
    agree = [np.sign(part) == elected for part in parts]
    merged = sum(np.where(mask, part, 0) for mask, part in zip(agree, parts, strict=True))
    weights = sum(np.where(mask, w, 0.0) for mask, w in zip(agree, weight, strict=True))
    return merged / np.where(weights == 0, 1, weights) if normalize else merged


def scale(x: Array, *, by: float) -> Array:
    return by * x


def ties(*d: Array, weight: list[float], density: list[float], normalize: bool) -> Array:
    trimmed = [trim(each, density=share) for each, share in zip(d, density, strict=True)]
    return elect(*trimmed, weight=weight, normalize=normalize)


def dare(
    *d: Array, weight: list[float], density: list[float], rescale: str, draw: int, kept: Callable
) -> Array:
    return task_arithmetic(*_all_dropped(d, density, rescale, draw, kept), weight=weight)


def dare_ties(
    *d: Array, weight: list[float], density: list[float], rescale: str, draw: int,
    normalize: bool, kept: Callable,
) -> Array:  # fmt: skip
    dropped = _all_dropped(d, density, rescale, draw, kept)
    return elect(*dropped, weight=weight, normalize=normalize)


def _all_dropped(
    d: tuple[Array, ...], density: list[float], rescale: str, draw: int, kept: Callable
) -> list[Array]:
    return [
        _dropped(each, kept(index, share, draw), share, rescale)
        for index, (each, share) in enumerate(zip(d, density, strict=True))
    ]
