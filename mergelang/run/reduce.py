"""Reductions and selections: what is gathered from the blocks of one pass, and joined at its end.

Sums run in float64 over a fixed partition, units of 4,096 elements halved again and again, so
their bits depend neither on block size nor on threads nor on the width of the CPU's vectors.
Selections (the k largest magnitudes) count exactly, over the bits of the magnitudes, in up to four
passes: upper bits, lower bits, and where a tie must be cut, the ties of each block.
"""

from threading import Lock
from typing import Any

import numpy as np
import torch

from mergelang.ops.expr import Expr
from mergelang.run.machine import Choice, Machine

UNIT = 4096
"""Elements of one unit of a sum. Blocks are whole multiples of it."""


def halve(x: torch.Tensor) -> torch.Tensor:
    """Sums along the last axis, a power of two long, by halving it in place: [n, w] to [n]."""
    width = x.shape[-1]
    while width > 1:
        width //= 2
        torch.add(x[..., :width], x[..., width : 2 * width], out=x[..., :width])
    return x[..., 0]


class Sum:
    """`sum` and `dot`: float64 partial sums, one a unit, halved at the end. `count` in integers."""

    def __init__(self, expr: Expr, count: int):
        self.expr = expr
        self.targets = expr.args
        self._units = np.zeros(max(1, -(-count // UNIT)), dtype=np.float64)

    def add(self, machine: Machine, blocks: list[torch.Tensor], start: int) -> None:
        count = len(blocks[0])
        units = -(-count // UNIT)
        padded = machine.doubles(units * UNIT)
        if padded.shape[0] > count:
            padded[count:].zero_()
        view = padded[:count]
        if self.expr.op == "dot":
            view.copy_(blocks[0])
            other = view if blocks[1] is blocks[0] else blocks[1].double()
            torch.mul(view, other, out=view)
        else:
            view.copy_(blocks[0])
        sums = halve(padded.view(units, UNIT))
        self._units[start // UNIT : start // UNIT + units] = sums.numpy()

    def end(self) -> bool:
        units = torch.zeros(1 << (len(self._units) - 1).bit_length(), dtype=torch.float64)
        units[: len(self._units)] = torch.from_numpy(self._units)
        self.value = float(halve(units))
        return True


class Largest:
    """`largest`: the largest magnitude. `count`: how many elements of a mask hold."""

    def __init__(self, expr: Expr, count: int):
        self.expr = expr
        self.targets = expr.args
        self.value: float = 0.0
        self._lock = Lock()

    def add(self, machine: Machine, blocks: list[torch.Tensor], start: int) -> None:
        if self.expr.op == "count":
            found = float(torch.count_nonzero(blocks[0]))
            with self._lock:
                self.value += found
        else:
            found = float(blocks[0].abs().max()) if len(blocks[0]) else 0.0
            with self._lock:
                self.value = max(self.value, found)

    def end(self) -> bool:
        return True


class Top:
    """`top`: the threshold above which the k largest magnitudes lie, ties cut by position."""

    def __init__(self, expr: Expr, count: int, wide: bool, block: int):
        self.expr = expr
        self.targets = expr.args
        self._k = expr.attr
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
        x = blocks[0].numpy()
        if self._bits == 63:
            bits = x.view(np.int64) & np.int64(2**63 - 1)
        else:
            bits = x.view(np.int32) & np.int32(2**31 - 1)
        if self._left == 0:
            self._ties[start // self._block] = np.count_nonzero(bits == self._known)
            return
        upper = bits >> (self._left - self._step)
        if self._left < self._bits:
            upper = upper[bits >> self._left == self._known] & ((1 << self._step) - 1)
        counted = np.bincount(upper, minlength=1 << self._step)
        with self._lock:
            self._histogram += counted

    def end(self) -> bool:
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
            if self._k == self._above + self._histogram[digit]:
                self.value: Any = Choice(self._threshold(), np.iinfo(np.int64).max, 0)
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


def reducer(expr: Expr, count: int, wide: bool, block: int) -> Sum | Largest | Top:
    """The object that gathers this reduction over a tensor of `count` elements."""
    if expr.op == "top":
        return Top(expr, count, wide, block)
    if expr.op in ("count", "largest"):
        return Largest(expr, count)
    return Sum(expr, count)


PASSES = {"top": 3}
"""How many passes a reduction takes at most, where it is not one (float32)."""

