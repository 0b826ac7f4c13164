"""Arithmetic between numbers that reductions gave: floats, or one float64 for each row or column.

Rounded operations act on arrays as on floats; the transcendental ones go through `math`, one number
after the other, since those of numpy hang on the CPU.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

Numbers = float | np.ndarray


def compute(op: str, args: list[float]) -> float:
    """Arithmetic between scalars in float64. Division by zero gives 0 for 0/0, else infinity."""
    match op, args:
        case "add", [a, b]:
            return a + b
        case "sub", [a, b]:
            return a - b
        case "mul", [a, b]:
            return a * b
        case "div", [a, b]:
            return a / b if b else math.copysign(math.inf, a) if a else 0.0
        case "neg", [a]:
            return -a
        case "abs", [a]:
            return abs(a)
        case "sign", [a]:
            return float((a > 0) - (a < 0))
        case "sqrt", [a]:
            return math.sqrt(a) if a >= 0 else math.nan
        case "sin", [a]:
            return math.sin(a)
        case "cos", [a]:
            return math.cos(a)
        case "acos", [a]:
            return math.acos(min(1.0, max(-1.0, a)))
        case "exp", [a]:
            return math.exp(a)
        case "log", [a]:
            return math.log(a) if a > 0 else -math.inf
        case "min", [a, b]:
            return min(a, b)
        case "max", [a, b]:
            return max(a, b)
        case "lt", [a, b]:
            return float(a < b)
        case "le", [a, b]:
            return float(a <= b)
        case "eq", [a, b]:
            return float(a == b)
        case "and", [a, b]:
            return float(bool(a) and bool(b))
        case "or", [a, b]:
            return float(bool(a) or bool(b))
        case "not", [a]:
            return float(not a)
        case "where", [condition, a, b]:
            return a if condition else b
    raise AssertionError(f"no scalar operation {op}")


def compute_many(op: str, args: list[Numbers]) -> np.ndarray:
    """`compute` for each of the numbers in float64 arrays of one length; floats go with all."""
    if op in _ROUNDED:
        with np.errstate(all="ignore"):
            return np.asarray(_ROUNDED[op](*args), dtype=np.float64)
    arrays = np.broadcast_arrays(*args)
    return np.array([compute(op, list(each)) for each in zip(*map(np.ndarray.tolist, arrays),
                                                             strict=True)])  # fmt: skip


def _divided(a: Numbers, b: Numbers) -> np.ndarray:
    """As `compute` has it: 0 / 0 is 0, and what is divided by zero keeps its sign."""
    infinite = np.copysign(math.inf, a)
    return np.where(np.equal(b, 0), np.where(np.equal(a, 0), 0.0, infinite), np.divide(a, b))


_ROUNDED: dict[str, Callable[..., Any]] = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "div": _divided, "neg": np.negative,
    "abs": np.abs, "sqrt": np.sqrt, "lt": np.less, "le": np.less_equal, "eq": np.equal,
    "where": np.where, "not": np.logical_not, "and": np.logical_and, "or": np.logical_or,
    "sign": np.sign,
}  # fmt: skip
