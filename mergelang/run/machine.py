"""One thread's buffers for the blocks of a tape, and where its blocks come from: numpy arrays.

The steps themselves are run by built code (`native.py`), or where there is none, or a step that it
does not know, by `reference.py`, which needs torch and is loaded when it is first wanted.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from importlib import import_module
from operator import ge
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mergelang.errors import RunError
from mergelang.ops.expr import ROWS, Draw, Expr, Extent
from mergelang.ops.rows import Rows
from mergelang.plan.cost import matrix
from mergelang.run import partial
from mergelang.run.finite import nonfinite
from mergelang.run.floats import STORED, widen
from mergelang.run.native import Failed, Runner, bracket
from mergelang.run.program import Program
from mergelang.run.stream import Stream
from mergelang.run.tape import Step, Tape
from mergelang.tensors import DTYPES, Binding

AHEAD = 1 << 17
"""Bytes that the kernel reads ahead by itself: of so few it is not told."""


class Files:
    """Open file descriptors by path, shared by all threads; reads are positional."""

    def __init__(self) -> None:
        self._descriptors: dict[str, int] = {}

    def descriptor(self, path: str) -> int:
        known = self._descriptors.get(path)
        if known is None:
            try:
                opened = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
            except OSError as error:
                raise RunError("E0901", path=path, reason=error.strerror) from error
            known = self._descriptors.setdefault(path, opened)
            if known != opened:
                os.close(opened)
        return known

    def read(self, path: str, offset: int, into: memoryview) -> None:
        """Fills `into` from the file, or raises RunError: unreadable, or shorter than it was."""
        descriptor, done = self.descriptor(path), 0
        while done < len(into):
            try:
                got = os.preadv(descriptor, [into[done:]], offset + done)
            except OSError as error:
                raise unread(path, offset + done, error.errno) from error
            if not got:
                raise unread(path, offset + done, 0)
            done += got

    def will_read(self, path: str, offset: int, count: int) -> None:
        """Tells the kernel to fetch bytes ahead of the work, unless they are few, or the first and
        the last of them are in memory: of those that are there it would look at every page, which
        takes a third of the time of reading them."""
        if count <= AHEAD:
            return
        descriptor = self.descriptor(path)
        last = min(offset + count, os.fstat(descriptor).st_size) - 1
        if hasattr(os, "posix_fadvise") and not (
            _at_hand(descriptor, offset) and _at_hand(descriptor, last)
        ):
            os.posix_fadvise(descriptor, offset, count, os.POSIX_FADV_WILLNEED)

    def forget(self, folder: Path) -> None:
        """Closes the files of a folder, which others take the place of."""
        for path in [each for each in self._descriptors if Path(each).parent == folder]:
            os.close(self._descriptors.pop(path))

    def close(self) -> None:
        for descriptor in self._descriptors.values():
            os.close(descriptor)
        self._descriptors.clear()


def unread(path: str, offset: int, error: int) -> RunError:
    """What is said of a read that failed, with the number of its error; 0: the file has ended."""
    if not error:
        return RunError("E0902", path=path, offset=offset)
    return RunError("E0901", path=path, reason=os.strerror(error))


def _at_hand(descriptor: int, at: int) -> bool:
    """Whether a byte of a file is in memory; False where the system does not tell."""
    try:
        os.preadv(descriptor, [bytearray(1)], at, os.RWF_NOWAIT)
    except (AttributeError, OSError):
        return False
    return True


class Frame(NamedTuple):
    """What a pass knows of its tensor besides the tape: what symbols stand for, the shape, whole
    tensors already computed (flattened), the values of the tape's numbers, and `check`, which looks
    at the bytes of each block that is loaded (extent, bytes, first element)."""

    binding: Binding
    shape: tuple[int, ...]
    held: Mapping[Expr, np.ndarray]
    numbers: Sequence[Any]
    check: Callable[[Extent, np.ndarray, int], None] | None = None

    def stream(self, draw: Draw) -> bytes:
        """The name of a random stream."""
        return draw.stream(self.binding.name(draw.tensor))


class Machine:
    """The buffers of one thread. `block`: elements at a time."""

    partial = partial
    nonfinite = staticmethod(nonfinite)

    def __init__(self, block: int, files: Files):
        self.block = block
        self.files = files
        self.stream = Stream(block)
        self.runner = Runner(block)
        self.raw = np.empty(block * 8, dtype=np.uint8)
        self._integers: dict[type, np.ndarray] = {}
        self._doubles = np.empty(0)
        self.bytes_read = 0

    @property
    def host(self) -> "Machine":
        """What computes small pieces: this one."""
        return self

    @cached_property
    def reference(self) -> Any:
        """What runs the steps that the built code does not."""
        return import_module("mergelang.run.reference").Reference(self)

    @cached_property
    def products(self) -> Any:
        """The products of low-rank factors."""
        return import_module("mergelang.run.product").Products()

    def run(
        self, tape: Tape, start: int, count: int, dtype: type, frame: Frame
    ) -> list[np.ndarray]:
        """The tape's targets for the elements `start` to `start + count` of the tensor, computed in
        float32 or float64 (`dtype`). They are buffers: used or copied before the next call."""
        return self.reference.run(tape, start, count, dtype, frame)

    def encode(self, block: np.ndarray, dtype: str) -> np.ndarray:
        """The bytes of a block as another dtype, each element rounded once."""
        if block.dtype == STORED[dtype]:
            return block.view(np.uint8)
        return self.reference.encode(block, dtype)

    def level(self, block: np.ndarray) -> None:
        """Makes all that is no number one and the same: its sign and payload depend on how it came
        to be."""
        np.copyto(block, np.nan, where=np.isnan(block))

    def take(self, block: np.ndarray, into: np.ndarray) -> None:
        """Keeps a block in an array."""
        into[...] = block

    def pieces(self, raw: np.ndarray) -> tuple[memoryview]:
        """Encoded bytes as they are written, one after the other."""
        return (memoryview(raw),)

    def run_program(
        self, made: Program, start: int, count: int, frame: Frame, sums: Sequence[int]
    ) -> int:
        """As `run`, by the built code; results stay in `runner`. Gives the largest magnitude of
        what was stored, as bits. `sums`: addresses of the lanes of each sum. Of a program that
        `flows`, `count` is any number of elements."""
        runner, binding = self.runner, frame.binding
        runner.bind(made, frame.numbers, frame.stream, matrix(ROWS, frame.shape)[1])
        for step, block in runner.given(made, count):
            self.give(step, start, block, frame)
        extents = [binding.extent(step.attr) for step in made.loads]
        files = [self.files.descriptor(extent.path) for extent in extents]
        largest = runner.run(start, count, files, [extent.offset for extent in extents], sums)
        if isinstance(largest, Failed):
            raise unread(extents[largest.load].path, largest.at, largest.error)
        self.bytes_read += 2 * count * len(extents)
        if frame.check is not None and _reached(largest, made.infinite):
            self._look(made, start, count, frame)
        return int(largest[-1])

    def _look(self, made: Program, start: int, count: int, frame: Frame) -> None:
        """Lets `frame.check` look at what the built code has read, block by block."""
        for at in range(start, start + count, self.block):
            out = np.empty(min(self.block, start + count - at), np.float32)
            for step in made.loads:
                self.load(step.attr, at, out, frame)

    def give(self, step: Step, start: int, out: np.ndarray, frame: Frame) -> None:
        """The block of a step that needs no other block."""
        if step.op == "load":
            self.load(step.attr, start, out, frame)
        elif step.op == "gather":
            self.gather(step.attr, start, out, frame)
        elif step.op == "whole":
            out[...] = frame.held[step.attr][start : start + len(out)]
        elif step.op == "spread":
            _spread(step.args[0], step.attr, frame.shape, start, out)
        elif step.op == "product":
            self.products.fill(*step.args, start, out)
        else:
            self.stream.noise(frame.stream(step.attr), start, len(out), out)

    def load(self, extent: Extent, start: int, out: np.ndarray, frame: Frame) -> None:
        """Elements of a stored tensor from `start` on, converted to the dtype of `out`."""
        size = DTYPES[extent.type.dtype]
        direct = STORED[extent.type.dtype] == out.dtype
        raw = out.view(np.uint8) if direct else self.raw[: len(out) * size]
        path, offset, _ = frame.binding.extent(extent)
        self.files.read(path, offset + start * size, memoryview(raw))
        self.bytes_read += len(raw)
        if frame.check is not None:
            frame.check(extent, raw, start)
        if not direct:
            widen(raw, extent.type.dtype, out)

    def gather(self, rows: Rows, start: int, out: np.ndarray, frame: Frame) -> None:
        """Elements of a table of rows; the mean of several rows is rounded after each addition."""
        for first, count, parts in rows.pieces(start, len(out)):
            piece = out[first - start : first - start + count]
            if not parts:
                piece.fill(0)
                continue
            self.load(*parts[0], piece, frame)
            for extent, at in parts[1:]:
                other = np.empty_like(piece)
                self.load(extent, at, other, frame)
                piece += other
            if len(parts) > 1:
                piece /= len(parts)

    def doubles(self, count: int) -> np.ndarray:
        """A float64 scratch buffer of `count` elements."""
        if len(self._doubles) < count:
            self._doubles = np.empty(max(count, self.block))
        return self._doubles[:count]

    def magnitudes(self, block: np.ndarray) -> np.ndarray:
        """The bits of the magnitudes of a block, as integers in scratch."""
        bits = self.integers(len(block), block.dtype.type)
        return np.bitwise_and(block.view(bits.dtype), np.iinfo(bits.dtype).max, out=bits)

    def bracket(
        self, block: np.ndarray, unit: int, marks: tuple[int, int, int]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Of the magnitudes of a block, as bits, for each `unit` of elements [units, 6]: how many
        lie above the last of the marks, at it, at the middle one, at the first, are not 0, and are
        others that lie between; and the latter."""
        built = bracket(block, unit, marks, self.integers(len(block), block.dtype.type))
        if built is not None:
            return built
        bits, (low, middle, high) = self.magnitudes(block), marks
        between = (bits > low) & (bits < high) & (bits != middle)
        masks = (bits > high, bits == high, bits == middle, bits == low, bits != 0, between)
        starts = np.arange(0, len(bits), unit)
        counts = [np.add.reduceat(each, starts, dtype=np.int64) for each in masks]
        return np.stack(counts, axis=1), bits[between]

    def integers(self, count: int, dtype: type) -> np.ndarray:
        """Integers as wide as the numbers, as scratch."""
        whole = np.int64 if dtype == np.float64 else np.int32
        if whole not in self._integers:
            self._integers[whole] = np.empty(self.block, dtype=whole)
        return self._integers[whole][:count]


def _reached(largest: np.ndarray, infinite: np.ndarray) -> bool:
    """Whether a load has a number that is not finite. In plain numbers: there are few of them."""
    return any(map(ge, largest.tolist()[:-1], infinite.tolist()))


def _spread(
    numbers: np.ndarray, kind: str, shape: tuple[int, ...], start: int, out: np.ndarray
) -> None:
    """The number of its row or column for each element, rounded to the dtype of `out`."""
    if not len(out):
        return
    width = matrix(kind, shape)[1]
    view = out.reshape(-1, width)
    if kind == ROWS:
        first = start // width
        numbers = numbers[first : first + len(view), None]
    view[...] = numbers


class Choice:
    """The outcome of a selection: magnitudes above `threshold` are chosen; of those equal to it,
    all before element `cut`, and the first `quota` from there on, which lie in its unit."""

    __slots__ = ("cut", "quota", "threshold")

    def __init__(self, threshold: float, cut: int, quota: int):
        self.threshold, self.cut, self.quota = threshold, cut, quota
