"""Arithmetic between numbers that reductions gave: floats, or one float64 for each row or column.

Rounded operations act on arrays as on floats; the transcendental ones go through `math`, one number
after the other, since those of numpy depend on the CPU.
"""

import math
import operator
from collections.abc import Callable
from typing import Any

import numpy as np

Numbers = float | np.ndarray


def compute(op: str, args: list[float]) -> float:
    """Arithmetic between scalars in float64. Division by zero gives 0 for 0/0, else infinity."""
    return _SCALAR[op](*args)


_SCALAR: dict[str, Callable[..., float]] = {
    "add": operator.add, "sub": operator.sub, "mul": operator.mul, "neg": operator.neg,
    "div": lambda a, b: a / b if b else math.copysign(math.inf, a) if a else 0.0,
    "abs": abs,
    "sign": lambda a: float((a > 0) - (a < 0)),
    "sqrt": lambda a: math.sqrt(a) if a >= 0 else math.nan,
    "sin": math.sin, "cos": math.cos,
    "acos": lambda a: math.acos(min(1.0, max(-1.0, a))),
    "exp": math.exp,
    "log": lambda a: math.log(a) if a > 0 else -math.inf,
    "lt": lambda a, b: float(a < b),
    "le": lambda a, b: float(a <= b),
    "eq": lambda a, b: float(a == b),
    "and": lambda a, b: float(bool(a) and bool(b)),
    "or": lambda a, b: float(bool(a) or bool(b)),
    "not": lambda a: float(not a),
    "where": lambda condition, a, b: a if condition else b,
}  # fmt: skip


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
