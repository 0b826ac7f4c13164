"""What the four methods of `cases.HALF` mean, in float64, with the settings of those configs.

Each takes the tensors of base, a and b and gives the merged tensor and where it is certain: not
where a selection falls among equals.
"""

from collections.abc import Callable

import numpy as np

Tensor = np.ndarray
Truth = tuple[Tensor, Tensor]


def linear(base: Tensor, a: Tensor, b: Tensor) -> Truth:
    return (0.3 * a + 0.8 * b) / 1.1, np.full(a.shape, True)


def task_arithmetic(base: Tensor, a: Tensor, b: Tensor) -> Truth:
    return base + 0.4 * (a - base) + 0.7 * (b - base), np.full(a.shape, True)


def slerp(base: Tensor, a: Tensor, b: Tensor, t: float = 0.3) -> Truth:
    cosine = (base * a).sum() / np.sqrt((base * base).sum() * (a * a).sum())
    if abs(cosine) > 0.9995:
        return (1 - t) * base + t * a, np.full(a.shape, True)
    angle = np.arccos(cosine)
    result = (np.sin((1 - t) * angle) * base + np.sin(t * angle) * a) / np.sin(angle)
    return result, np.full(a.shape, True)


def ties(base: Tensor, a: Tensor, b: Tensor, density: float = 0.3) -> Truth:
    """TIES-Merging, arXiv 2306.01708, with weights 0.7 and 0.4."""
    certain, weighted = np.full(a.shape, True), []
    for tuned, weight in ((a, 0.7), (b, 0.4)):
        delta = tuned - base
        magnitude = np.abs(delta)
        threshold = np.sort(magnitude.ravel())[-max(1, int(density * magnitude.size))]
        certain &= magnitude != threshold
        weighted.append(np.where(magnitude >= threshold, weight * delta, 0))
    sign = np.where(sum(weighted) >= 0, 1, -1)
    agree = [np.sign(each) == sign for each in weighted]
    total = sum(np.where(mask, each, 0) for mask, each in zip(agree, weighted, strict=True))
    weights = 0.7 * agree[0] + 0.4 * agree[1]
    return base + total / np.where(weights == 0, 1, weights), certain


def fusion_is_close(base: Tensor, tuned: Tensor) -> Tensor:
    """Where the importance of arcee_fusion is within a hundredth of its threshold."""
    p, q = (_softmax(each) + 1e-8 for each in (tuned, base))
    importance = np.abs(tuned - base) * (p * np.log(p / q)).sum(-1, keepdims=True)
    ordered = np.sort(importance.ravel())
    first, median, third = (ordered[int(q * (ordered.size - 1))] for q in (0.25, 0.5, 0.75))
    threshold = median + 1.5 * (third - first)
    return np.abs(importance - threshold) <= 0.01 * threshold


def _softmax(values: Tensor) -> Tensor:
    powers = np.exp(values - values.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


TRUTHS: dict[str, Callable[[Tensor, Tensor, Tensor], Truth]] = {
    "linear": linear, "task_arithmetic": task_arithmetic, "slerp": slerp, "ties": ties,
}  # fmt: skip
