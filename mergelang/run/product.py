"""Products of low-rank factors, element by element of a block: the same bits on every machine.

No library's matrix product is: its sums run in an order, and with roundings, that hang on the CPU
and on the shape. Here each factor is cut into slices of so few bits that all sums of products of
two slices are exact in float64, in whatever order they are made; what is added up with rounding
are those few exact matrices, in a fixed order. (The slices are Ozaki's: Numerical Algorithms 59,
2012.) Two slices keep at least 40 bits below the largest entry of a row, more than float32 has.
"""

import math

import numpy as np
import torch

SLICES = {torch.float32: 2, torch.float64: 3}
"""How many slices an entry is cut into, by the dtype of the result."""


class Factor:
    """The `left` factor [n, r], whose slices are cut row by row when used, or the `right` one
    [r, n]. `turned`: it is stored the other way round."""

    def __init__(self, stored: torch.Tensor, side: str, turned: bool, dtype: torch.dtype):
        self._count = SLICES[dtype]
        matrix = stored.flatten(1)
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

    def _cut(self, matrix: torch.Tensor, along: int) -> list[torch.Tensor]:
        """Slices whose sum is the matrix, each a multiple of a power of two for each vector."""
        rest = matrix.to(torch.float64).numpy()
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


def fill(left: Factor, right: Factor, start: int, out: torch.Tensor) -> None:
    """The elements of `left @ right` (flattened) from `start` on, rounded to the dtype of `out`."""
    width, done = right.width, 0
    while done < len(out):
        row, column = divmod(start + done, width)
        if column or len(out) - done < width:
            rows, columns = 1, min(width - column, len(out) - done)
        else:
            rows, columns = (len(out) - done) // width, width
        piece = _piece(left.rows(row, row + rows), right.columns(column, column + columns))
        out[done : done + rows * columns].view(rows, columns).copy_(piece)
        done += rows * columns


def _piece(left: list[torch.Tensor], right: list[torch.Tensor]) -> torch.Tensor:
    """The product of two matrices in slices, the smallest products first."""
    total = None
    for order in reversed(range(len(left))):
        for index in range(order + 1):
            exact = left[index] @ right[order - index]
            total = exact if total is None else total.add_(exact)
    return total
