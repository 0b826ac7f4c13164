"""What the weights of models look like: histograms, differences, task vectors against each other.

Reads tensors block by block and keeps sums only, in float64. Knows no recipes and needs no torch:
bfloat16 is the upper half of a float32. Numbers are for looking at; nothing is made from them.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from math import sqrt
from typing import TYPE_CHECKING

from mergelang.errors import InputError
from mergelang.tensors import DTYPES, MERGEABLE, Extent, TensorType

if TYPE_CHECKING:
    import numpy as np

BLOCK = 1 << 20
"""Elements that are read at a time."""

Wanted = Callable[[], bool]
"""Says whether the work is still wanted; asked after each block."""


@dataclass(frozen=True)
class Sums:
    """What was added up over elements of tensors a, b and perhaps their base; sums can be added.

    `size` is the sum of a², `change` of (a - b)²; `first`, `second` and `both` the sums of u², v²
    and u v for the task vectors u = a - base, v = b - base; `clashes` counts elements where their
    signs differ of the `moved` ones where neither is 0.
    """

    count: int = 0
    size: float = 0.0
    change: float = 0.0
    first: float = 0.0
    second: float = 0.0
    both: float = 0.0
    clashes: int = 0
    moved: int = 0

    def __add__(self, other: "Sums") -> "Sums":
        pairs = zip(vars(self).values(), vars(other).values(), strict=True)
        return Sums(*(one + two for one, two in pairs))

    @property
    def difference(self) -> float | None:
        """The norm of a - b relative to that of a; None where a is 0."""
        return sqrt(self.change / self.size) if self.size else None

    @property
    def cosine(self) -> float | None:
        """Of the angle between the task vectors; None where one of them is 0."""
        product = self.first * self.second
        return self.both / sqrt(product) if product > 0 else None

    @property
    def conflicts(self) -> float | None:
        """The share of elements where both task vectors are not 0 and their signs differ."""
        return self.clashes / self.moved if self.moved else None


@dataclass(frozen=True)
class Histogram:
    """Counts of finite elements in bins of equal width from `low` to `high`, and their moments."""

    low: float
    high: float
    counts: tuple[int, ...]
    count: int
    mean: float
    deviation: float
    zeros: int
    nonfinite: int


def blocks(extent: Extent, size: int = BLOCK) -> Iterator["np.ndarray"]:
    """A stored tensor as flat arrays of float32 (float64 for F64). Raises InputError."""
    import numpy as np

    kinds = {"F64": np.float64, "F32": np.float32, "F16": np.float16, "BF16": np.uint16}
    dtype, width = extent.type.dtype, DTYPES[extent.type.dtype]
    left = extent.type.count
    try:
        with open(extent.path, "rb") as file:
            file.seek(extent.offset)
            while left:
                data = file.read(min(left, size) * width)
                if not data or len(data) % width:
                    raise OSError(None, "it is shorter than its header says")
                raw = np.frombuffer(data, kinds[dtype])
                left -= len(raw)
                if dtype == "BF16":
                    yield (raw.astype(np.uint32) << 16).view(np.float32)
                else:
                    yield raw.astype(np.float32) if dtype == "F16" else raw
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise InputError("E0604", path=extent.path, reason=reason) from error


def measurable(type: TensorType) -> bool:
    """Whether a tensor holds numbers that can be measured."""
    return type.dtype in MERGEABLE and type.count > 0


def histogram(extent: Extent, bins: int, wanted: Wanted = lambda: True) -> Histogram | None:
    """The histogram of a tensor, in two passes; None when it was no longer wanted."""
    import numpy as np

    low, high, total, squares = np.inf, -np.inf, 0.0, 0.0
    count = zeros = nonfinite = 0
    for block in blocks(extent):
        fine = block[np.isfinite(block)]
        nonfinite += len(block) - len(fine)
        count += len(fine)
        zeros += int(np.count_nonzero(fine == 0))
        if len(fine):
            low, high = min(low, float(fine.min())), max(high, float(fine.max()))
            wide = fine.astype(np.float64)
            total += float(wide.sum())
            squares += float((wide * wide).sum())
        if not wanted():
            return None
    if not count:
        return Histogram(0.0, 0.0, (0,) * bins, 0, 0.0, 0.0, zeros, nonfinite)
    counts = np.zeros(bins, dtype=np.int64)
    ends = (low, high) if high > low else (low - 0.5, high + 0.5)
    for block in blocks(extent):
        fine = block[np.isfinite(block)].astype(np.float64)
        counts += np.histogram(fine, bins, ends)[0]
        if not wanted():
            return None
    mean = total / count
    deviation = sqrt(max(squares / count - mean * mean, 0.0))
    found = tuple(int(each) for each in counts)
    return Histogram(ends[0], ends[1], found, count, mean, deviation, zeros, nonfinite)


def sums(a: Extent, b: Extent, base: Extent | None = None, wanted: Wanted = lambda: True) -> Sums:
    """Compares two tensors of one shape, and their task vectors where there is a base."""
    import numpy as np

    found = Sums()
    others: Iterable = blocks(b), *([blocks(base)] if base else [])
    for x, y, *rest in zip(blocks(a), *others, strict=True):
        x, y = x.astype(np.float64), y.astype(np.float64)
        d = x - y
        part = {"count": len(x), "size": float(x @ x), "change": float(d @ d)}
        if rest:
            z = rest[0].astype(np.float64)
            u, v = x - z, y - z
            moved = (u != 0) & (v != 0)
            part |= {
                "first": float(u @ u), "second": float(v @ v), "both": float(u @ v),
                "clashes": int(np.count_nonzero(((u < 0) != (v < 0)) & moved)),
                "moved": int(np.count_nonzero(moved)),
            }  # fmt: skip
        found = found + Sums(**part)
        if not wanted():
            break
    return found


def comparable(*models: Mapping[str, Extent]) -> list[str]:
    """The names of tensors that all models have in one shape, and that can be measured."""
    first, *others = models
    return [
        name for name, extent in first.items()
        if measurable(extent.type)
        and all(
            name in other and measurable(other[name].type)
            and other[name].type.shape == extent.type.shape for other in others
        )
    ]  # fmt: skip
