"""What a pass keeps of one block for a reduction: partial sums in a fixed partition, by numpy.

`run/device/partial.py` has the same functions for blocks on a device, with the same bits. Of each
the first argument is the machine whose scratch they use; `op` is `sum` or `dot`, which of one or
two blocks is added up, in float64.
"""

from typing import Any

import numpy as np

from mergelang.run.kernel import by_torch

ROW = 1 << 10
"""Elements of a unit that are added to each other at a time."""

LANES = 32
"""Partial sums that are kept of each unit until the pass has ended."""


def halve(x: np.ndarray, left: int = 1) -> np.ndarray:
    """Sums along the last axis, a power of two, by halving it in place until so many are `left`."""
    width = x.shape[-1]
    while width > left:
        width //= 2
        np.add(x[..., :width], x[..., width : 2 * width], out=x[..., :width])
    return x[..., :left]


def of_units(
    machine: Any, op: str, blocks: list[np.ndarray], unit: int, padded: int
) -> np.ndarray:
    """The lanes [units, LANES] of units of so many elements, which are `padded` with zeros."""
    count = len(blocks[0])
    units = -(-count // unit)
    scratch = machine.doubles(units * padded)
    scratch[count:] = 0
    _products(op, blocks, scratch[:count])
    sums = np.add.reduce(scratch.reshape(units, -1, min(ROW, padded)), axis=1)
    return np.add.reduce(sums.reshape(units, -1, LANES), axis=1)


def of_rows(machine: Any, op: str, blocks: list[np.ndarray], width: int) -> np.ndarray:
    """The sum of each row."""
    matrices = [block.reshape(-1, width) for block in blocks]
    rows, wide = len(matrices[0]), 1 << (width - 1).bit_length()
    padded = machine.doubles(rows * wide).reshape(rows, wide)
    padded[:, width:] = 0
    _products(op, matrices, padded[:, :width])
    return halve(padded)[:, 0]


def of_columns(
    machine: Any, op: str, blocks: list[np.ndarray], width: int, unit: int, span: int
) -> np.ndarray:
    """The sums [spans, width] of the columns of each span; a span is of units, each of which is
    added up row by row. Here a block is one unit."""
    matrices = [block.reshape(-1, width) for block in blocks]
    products = machine.doubles(matrices[0].size).reshape(-1, width)
    _products(op, matrices, products)
    return np.add.reduce(products, axis=0)[None]


def by_rows(
    machine: Any, function: str, blocks: list[np.ndarray], width: int, unit: int
) -> np.ndarray:
    """What a `rowwise` function makes of each row. Here a block is one unit."""
    return by_torch(function, [block.reshape(-1, width) for block in blocks])


def largest(op: str, block: np.ndarray) -> float:
    """The largest magnitude, or for `greatest` the greatest element."""
    return float((np.abs(block) if op == "largest" else block).max())


def count(mask: np.ndarray) -> int:
    """How many elements of a mask hold."""
    return int(np.count_nonzero(mask))


def digits(machine: Any, block: np.ndarray, known: int, left: int, step: int) -> np.ndarray:
    """How often each digit of `step` bits follows the known bits of magnitudes, of which so many
    are `left`; first, how many lie above those."""
    bits = machine.magnitudes(block)
    upper = bits >> left
    found = bits[upper == known] >> (left - step) & ((1 << step) - 1)
    counts = np.bincount(found, minlength=1 << step)
    return np.concatenate(([np.count_nonzero(upper > known)], counts))


def _products(op: str, blocks: list[np.ndarray], out: np.ndarray) -> None:
    """What a `sum` or a `dot` adds up, in float64."""
    if op == "dot":
        np.multiply(*blocks, out=out, dtype=np.float64)
    else:
        out[...] = blocks[0]
