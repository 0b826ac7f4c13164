"""Reductions and selections: what is gathered from the blocks of one pass, and joined at its end.

Sums run in float64 over a fixed partition: units of 16,384 elements, each halved again and again
down to 32 lanes, and all lanes of all units halved again at the end. So their bits depend neither
on block size nor on threads nor on the width of the CPU's vectors.
Selections (the k largest magnitudes) count exactly, over the bits of the magnitudes, in up to four
passes: upper bits, lower bits, and where a tie must be cut, the ties of each block.
"""

import math
from fractions import Fraction
from threading import Lock
from typing import Any

import numpy as np
import torch

from mergelang.ops.expr import COLUMNS, ROWS, Expr
from mergelang.plan.cost import matrix
from mergelang.run.kernel import kernel
from mergelang.run.machine import Choice, Machine

UNIT = 1 << 14
"""Elements of one unit of a sum. Blocks are whole multiples of it."""

LANES = 32
"""Partial sums that are kept of each unit until the pass has ended."""


SPAN = 1 << 21
"""Elements of a span, the piece of a pass that one thread takes at a time."""


def span_of(block: int) -> int:
    """The elements of a span: a whole number of blocks."""
    return SPAN // block * block or block


def halve(x: torch.Tensor, lanes: int = 1) -> torch.Tensor:
    """Sums along the last axis, a power of two, by halving it in place: [n, w] to [n, lanes]."""
    width = x.shape[-1]
    while width > lanes:
        width //= 2
        torch.add(x[..., :width], x[..., width : 2 * width], out=x[..., :width])
    return x[..., :lanes]


def _wide(expr: Expr, blocks: list[torch.Tensor], out: torch.Tensor) -> None:
    """What a `sum` or a `dot` adds up, in float64."""
    out.copy_(blocks[0])
    if expr.op == "dot":
        torch.mul(out, out if blocks[1] is blocks[0] else blocks[1].double(), out=out)


class Sum:
    """`sum` and `dot`: float64 partial sums of each unit, added up at the end.

    `unit` elements are added up together; a block is a whole number of units.
    """

    def __init__(self, expr: Expr, count: int, unit: int):
        self.expr = expr
        self.targets = expr.args
        self._unit = unit
        self._padded = max(LANES, 1 << (unit - 1).bit_length())
        self._units = torch.zeros(max(1, -(-count // unit)), LANES, dtype=torch.float64)

    def add(self, machine: Machine, blocks: list[torch.Tensor], start: int) -> None:
        count = len(blocks[0])
        units = -(-count // self._unit)
        padded = machine.doubles(units * self._padded)
        padded[count:].zero_()
        _wide(self.expr, blocks, padded[:count])
        sums = halve(padded.view(units, self._padded), LANES)
        first = start // self._unit
        self._units[first : first + units] = sums

    def end(self) -> bool:
        lanes = self._units.view(-1)
        padded = torch.zeros(1 << (len(lanes) - 1).bit_length(), dtype=torch.float64)
        padded[: len(lanes)] = lanes
        self.value = float(halve(padded))
        return True


class Rows:
    """`sum` and `dot` of each row, and what `rowwise` functions make of rows."""

    def __init__(self, expr: Expr, shape: tuple[int, ...]):
        self.expr = expr
        self.targets = expr.args
        rows, self._width = matrix(ROWS, shape)
        self._rows = torch.zeros(rows, dtype=torch.float64)

    def add(self, machine: Machine, blocks: list[torch.Tensor], start: int) -> None:
        if not len(blocks[0]):
            return
        matrices = [block.view(-1, self._width) for block in blocks]
        rows = len(matrices[0])
        if self.expr.op == "rowwise":
            sums = kernel(self.expr.attr)(*matrices)
        else:
            wide = 1 << (self._width - 1).bit_length()
            padded = machine.doubles(rows * wide).view(rows, wide)
            padded[:, self._width :].zero_()
            _wide(self.expr, matrices, padded[:, : self._width])
            sums = halve(padded)[:, 0]
        first = start // self._width
        self._rows[first : first + rows] = sums

    def end(self) -> bool:
        self.value = self._rows.numpy()
        return True


class Columns:
    """`sum` and `dot` of each column: of each span row by row, then of the spans in their order."""

    def __init__(self, expr: Expr, shape: tuple[int, ...], block: int):
        self.expr = expr
        self.targets = expr.args
        self._width = matrix(COLUMNS, shape)[1]
        self._span = span_of(block)
        spans = -(-math.prod(shape) // self._span)
        self._spans = torch.zeros(spans, self._width, dtype=torch.float64)

    def add(self, machine: Machine, blocks: list[torch.Tensor], start: int) -> None:
        if not len(blocks[0]):
            return
        matrices = [block.view(-1, self._width) for block in blocks]
        rows = len(matrices[0])
        tall = 1 << (rows - 1).bit_length()
        padded = machine.doubles(tall * self._width).view(tall, self._width)
        padded[rows:].zero_()
        _wide(self.expr, matrices, padded[:rows])
        self._spans[start // self._span] += halve(padded.T)[:, 0]

    def end(self) -> bool:
        total = torch.zeros(self._width, dtype=torch.float64)
        for each in self._spans:
            total += each
        self.value = total.numpy()
        return True


class Largest:
    """`largest` and `greatest`: the largest magnitude, the greatest element; 0 where is none."""

    def __init__(self, expr: Expr):
        self.expr = expr
        self.targets = expr.args
        self._found: list[float] = []

    def add(self, machine: Machine, blocks: list[torch.Tensor], start: int) -> None:
        if len(blocks[0]):
            block = blocks[0].abs() if self.expr.op == "largest" else blocks[0]
            self._found.append(float(block.max()))

    def end(self) -> bool:
        self.value = max(self._found, default=0.0)
        return True


class Count:
    """`count`: how many elements of a mask hold."""

    def __init__(self, expr: Expr):
        self.expr = expr
        self.targets = expr.args
        self._found: list[int] = []

    def add(self, machine: Machine, blocks: list[torch.Tensor], start: int) -> None:
        self._found.append(int(torch.count_nonzero(blocks[0])))

    def end(self) -> bool:
        self.value = float(sum(self._found))
        return True


class Top:
    """`top`: the threshold above which the k largest magnitudes lie, ties cut by position.

    `kth` is the threshold alone. Where k is a fraction, it is that of the elements that are not 0.
    """

    def __init__(self, expr: Expr, count: int, wide: bool, block: int):
        self.expr = expr
        self.targets = expr.args
        self._k = expr.attr
        self._nonzero = 0
        self._bits = 63 if wide else 31
        self._known = 0  # upper bits of the threshold found so far
        self._left = self._bits
        self._above = 0  # elements whose upper bits are above the known ones
        self._lock = Lock()
        self._block = block
        self._ties = np.zeros(-(-count // block), dtype=np.int64)
        self._begin()

    def _begin(self) -> None:
        self._step = min(16, self._left)
        self._histogram = np.zeros(1 << self._step, dtype=np.int64)

    def add(self, machine: Machine, blocks: list[torch.Tensor], start: int) -> None:
        if self._bits == 63:
            bits = blocks[0].view(torch.int64) & (2**63 - 1)
        else:
            bits = blocks[0].view(torch.int32) & (2**31 - 1)
        if isinstance(self._k, Fraction):
            found = int(torch.count_nonzero(bits))
            with self._lock:
                self._nonzero += found
        if self._left == 0:
            self._ties[start // self._block] = int(torch.count_nonzero(bits == self._known))
            return
        if self._left < self._bits:
            bits = bits[bits >> self._left == self._known] & ((1 << self._left) - 1)
        digits = bits >> (self._left - self._step)
        counted = torch.bincount(digits, minlength=1 << self._step).numpy()
        with self._lock:
            self._histogram += counted

    def end(self) -> bool:
        if isinstance(self._k, Fraction):
            self._k = int(self._k * self._nonzero)
        if self._k == 0:
            self.value: Any = Choice(math.inf, 0, 0)
            return True
        if self._left:
            above = self._above + np.cumsum(self._histogram[::-1])
            place = int(np.searchsorted(above, self._k))
            digit = len(self._histogram) - 1 - place
            self._above = int(above[place] - self._histogram[digit])
            self._known = (self._known << self._step) | digit
            self._left -= self._step
            if self._left:
                self._begin()
                return False
            if self.expr.op == "kth":
                self.value = self._threshold()
                return True
            if self._k == self._above + self._histogram[digit]:
                self.value = Choice(self._threshold(), np.iinfo(np.int64).max, 0)
                return True
            return False
        before = np.cumsum(self._ties)
        wanted = self._k - self._above
        block = int(np.searchsorted(before, wanted))
        quota = wanted - int(before[block] - self._ties[block])
        self.value = Choice(self._threshold(), block * self._block, quota)
        return True

    def _threshold(self) -> float:
        if self._bits == 63:
            return float(np.array(self._known, dtype=np.int64).view(np.float64))
        return float(np.array(self._known, dtype=np.int32).view(np.float32))


def reducer(
    expr: Expr, shape: tuple[int, ...], wide: bool, block: int, unit: int
) -> Sum | Rows | Columns | Largest | Count | Top:
    """The object that gathers this reduction over a tensor of this shape."""
    count = math.prod(shape)
    if expr.kind == ROWS:
        return Rows(expr, shape)
    if expr.kind == COLUMNS:
        return Columns(expr, shape, block)
    if expr.op in ("top", "kth"):
        return Top(expr, count, wide, block)
    if expr.op in ("largest", "greatest"):
        return Largest(expr)
    if expr.op == "count":
        return Count(expr)
    return Sum(expr, count, unit)
