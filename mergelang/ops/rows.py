"""Tables put together of rows of stored tables: what a change of the vocabulary does to embeddings.

Which row of which file stands where is known before a run; the executor reads runs of consecutive
rows by position, straight into the blocks.
"""

from array import array
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from functools import cached_property, reduce
from hashlib import blake2b
from math import prod
from operator import or_
from typing import NamedTuple

from mergelang.ops.expr import BLOCK, COLUMNS, MASK, SCALAR, Context, Value, dot, make, where
from mergelang.tensors import DTYPES, Extent, along_last, row_of


class Part(NamedTuple):
    """Rows from `row` on of the stored table number `table`."""

    table: int
    row: int


class Run(NamedTuple):
    """`count` rows from row `first` on: the mean of those of the parts, zeros where are none."""

    first: int
    count: int
    parts: tuple[Part, ...]


class Rows:
    """A table of `count` rows of stored tables, all of one width; zeros where no run puts any.

    Equal where the same rows stand in it.
    """

    __slots__ = ("__dict__", "_ends", "runs", "tables")

    def __init__(self, tables: Sequence[Extent | None], runs: Sequence[Run], count: int):
        used = sorted({part.table for run in runs for part in run.parts})
        number = {table: i for i, table in enumerate(used)}
        self.tables = tuple(tables[table] for table in used)
        found: list[Run] = []
        at = 0
        for first, rows, parts in (*runs, Run(count, 0, ())):
            if first > at:
                found.append(Run(at, first - at, ()))
            if rows:
                found.append(Run(first, rows, tuple(Part(number[t], row) for t, row in parts)))
            at = first + rows
        self.runs = tuple(found)
        self._ends = array("q", (run.first + run.count for run in self.runs))

    @cached_property
    def places(self) -> bytes:
        """A digest of which row stands where, whatever files the tables are in."""
        numbers = array("q")
        for first, count, parts in self.runs:
            numbers.extend((first, count, len(parts)))
            for part in parts:
                numbers.extend(part)
        return blake2b(numbers.tobytes(), digest_size=16).digest()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Rows):
            return NotImplemented
        return self.tables == other.tables and self.places == other.places

    def __hash__(self) -> int:
        return hash((self.tables, self.places))

    def __str__(self) -> str:
        return f"{len(self.runs)} runs of rows"

    @property
    def elements(self) -> int:
        return (self._ends[-1] if self._ends else 0) * self.width

    @property
    def width(self) -> int:
        """Elements of a row; 1 for a table of one dimension."""
        return prod(self.tables[0].type.shape[1:]) if self.tables else 1

    def pieces(self, start: int, count: int) -> Iterator[tuple[int, int, list[tuple[Extent, int]]]]:
        """Elements `start` to `start + count` as (first, number, [(file, element there), ...])."""
        width, stop = self.width, start + count
        at = bisect_right(self._ends, start // width)
        while start < stop:
            first, rows, parts = self.runs[at]
            end = min(stop, (first + rows) * width)
            shift = start - first * width
            where_ = [(self.tables[table], row * width + shift) for table, row in parts]
            yield start, end - start, where_
            start, at = end, at + 1

    def nbytes(self, start: int, count: int) -> int:
        """Bytes read for some elements."""
        return sum(
            number * DTYPES[extent.type.dtype]
            for _, number, found in self.pieces(start, count)
            for extent, _ in found
        )  # fmt: skip


def gather(rows: Rows, context: Context, key: bytes) -> Value:
    """The table as a value; one stored table as it is where it is just that."""
    if len(rows.tables) == 1 and len(rows.runs) == 1:
        extent, (first, count, parts) = rows.tables[0], rows.runs[0]
        if parts == (Part(0, 0),) and not first and extent.type.shape[:1] == (count,):
            return Value(make(BLOCK, "load", (), extent), key, context)
    return Value(make(BLOCK, "gather", (), rows), key, context)


def padded(table: Value, bands: Sequence[tuple[int, int]], known: int) -> Value:
    """The table with the mean of its first `known` rows as every row of some bands of rows."""
    shape = table.context.type.shape
    width = prod(row_of(shape))

    def rows(low: int, high: int) -> Value:
        band = make(MASK, "band", (), (low * width, high * width))
        return Value(band, table.key, table.context)

    ones = Value(make(BLOCK, "fill", (), 1.0), table.key, table.context)
    kind = SCALAR if along_last(shape) else COLUMNS
    mean = dot(where(rows(0, known), table, 0), ones, kind) / known
    masks = [rows(*band) for band in bands]
    result = where(reduce(or_, masks), mean, table)
    return Value(result.expr, table.key, table.context)
