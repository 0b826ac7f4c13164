"""Reductions: what is gathered from the blocks of one pass, and joined at its end.

Sums run in float64 over a fixed partition: units of 16,384 elements, each added up row by row of
1,024, those down to 32 lanes, and all lanes of all units halved again and again at the end. So
their bits depend neither on block size nor on threads nor on the width of the CPU's vectors: numpy
adds whole rows to each other along an outer axis, in their order.
"""

import math
from operator import add

import numpy as np

from mergelang.ops.expr import COLUMNS, ROWS, Expr
from mergelang.plan.cost import matrix
from mergelang.run.machine import Machine
from mergelang.run.partial import LANES, halve
from mergelang.run.select import Top

UNIT = 1 << 14
"""Elements of one unit of a sum. Blocks are whole multiples of it."""

SPAN = 1 << 21
"""Elements of a span, the piece of a pass that one thread takes at a time."""


def span_of(block: int) -> int:
    """The elements of a span: a whole number of blocks."""
    return SPAN // block * block or block


class Sum:
    """`sum` and `dot`: float64 partial sums of each unit, added up at the end.

    `unit` elements are added up together; a block is a whole number of units.
    """

    def __init__(self, expr: Expr, count: int, unit: int):
        self.expr = expr
        self.targets = expr.args
        self._unit = unit
        self._padded = max(LANES, 1 << (unit - 1).bit_length())
        units = max(1, -(-count // unit))
        # To a power of two, for the halving; of what no unit fills no memory is taken.
        self._units = np.zeros((1 << (units - 1).bit_length(), LANES))

    def add(self, machine: Machine, blocks: list[np.ndarray], start: int) -> None:
        sums = machine.partial.of_units(machine, self.expr.op, blocks, self._unit, self._padded)
        first = start // self._unit
        self._units[first : first + len(sums)] = sums

    def lanes(self, unit: int) -> int:
        """The address of the partial sums of a unit, and those of the units after it."""
        return self._units.ctypes.data + unit * LANES * 8

    def end(self) -> bool:
        left = halve(self._units.reshape(-1), LANES).tolist()
        while len(left) > 1:  # of few numbers plain ones are quicker
            half = len(left) // 2
            left = list(map(add, left[:half], left[half:]))
        self.value = left[0]
        return True


class Rows:
    """`sum` and `dot` of each row, and what `rowwise` functions make of rows."""

    def __init__(self, expr: Expr, shape: tuple[int, ...], unit: int):
        self.expr = expr
        self.targets = expr.args
        self._unit = unit
        rows, self._width = matrix(ROWS, shape)
        self.value = np.zeros(rows)

    def add(self, machine: Machine, blocks: list[np.ndarray], start: int) -> None:
        if not len(blocks[0]):
            return
        partial, op = machine.partial, self.expr.op
        if op == "rowwise":
            sums = partial.by_rows(machine, self.expr.attr, blocks, self._width, self._unit)
        else:
            sums = partial.of_rows(machine, op, blocks, self._width)
        first = start // self._width
        self.value[first : first + len(sums)] = sums

    def end(self) -> bool:
        return True


class Columns:
    """`sum` and `dot` of each column: of each span row by row, then of the spans in their order."""

    def __init__(self, expr: Expr, shape: tuple[int, ...], unit: int):
        self.expr = expr
        self.targets = expr.args
        self._width = matrix(COLUMNS, shape)[1]
        self._unit, self._span = unit, span_of(unit)
        spans = -(-math.prod(shape) // self._span)
        self._spans = np.zeros((spans, self._width))

    def add(self, machine: Machine, blocks: list[np.ndarray], start: int) -> None:
        if not len(blocks[0]):
            return
        sums = machine.partial.of_columns(
            machine, self.expr.op, blocks, self._width, self._unit, self._span
        )
        first = start // self._span
        self._spans[first : first + len(sums)] += sums

    def end(self) -> bool:
        self.value = np.add.reduce(self._spans, axis=0)
        return True


class Largest:
    """`largest` and `greatest`: the largest magnitude, the greatest element; 0 where is none."""

    def __init__(self, expr: Expr):
        self.expr = expr
        self.targets = expr.args
        self._found: list[float] = []

    def add(self, machine: Machine, blocks: list[np.ndarray], start: int) -> None:
        if len(blocks[0]):
            self._found.append(machine.partial.largest(self.expr.op, blocks[0]))

    def end(self) -> bool:
        self.value = max(self._found, default=0.0)
        return True


class Count:
    """`count`: how many elements of a mask hold."""

    def __init__(self, expr: Expr):
        self.expr = expr
        self.targets = expr.args
        self._found: list[int] = []

    def add(self, machine: Machine, blocks: list[np.ndarray], start: int) -> None:
        self._found.append(machine.partial.count(blocks[0]))

    def end(self) -> bool:
        self.value = float(sum(self._found))
        return True


def reducer(
    expr: Expr, shape: tuple[int, ...], wide: bool, unit: int
) -> Sum | Rows | Columns | Largest | Count | Top:
    """The object that gathers this reduction over a tensor of this shape. Its bits depend on
    `unit`, the elements that are added up together, of which a block has a whole number."""
    count = math.prod(shape)
    if expr.kind == ROWS:
        return Rows(expr, shape, unit)
    if expr.kind == COLUMNS:
        return Columns(expr, shape, unit)
    if expr.op in ("top", "kth"):
        return Top(expr, count, wide, unit)
    if expr.op in ("largest", "greatest"):
        return Largest(expr)
    if expr.op == "count":
        return Count(expr)
    return Sum(expr, count, unit)
