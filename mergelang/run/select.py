"""Selections: the k largest magnitudes of a tensor, exactly, in a sample and one pass.

The sample brackets the threshold. The pass counts what lies above the bracket, at its ends and at
what the sample takes for the threshold (differences of 16-bit numbers have few magnitudes, each
many times), and gathers the few others inside; so the threshold is known, and which unit a tie has
to be cut in. Where the sample misled, further passes count the digits of the threshold, 16 bits at
a time. What is selected depends on none of this.
"""

import math
from fractions import Fraction
from typing import Any

import numpy as np

from mergelang.ops.expr import Expr
from mergelang.plan.cost import GATHERED, SAMPLED_FROM
from mergelang.run.machine import Choice, Machine

DOUBTS = 5
"""Standard errors of the sample on each side of the bracket."""


class Top:
    """`top`: the threshold above which the k largest magnitudes lie, ties cut by position.

    `kth` is the threshold alone. Where k is a fraction, it is that of the elements that are not 0.
    Magnitudes are compared by their bits, which are in the same order. A block is a whole number of
    units of `unit` elements.
    """

    def __init__(self, expr: Expr, count: int, wide: bool, unit: int):
        self.expr = expr
        self.targets = expr.args
        self.wants_sample = count > SAMPLED_FROM
        self._k = expr.attr
        self._count, self._unit = count, unit
        self._bits = 63 if wide else 31
        # The bracket, its ends not within it, and a magnitude between; -1 is that of no number.
        self._low, self._middle, self._high = -1, -1, (1 << self._bits) - 1
        self._sample: list[np.ndarray] = []
        self._left = 0  # bits of the threshold that are not known, where they are counted
        self._known = 0
        self._begin()

    def _begin(self) -> None:
        self._counts = np.zeros((-(-self._count // self._unit), 6), np.int64)
        self._inside: dict[int, np.ndarray] = {}
        self._histograms: dict[int, np.ndarray] = {}

    def sample(self, machine: Machine, block: np.ndarray) -> None:
        """Takes a piece of the tensor, before the pass."""
        self._sample.append(machine.magnitudes(block).copy())

    def sampled(self) -> None:
        """Makes the bracket of the pieces, wide enough for how much they differ."""
        self.wants_sample = False
        ordered = np.sort(np.concatenate(self._sample))[::-1]
        size = len(ordered)
        if isinstance(self._k, Fraction):
            share = float(self._k) * np.count_nonzero(ordered) / size
        else:
            share = self._k / self._count
        middle = ordered[min(size - 1, int(share * size))]
        shares = [np.count_nonzero(piece >= middle) / len(piece) for piece in self._sample]
        doubt = DOUBTS * float(np.std(shares)) / math.sqrt(len(shares)) + 8 / size
        doubt = min(doubt, GATHERED / 2 / self._count)
        first, last = math.ceil((share - doubt) * size) - 1, math.ceil((share + doubt) * size)
        if first >= 0:
            self._high = int(ordered[first])
        if last < size:
            self._low = int(ordered[last])
        self._middle = int(middle) if self._low < middle < self._high else -1
        self._sample.clear()

    def add(self, machine: Machine, blocks: list[np.ndarray], start: int) -> None:
        if self._left:
            step = min(16, self._left)
            counts = machine.partial.digits(machine, blocks[0], self._known, self._left, step)
            self._histograms[start] = counts
            return
        marks = self._low, self._middle, self._high
        counts, inside = machine.bracket(blocks[0], self._unit, marks)
        first = start // self._unit
        self._counts[first : first + len(counts)] = counts
        self._inside[start] = inside

    def end(self) -> bool:
        above, at_high, at_middle, at_low, nonzero, _ = self._counts.T
        if isinstance(self._k, Fraction):
            self._k = int(self._k * int(nonzero.sum()))
        if self._k == 0:
            self.value: Any = Choice(math.inf, 0, 0)
            return True
        if self._left:
            self._next_digit()
            self._begin()
            return False
        wanted = self._k - int(above.sum())
        steps = [(self._high, at_high, self._middle), (self._middle, at_middle, self._low)]
        if self._low < self._high:
            steps.append((self._low, at_low, self._low))
        for mark, ties, lower in steps if wanted > 0 else ():
            if wanted <= ties.sum():
                return self._settle(mark, ties, wanted)
            wanted -= int(ties.sum())
            below = [each[(each > lower) & (each < mark)] for each in self._inside.values()]
            count = sum(map(len, below))
            if wanted <= count:
                together = np.concatenate(below)
                together.partition(count - wanted)
                threshold = int(together[count - wanted])
                wanted -= int(np.count_nonzero(together > threshold))
                return self._settle(threshold, self._ties(threshold), wanted)
            wanted -= count
        self._left, self._known = self._bits, 0
        self._begin()
        return False

    def _ties(self, threshold: int) -> np.ndarray:
        """How often each unit holds a magnitude of those that were gathered."""
        ties = np.zeros(len(self._counts), np.int64)
        for start, inside in self._inside.items():
            first = start // self._unit
            ends = np.cumsum(self._counts[first:, -1])  # of what the units gave to `inside`
            places = np.searchsorted(ends, np.flatnonzero(inside == threshold), "right")
            np.add.at(ties, first + places, 1)
        return ties

    def _settle(self, threshold: int, ties: np.ndarray, wanted: int) -> bool:
        """The selection, of whose ties (by unit) the first `wanted` belong to it."""
        kind = (np.int64, np.float64) if self._bits == 63 else (np.int32, np.float32)
        value = float(np.array(threshold, dtype=kind[0]).view(kind[1]))
        if self.expr.op == "kth":
            self.value = value
        elif wanted == ties.sum():
            self.value = Choice(value, np.iinfo(np.int64).max, 0)
        else:
            before = np.cumsum(ties)
            unit = int(np.searchsorted(before, wanted))
            quota = wanted - int(before[unit] - ties[unit])
            self.value = Choice(value, unit * self._unit, quota)
        self._inside.clear()
        return True

    def _next_digit(self) -> None:
        step = min(16, self._left)
        above, *counts = sum(self._histograms.values())
        reached = above + np.cumsum(counts[::-1])
        digit = len(counts) - 1 - int(np.searchsorted(reached, self._k))
        self._known = self._known << step | digit
        self._left -= step
        if not self._left:
            self._low = self._high = self._known
