"""What a pass keeps of one block for a reduction, on a device: the bits of `run.partial`.

There is no sum of a library here: parts are added to each other in the order in which numpy adds
them, an operation each. What is counted is integers, whose sums are exact in any order.
"""

from typing import Any

import numpy as np
import torch

from mergelang.run import partial
from mergelang.run.device.steps import magnitudes
from mergelang.run.partial import LANES, ROW

Blocks = list[torch.Tensor]


def of_units(machine: Any, op: str, blocks: Blocks, unit: int, padded: int) -> np.ndarray:
    """The lanes [units, LANES] of units of so many elements, which are `padded` with zeros."""
    units = _padded(_products(op, blocks), unit, padded)
    rows = _in_order(units.unflatten(1, (-1, min(ROW, padded))))
    return _in_order(rows.unflatten(1, (-1, LANES))).cpu().numpy()


def of_rows(machine: Any, op: str, blocks: Blocks, width: int) -> np.ndarray:
    """The sum of each row, by halves."""
    sums = _padded(_products(op, blocks), width, 1 << (width - 1).bit_length())
    while sums.shape[1] > 1:
        half = sums.shape[1] // 2
        sums = sums[:, :half].add_(sums[:, half:])
    return sums[:, 0].cpu().numpy()


def of_columns(
    machine: Any, op: str, blocks: Blocks, width: int, unit: int, span: int
) -> np.ndarray:
    """The sums [spans, width] of the columns of each span; a span is of units, each of which is
    added up row by row."""
    products = _products(op, blocks)
    if width == 1:  # numpy adds up a single column in an order of its own
        return np.concatenate([_column(each, unit) for each in products.split(span)])
    unit, span = min(unit, len(products)), min(span, len(products))
    spans = _padded(products, span, -(-span // unit) * unit)
    units = _in_order(spans.view(-1, unit // width, width)).view(len(spans), -1, width)
    return _in_order(units).cpu().numpy()


def by_rows(
    machine: Any, function: str, blocks: Blocks, width: int, unit: int
) -> np.ndarray:
    """What a `rowwise` function makes of each row. It is called for one unit at a time: a library
    may add up rows in an order that depends on how many there are."""
    units = zip(*(block.split(unit) for block in blocks), strict=True)
    return np.concatenate([
        machine.device.call(function, [each.view(-1, width) for each in parts], {})
        for parts in units
    ])  # fmt: skip


def largest(op: str, block: torch.Tensor) -> float:
    """The largest magnitude, or for `greatest` the greatest element."""
    return (block.abs() if op == "largest" else block).max().item()


def count(mask: torch.Tensor) -> int:
    """How many elements of a mask hold."""
    return int(mask.sum())


def bracket(
    block: torch.Tensor, unit: int, marks: tuple[int, int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """See `Machine.bracket`."""
    bits, (low, middle, high) = magnitudes(block), marks
    between = (bits > low) & (bits < high) & (bits != middle)
    masks = (bits > high, bits == high, bits == middle, bits == low, bits != 0, between)
    counts = [_padded(each, unit, unit).sum(1) for each in masks]
    return torch.stack(counts, dim=1).cpu().numpy(), bits[between].cpu().numpy()


def digits(
    machine: Any, block: torch.Tensor, known: int, left: int, step: int
) -> np.ndarray:
    """See `partial.digits`."""
    bits = magnitudes(block)
    upper = bits >> left
    found = bits[upper == known] >> (left - step) & ((1 << step) - 1)
    above = (upper > known).sum().view(1)
    return torch.cat((above, torch.bincount(found, minlength=1 << step))).cpu().numpy()


def _products(op: str, blocks: Blocks) -> torch.Tensor:
    """What a `sum` or a `dot` adds up, in float64, in memory of its own."""
    first = blocks[0].to(torch.float64, copy=True)
    return first.mul_(blocks[1]) if op == "dot" else first


def _padded(flat: torch.Tensor, unit: int, padded: int) -> torch.Tensor:
    """A tensor as rows [n, padded] of `unit` elements each, with zeros behind those of each."""
    whole, rest = divmod(len(flat), unit)
    if unit == padded and not rest:
        return flat.view(-1, unit)
    rows = flat.new_zeros(whole + (rest > 0), padded)
    rows[:whole, :unit] = flat[: whole * unit].view(whole, unit)
    if rest:
        rows[whole, :rest] = flat[whole * unit :]
    return rows


def _in_order(x: torch.Tensor) -> torch.Tensor:
    """The sums along the middle axis of [n, k, w], one after the other, in place: [n, w]."""
    first, *others = x.unbind(1)
    for each in others:
        first += each
    return first


def _column(span: torch.Tensor, unit: int) -> np.ndarray:
    """The sum [1, 1] of a span of one column, as `partial.of_columns` makes it of its units."""
    total = np.zeros((1, 1))
    for each in span.split(unit):
        total += partial.of_columns(_Alone, "sum", [each.cpu().numpy()], 1, unit, unit)
    return total


class _Alone:
    """A machine without buffers."""

    doubles = staticmethod(np.empty)
