"""Stored arrays as values, and what an expression of them comes to, for tests of evaluation."""

from pathlib import Path

import numpy as np
import torch

from mergelang.ops import expr as e
from mergelang.run.evaluate import as_array, evaluate
from mergelang.run.reference import TORCH
from mergelang.tensors import TensorType

Shape = int | tuple[int, ...]


def stored(folder: Path, name: str, data: np.ndarray) -> e.Value:
    """An array of float32 or float64 in a file, as a value."""
    path = folder / name
    path.write_bytes(data.tobytes())
    kind = TensorType({4: "F32", 8: "F64"}[data.itemsize], data.shape)
    return e.load(e.Extent(str(path), 0, kind), name.encode(), e.Context(7, "w", kind))


def value_of(x: e.Value, block: int = 1 << 16, threads: int = 1, **options: bool) -> np.ndarray:
    kind = x.context.type
    return as_array(evaluate(x.expr, kind, block=block, threads=threads, **options), kind)


def pair(
    folder: Path, shape: Shape, dtype: type = np.float32
) -> tuple[e.Value, e.Value, np.ndarray, np.ndarray]:
    """Two values of normal numbers, and the same numbers as arrays."""
    rng = np.random.default_rng(3)
    a, b = (rng.standard_normal(shape).astype(dtype) for _ in range(2))
    return stored(folder, "a", a), stored(folder, "b", b), a, b


def between(folder: Path, dtype: str) -> tuple[e.Value, bytes]:
    """Float64 half way between any two neighbours of a dtype of 16 bits, and next to there on both
    sides; and the bytes that they round to."""
    kind = TORCH[dtype]
    bits = torch.arange(int(torch.tensor(torch.inf, dtype=kind).view(torch.int16)))
    low = bits.to(torch.int16).view(kind).double().numpy()
    high = np.append(low[1:], 2 * low[-1] - low[-2])  # what would come next is infinity
    middle = (low + high) / 2
    numbers = np.stack([np.nextafter(middle, low), middle, np.nextafter(middle, high)])
    rounded = torch.stack([bits, bits + bits % 2, bits + 1]).to(torch.int16).view(kind)
    truth = torch.cat([rounded, -rounded]).ravel().view(torch.uint8).numpy()
    return stored(folder, "between", np.concatenate([numbers, -numbers]).ravel()), bytes(truth)
