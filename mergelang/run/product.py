"""Products of low-rank factors, element by element of a block: the same bits on every machine.

No library's matrix product is: its sums run in an order, and with roundings, that depend on the CPU
and on the shape. Here each factor is cut into slices of so few bits that all sums of products of
two slices are exact in float64, in whatever order they are made; what is added up with rounding
are those few exact matrices, in a fixed order. (The slices are Ozaki's: Numerical Algorithms 59,
2012.) Two slices keep at least 40 bits below the largest entry of a row, more than float32 has.
"""

import math

import numpy as np
import torch

from mergelang.plan.cost import TILE

SLICES = {np.float32: 2, np.float64: 3}
"""How many slices an entry is cut into, by the dtype of the result."""

KEPT = 8
"""Tiles that a thread keeps, of as many products."""


class Factor:
    """The `left` factor [n, r], whose slices are cut row by row when used, or the `right` one
    [r, n]. `turned`: it is stored the other way round."""

    def __init__(self, stored: np.ndarray, side: str, turned: bool, dtype: type):
        self._count = SLICES[dtype]
        matrix = stored.reshape(len(stored), -1)
        self._matrix = matrix.T if turned else matrix
        rank, self.width = self._matrix.shape[:: -1 if side == "left" else 1]
        self._bits = (53 - math.ceil(math.log2(rank))) // 2
        self._slices = self._cut(self._matrix, 0) if side == "right" else None

    def rows(self, first: int, last: int) -> list[torch.Tensor]:
        """The slices of some rows."""
        return self._cut(self._matrix[first:last], 1)

    def columns(self, first: int, last: int) -> list[torch.Tensor]:
        """The slices of some columns."""
        return [each[:, first:last] for each in self._slices]

    def _cut(self, matrix: np.ndarray, along: int) -> list[torch.Tensor]:
        """Slices whose sum is the matrix, each a multiple of a power of two for each vector."""
        rest = matrix.astype(np.float64)
        _, exponents = np.frexp(np.abs(rest).max(axis=along, keepdims=True, initial=0))
        unit = np.ldexp(1.0, exponents - self._bits)
        found = []
        for _ in range(self._count):
            # Near this number the distance of two neighbours in float64 is one unit.
            near = unit * (1.5 * 2.0**52)
            part = (rest + near) - near
            rest = rest - part
            unit = unit * 2.0**-self._bits
            found.append(torch.from_numpy(part))
        return found


class Products:
    """The products of one thread, by tiles: blocks of a tensor mostly lie in the tile of the one
    before, and tiles are of a size that a matrix product is quick with."""

    def __init__(self) -> None:
        torch.set_num_threads(1)
        self._tiles: dict[int, tuple[Factor, int, np.ndarray]] = {}

    def fill(self, left: Factor, right: Factor, start: int, out: np.ndarray) -> None:
        """The elements of `left @ right` (flattened) from `start` on, as the dtype of `out`."""
        done = 0
        while done < len(out):
            at = start + done
            known = self._tiles.get(id(left))
            if known is None or known[0] is not left or not 0 <= at - known[1] < len(known[2]):
                if len(self._tiles) >= KEPT:
                    self._tiles.clear()
                known = self._tiles[id(left)] = left, *_tile(left, right, at, out.dtype.type)
            piece = known[2][at - known[1] :][: len(out) - done]
            out[done : done + len(piece)] = piece
            done += len(piece)


def _tile(
    left: Factor, right: Factor, at: int, dtype: type
) -> tuple[int, np.ndarray]:
    """The tile that element `at` lies in: its first element, and all of them, rounded once."""
    row, column = divmod(at, right.width)
    if right.width < TILE:
        rows = TILE // right.width
        row, column, columns = row // rows * rows, 0, right.width
    else:
        rows, column = 1, column // TILE * TILE
        columns = min(TILE, right.width - column)
    pieces = left.rows(row, row + rows), right.columns(column, column + columns)
    return row * right.width + column, product(*pieces).numpy().astype(dtype).ravel()


def product(left: list[torch.Tensor], right: list[torch.Tensor]) -> torch.Tensor:
    """The product of two matrices in slices, the smallest products first."""
    total = None
    for order in reversed(range(len(left))):
        for index in range(order + 1):
            exact = left[index] @ right[order - index]
            total = exact if total is None else total.add_(exact)
    return total
