"""Reductions and selections: what is gathered from the blocks of one pass, and joined at its end.

Sums run in float64 over a fixed partition: units of 16,384 elements, each halved again and again
down to 32 lanes, and all lanes of all units halved again at the end. So their bits depend neither
on block size nor on threads nor on the width of the CPU's vectors.
Selections (the k largest magnitudes) count exactly, over the bits of the magnitudes, in up to four
passes: upper bits, lower bits, and where a tie must be cut, the ties of each block.
"""

from threading import Lock
from typing import Any

import numpy as np
import torch

from mergelang.ops.expr import Expr
from mergelang.run.machine import Choice, Machine

UNIT = 1 << 14
"""Elements of one unit of a sum. Blocks are whole multiples of it."""

LANES = 32
"""Partial sums that are kept of each unit until the pass has ended."""


def halve(x: torch.Tensor, lanes: int = 1) -> torch.Tensor:
    """Sums along the last axis, a power of two, by halving it in place: [n, w] to [n, lanes]."""
    width = x.shape[-1]
    while width > lanes:
        width //= 2
        torch.add(x[..., :width], x[..., width : 2 * width], out=x[..., :width])
    return x[..., :lanes]


class Sum:
    """`sum` and `dot`: float64 partial sums of each unit, added up at the end."""

    def __init__(self, expr: Expr, count: int):
        self.expr = expr
        self.targets = expr.args
        self._units = torch.zeros(max(1, -(-count // UNIT)), LANES, dtype=torch.float64)

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
        sums = halve(padded.view(units, UNIT), LANES)
        self._units[start // UNIT : start // UNIT + units] = sums

    def end(self) -> bool:
        lanes = self._units.view(-1)
        padded = torch.zeros(1 << (len(lanes) - 1).bit_length(), dtype=torch.float64)
        padded[: len(lanes)] = lanes
        self.value = float(halve(padded))
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
        if self._bits == 63:
            bits = blocks[0].view(torch.int64) & (2**63 - 1)
        else:
            bits = blocks[0].view(torch.int32) & (2**31 - 1)
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
