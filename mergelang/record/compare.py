"""How two models differ, tensor by tensor: equal or not, by how much, in which direction.

Both are read once, in pieces, in a memory that does not grow with them. Differences are reckoned in
float64, with sums over pieces of one size, so the same two models give the same numbers.
"""

import math
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Lock

import numpy as np

from mergelang.errors import RunError
from mergelang.models.checkpoint import Checkpoint
from mergelang.tensors import DTYPES, Extent

PIECE = 1 << 16
"""Elements that are compared at a time."""

EQUAL, DIFFERS, ONLY_A, ONLY_B, SHAPE = "equal", "differs", "only in A", "only in B", "other shape"

NUMPY = {
    "F64": np.float64, "F32": np.float32, "F16": np.float16, "I64": np.int64, "I32": np.int32,
    "I16": np.int16, "I8": np.int8, "U64": np.uint64, "U32": np.uint32, "U16": np.uint16,
    "U8": np.uint8, "BOOL": np.uint8,
}  # fmt: skip


@dataclass(frozen=True)
class Sums:
    """What a group of elements comes to; sums of products for the cosine."""

    count: int = 0
    different: int = 0
    largest: float = 0.0
    total: float = 0.0
    dot: float = 0.0
    a: float = 0.0
    b: float = 0.0

    def __add__(self, other: "Sums") -> "Sums":
        return Sums(
            self.count + other.count, self.different + other.different,
            # A difference that is no number is larger than all others.
            max(self.largest, other.largest, key=lambda each: (math.isnan(each), each)),
            self.total + other.total, self.dot + other.dot, self.a + other.a, self.b + other.b,
        )  # fmt: skip

    @property
    def mean(self) -> float:
        return self.total / self.count if self.count else 0.0

    @property
    def cosine(self) -> float | None:
        """None where one of the two is all zeros."""
        length = math.sqrt(self.a) * math.sqrt(self.b)
        return self.dot / length if length else None


@dataclass(frozen=True)
class Compared:
    """One tensor of two models. `status`: equal in every byte, differs, or not comparable; `sums`
    are of its elements where both have it in one shape."""

    name: str
    status: str
    sums: Sums
    layer: int | None
    roles: tuple[str, ...]
    a: str
    b: str


def compare(
    a: Checkpoint, b: Checkpoint, say: Callable[[int, int], None] = lambda done, of: None
) -> list[Compared]:
    """Every tensor of either model, in the order of `a` and then of `b`.

    `say` is told how many of how many bytes of both have been read. Raises RunError for a file that
    cannot be read.
    """
    names = list(dict.fromkeys((*a.extents, *b.extents)))
    both = [
        name for name in names
        if name in a.extents and name in b.extents
        and a.extents[name].type.shape == b.extents[name].type.shape
    ]  # fmt: skip
    total = sum(a.extents[name].type.nbytes + b.extents[name].type.nbytes for name in both)
    done, lock = 0, Lock()

    def told(count: int) -> None:
        nonlocal done
        with lock:
            done += count
            say(done, total)

    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        sums = dict(zip(both, pool.map(
            lambda name: _sums(a.extents[name], b.extents[name], told), both
        ), strict=True))  # fmt: skip
    return [_compared(name, a, b, sums.get(name)) for name in names]


def _compared(name: str, a: Checkpoint, b: Checkpoint, sums: Sums | None) -> Compared:
    first, other = a.extents.get(name), b.extents.get(name)
    if first is None or other is None:
        status = ONLY_A if other is None else ONLY_B
    elif sums is None:
        status = SHAPE
    else:
        same = first.type == other.type and not sums.different
        status = EQUAL if same else DIFFERS
    place = (a if first is not None else b).inventory.place(name)
    return Compared(
        name, status, sums or Sums(), place.layer, tuple(sorted(place.roles)),
        str(first.type) if first else "", str(other.type) if other else "",
    )  # fmt: skip


def _sums(a: Extent, b: Extent, told: Callable[[int], None]) -> Sums:
    """The sums of one tensor; elements are different where their values are, or where in one dtype
    their bytes are (of NaN and of zeros with signs)."""
    found = Sums()
    for start in range(0, a.type.count, PIECE):
        count = min(PIECE, a.type.count - start)
        raw = [_read(extent, start, count) for extent in (a, b)]
        told(sum(len(each) for each in raw))
        x, y = (_decoded(each, extent.type.dtype) for each, extent in zip(raw, (a, b), strict=True))
        if raw[0] == raw[1] and a.type.dtype == b.type.dtype:
            square = float((x * x).sum())
            found += Sums(count, 0, 0.0, 0.0, square, square, square)
            continue
        with np.errstate(invalid="ignore", over="ignore"):
            gap = np.abs(x - y)
            largest = float(gap.max())
            found += Sums(
                count, _different(raw, x, y, a, b), largest, float(gap.sum()),
                float((x * y).sum()), float((x * x).sum()), float((y * y).sum()),
            )  # fmt: skip
    return found


def _different(raw: list[bytes], x: np.ndarray, y: np.ndarray, a: Extent, b: Extent) -> int:
    if a.type.dtype != b.type.dtype:
        return int(np.count_nonzero(x != y))
    width = DTYPES[a.type.dtype]
    first, other = (np.frombuffer(each, np.uint8).reshape(-1, width) for each in raw)
    return int(np.count_nonzero((first != other).any(axis=1)))


def _read(extent: Extent, start: int, count: int) -> bytes:
    width = DTYPES[extent.type.dtype]
    try:
        with open(extent.path, "rb", buffering=0) as file:
            data = os.pread(file.fileno(), count * width, extent.offset + start * width)
    except OSError as error:
        raise RunError("E0901", path=extent.path, reason=error.strerror or str(error)) from error
    if len(data) < count * width:
        raise RunError("E0902", path=extent.path, offset=extent.offset + start * width + len(data))
    return data


def _decoded(raw: bytes, dtype: str) -> np.ndarray:
    """The values as float64."""
    if dtype == "BF16":
        wide = np.frombuffer(raw, np.uint16).astype(np.uint32) << 16
        return wide.view(np.float32).astype(np.float64)
    return np.frombuffer(raw, NUMPY[dtype]).astype(np.float64)


def groups(found: Iterable[Compared]) -> Iterator[tuple[str, str, list[Compared]]]:
    """The tensors by layer, and by role; those outside the layers, and of no role, as `other`."""
    by_layer: dict[str, list[Compared]] = {}
    by_role: dict[str, list[Compared]] = {}
    for each in found:
        layer = "outside" if each.layer is None else f"layer {each.layer}"
        by_layer.setdefault(layer, []).append(each)
        for role in each.roles or ("other",):
            by_role.setdefault(role, []).append(each)
    layers = sorted(by_layer.items(), key=lambda item: _number(item[0]))
    yield from (("layer", name, members) for name, members in layers)
    yield from (("role", name, members) for name, members in sorted(by_role.items()))


def _number(layer: str) -> int:
    return -1 if layer == "outside" else int(layer.removeprefix("layer "))
