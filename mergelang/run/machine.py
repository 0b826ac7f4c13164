"""Runs the steps of a tape on one block: torch buffers of one thread, reused for every block.

Every operation rounds on its own, elementwise, in float32 or float64: no fused multiply-add, no
library sum, so the result does not depend on the CPU's vector width nor on where a block begins.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from mergelang.errors import RunError
from mergelang.ops.expr import BLOCK, MASK, ROWS, Draw, Expr, Extent
from mergelang.ops.rows import Rows
from mergelang.plan.cost import matrix
from mergelang.run.native import GIVEN, Program, Runner
from mergelang.run.product import Products
from mergelang.run.stream import Stream
from mergelang.run.tape import Slot, Step, Tape
from mergelang.tensors import Binding

TORCH = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16,
}  # fmt: skip


INFINITE = 0x7F80
"""The bits of a bfloat16 that is infinite; those of finite ones lie below."""


class Files:
    """Open file descriptors by path, shared by all threads; reads are positional."""

    def __init__(self) -> None:
        self._descriptors: dict[str, int] = {}
        self.bytes_read = 0

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
                raise RunError("E0901", path=path, reason=error.strerror) from error
            if not got:
                raise RunError("E0902", path=path, offset=offset + done)
            done += got

    def will_read(self, path: str, offset: int, count: int) -> None:
        """Tells the kernel to fetch bytes ahead of the work."""
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(self.descriptor(path), offset, count, os.POSIX_FADV_WILLNEED)

    def forget(self, folder: Path) -> None:
        """Closes the files of a folder, which others take the place of."""
        for path in [each for each in self._descriptors if Path(each).parent == folder]:
            os.close(self._descriptors.pop(path))

    def close(self) -> None:
        for descriptor in self._descriptors.values():
            os.close(descriptor)
        self._descriptors.clear()


class Frame(NamedTuple):
    """What a pass knows of its tensor besides the tape: what symbols stand for, the shape, whole
    tensors already computed (flattened), and `check`, which looks at the bytes of each block that
    is loaded (extent, bytes, first element)."""

    binding: Binding
    shape: tuple[int, ...]
    held: Mapping[Expr, torch.Tensor]
    check: Callable[[Extent, np.ndarray, int], None] | None = None

    def stream(self, draw: Draw) -> bytes:
        """The name of a random stream."""
        return draw.stream(self.binding.name(draw.tensor))


class Machine:
    """The buffers of one thread and the operations on them. `block`: elements at a time."""

    def __init__(self, block: int, files: Files):
        self.block = block
        self.files = files
        self.stream = Stream(block)
        self.runner = Runner(block)
        self.products = Products()
        self.raw = np.empty(block * 8, dtype=np.uint8)
        self._blocks: dict[torch.dtype, list[torch.Tensor]] = {}
        self._masks: list[torch.Tensor] = []
        self._integers: dict[torch.dtype, torch.Tensor] = {}
        self._doubles = np.empty(0)
        self.bytes_read = 0

    def run(
        self,
        tape: Tape,
        start: int,
        count: int,
        dtype: torch.dtype,
        frame: Frame,
    ) -> list[torch.Tensor]:
        """The tape's targets for the elements `start` to `start + count` of the tensor.

        The returned tensors are buffers: used or copied before the next call.
        """
        blocks = self._blocks.setdefault(dtype, [])
        while len(blocks) < tape.blocks:
            blocks.append(torch.empty(self.block, dtype=dtype))
        while len(self._masks) < tape.masks:
            self._masks.append(torch.empty(self.block, dtype=torch.bool))
        if count == self.block:
            b, m = blocks, self._masks
        else:
            b, m = [x[:count] for x in blocks], [x[:count] for x in self._masks]
        for step in tape.steps:
            if step.op in GIVEN:
                self.give(step, start, b[step.out], frame)
            elif step.op in ("keep", "uniform"):
                self._random(step, start, count, b, m, frame)
            elif step.op == "band":
                low, high = (min(max(each - start, 0), count) for each in step.attr)
                m[step.out].zero_()[low:high] = True
            elif step.op == "where":
                condition, *values = step.args
                yes, no = (b[x] if isinstance(x, Slot) else x for x in values)
                _select(m[condition], yes, no, b[step.out], self._wide(count, dtype))
            elif step.op == "rank":
                _rank(b[step.args[0]], matrix(ROWS, frame.shape)[1], b[step.out])
            elif step.op == "chosen":
                scratch = self._wide(count, dtype)
                _chosen(b[step.args[0]], step.args[1], start, m[step.out], scratch)
            elif step.op == "fill":
                (b if step.kind == BLOCK else m)[step.out].fill_(step.attr)
            else:
                _elementwise(step, b, m)
        pools = {BLOCK: b, MASK: m}
        return [pools[kind][slot] for slot, kind in zip(tape.results, tape.kinds, strict=True)]

    def run_program(
        self, made: Program, start: int, count: int, frame: Frame, sums: Sequence[int]
    ) -> int:
        """As `run`, by the built code; results stay in `runner`. Gives the largest magnitude of
        what was stored as bfloat16, as bits. `sums`: addresses of the lanes of each sum."""
        runner, binding = self.runner, frame.binding
        runner.bind(made, frame.stream, binding)
        for number, step in enumerate(made.given):
            self.give(step, start, runner.given(made, number, count), frame)
        stored = [runner.raw(number, count) for number in range(len(made.loads))]
        for raw, step in zip(stored, made.loads, strict=True):
            extent = binding.extent(step.attr)
            self.files.read(extent.path, extent.offset + 2 * start, memoryview(raw))
            self.bytes_read += len(raw)
        largest = runner.run(made, start, count, sums)
        if frame.check is not None and largest[:-1].max(initial=0) >= INFINITE:
            for raw, step in zip(stored, made.loads, strict=True):
                frame.check(step.attr, raw, start)
        return int(largest[-1])

    def give(self, step: Step, start: int, out: torch.Tensor, frame: Frame) -> None:
        """The block of a step that needs no other block."""
        if step.op == "load":
            self.load(step.attr, start, out, frame)
        elif step.op == "gather":
            self.gather(step.attr, start, out, frame)
        elif step.op == "whole":
            out.copy_(frame.held[step.attr][start : start + len(out)])
        elif step.op == "spread":
            _spread(step.args[0], step.attr, frame.shape, start, out)
        elif step.op == "product":
            self.products.fill(*step.args, start, out)
        else:
            self.stream.noise(frame.stream(step.attr), start, len(out), out.numpy())

    def load(self, extent: Extent, start: int, out: torch.Tensor, frame: Frame) -> None:
        """Elements of a stored tensor from `start` on, converted to the dtype of `out`."""
        stored = TORCH[extent.type.dtype]
        size = stored.itemsize
        direct = stored == out.dtype
        raw = out.numpy().view(np.uint8) if direct else self.raw[: len(out) * size]
        path, offset, _ = frame.binding.extent(extent)
        self.files.read(path, offset + start * size, memoryview(raw))
        self.bytes_read += len(raw)
        if frame.check is not None:
            frame.check(extent, raw, start)
        if not direct:
            out.copy_(torch.from_numpy(raw).view(stored))

    def gather(self, rows: Rows, start: int, out: torch.Tensor, frame: Frame) -> None:
        """Elements of a table of rows; the mean of several rows is rounded after each addition."""
        for first, count, parts in rows.pieces(start, len(out)):
            piece = out[first - start : first - start + count]
            if not parts:
                piece.zero_()
                continue
            self.load(*parts[0], piece, frame)
            for extent, at in parts[1:]:
                other = torch.empty_like(piece)
                self.load(extent, at, other, frame)
                piece.add_(other)
            if len(parts) > 1:
                piece.div_(len(parts))

    def doubles(self, count: int) -> np.ndarray:
        """A float64 scratch buffer of `count` elements."""
        if len(self._doubles) < count:
            self._doubles = np.empty(max(count, self.block))
        return self._doubles[:count]

    def magnitudes(self, block: torch.Tensor) -> np.ndarray:
        """The bits of the magnitudes of a block, as integers in scratch."""
        bits = self._wide(len(block), block.dtype).numpy()
        return np.bitwise_and(block.numpy().view(bits.dtype), np.iinfo(bits.dtype).max, out=bits)

    def _wide(self, count: int, dtype: torch.dtype) -> torch.Tensor:
        """Integers as wide as the numbers, as scratch."""
        whole = torch.int64 if dtype == torch.float64 else torch.int32
        if whole not in self._integers:
            self._integers[whole] = torch.empty(self.block, dtype=whole)
        return self._integers[whole][:count]

    def _random(
        self, step: Step, start: int, count: int, b: list, m: list, frame: Frame
    ) -> None:
        if step.op == "keep":
            draw, share = step.attr
            self.stream.keep(frame.stream(draw), share, start, count, m[step.out].numpy())
        else:
            self.stream.uniform(frame.stream(step.attr), start, count, b[step.out].numpy())


def _compared(compare: np.ufunc) -> Callable[..., None]:
    """A comparison by numpy, which takes a third to a tenth of torch's time."""

    def into(x: torch.Tensor, y: torch.Tensor | float, out: torch.Tensor) -> None:
        other = y.numpy() if isinstance(y, torch.Tensor) else y
        with np.errstate(over="ignore"):  # a number beyond the dtype is infinite
            compare(x.numpy(), other, out=out.numpy())

    return into


_BINARY: dict[str, Callable[..., Any]] = {
    "add": torch.add, "sub": torch.sub, "mul": torch.mul, "div": torch.div,
    "lt": _compared(np.less), "le": _compared(np.less_equal), "eq": _compared(np.equal),
    "and": torch.logical_and, "or": torch.logical_or,
}  # fmt: skip


def _sqrt(x: torch.Tensor, out: torch.Tensor) -> None:
    """The correctly rounded root. torch's own goes through a vector library that is not."""
    np.sqrt(x.numpy(), out=out.numpy())


_UNARY: dict[str, Callable[..., Any]] = {
    "neg": torch.neg, "abs": torch.abs, "sign": torch.sign, "sqrt": _sqrt,
    "not": torch.logical_not,
}  # fmt: skip
_SWAPPED = {
    "add": torch.add, "mul": torch.mul, "eq": _BINARY["eq"],
    "lt": _compared(np.greater), "le": _compared(np.greater_equal),
}  # fmt: skip


def _elementwise(step: Step, b: list[torch.Tensor], m: list[torch.Tensor]) -> None:
    out = (b if step.kind == BLOCK else m)[step.out]
    source = m if step.op in ("and", "or", "not") else b
    args = [source[arg] if isinstance(arg, Slot) else arg for arg in step.args]
    if step.op in _UNARY:
        _UNARY[step.op](args[0], out=out)
    elif isinstance(args[0], torch.Tensor):
        _BINARY[step.op](args[0], args[1], out=out)
    elif step.op in _SWAPPED:
        _SWAPPED[step.op](args[1], args[0], out=out)
    else:
        # number - tensor, number / tensor: a 0-d tensor keeps the dtype of the other operand.
        number = torch.tensor(args[0], dtype=b[0].dtype)
        _BINARY[step.op](number, args[1], out=out)


def _select(
    mask: torch.Tensor, yes: torch.Tensor | float, no: torch.Tensor | float, out: torch.Tensor,
    wide: torch.Tensor,
) -> None:  # fmt: skip
    """`yes` where the mask holds, else `no`, by bits: `((yes ^ no) & mask) ^ no`.

    torch.where branches on every element and takes ten times as long. `wide` is scratch; `out` is
    none of the operands.
    """
    whole = wide.dtype
    torch.neg(wide.copy_(mask.view(torch.int8)), out=wide)
    a, b = _bits(yes, out.dtype, whole), _bits(no, out.dtype, whole)
    bits = out.view(whole)
    if isinstance(b, int) and b == 0:
        torch.bitwise_and(wide, a, out=bits)
        return
    if isinstance(a, int) and isinstance(b, int):
        bits.fill_(a ^ b)
    elif isinstance(a, int):
        torch.bitwise_xor(b, a, out=bits)
    else:
        torch.bitwise_xor(a, b, out=bits)
    torch.bitwise_and(bits, wide, out=bits)
    torch.bitwise_xor(bits, b, out=bits)


def _bits(operand: torch.Tensor | float, kind: torch.dtype, whole: torch.dtype) -> Any:
    """A buffer seen as integers, or the bits of a number."""
    if isinstance(operand, torch.Tensor):
        return operand.view(whole)
    return _bits_of(operand, kind, whole)


@lru_cache(maxsize=4096)
def _bits_of(number: float, kind: torch.dtype, whole: torch.dtype) -> int:
    return int(torch.tensor(number, dtype=kind).view(whole))


def _spread(
    numbers: np.ndarray, kind: str, shape: tuple[int, ...], start: int, out: torch.Tensor
) -> None:
    """The number of its row or column for each element, rounded to the dtype of `out`."""
    if not len(out):
        return
    width = matrix(kind, shape)[1]
    view = out.view(-1, width)
    data = torch.from_numpy(numbers)
    if kind == ROWS:
        first = start // width
        data = data[first : first + len(view)].unsqueeze(1)
    view.copy_(data)


def _rank(x: torch.Tensor, width: int, out: torch.Tensor) -> None:
    """Places of the magnitudes within their rows, ascending; equal ones in falling position."""
    if not len(x):
        return
    numbers, ranks = x.numpy().reshape(-1, width), out.numpy().reshape(-1, width)
    backwards = np.arange(width)[::-1]
    if x.dtype == torch.float64:
        order = np.lexsort((np.broadcast_to(backwards, numbers.shape), abs(numbers)), axis=1)
    else:
        # One sort of magnitudes with their places below them is several times as fast.
        keys = (numbers.view(np.int32) & 0x7FFFFFFF).astype(np.int64) << 32 | backwards
        keys.sort(axis=1)
        order = width - 1 - (keys & 0xFFFFFFFF)
    places = np.arange(width, dtype=ranks.dtype)
    np.put_along_axis(ranks, order, np.broadcast_to(places, ranks.shape), axis=1)


class Choice:
    """The outcome of a selection: magnitudes above `threshold` are chosen; of those equal to it,
    all before element `cut`, and from there on the first `quota` in the block that starts at it."""

    __slots__ = ("cut", "quota", "threshold")

    def __init__(self, threshold: float, cut: int, quota: int):
        self.threshold, self.cut, self.quota = threshold, cut, quota


def _chosen(
    x: torch.Tensor, choice: Choice, start: int, out: torch.Tensor, scratch: torch.Tensor
) -> None:
    magnitudes = np.abs(x.numpy(), out=scratch.view(x.dtype).numpy())
    threshold, chosen = magnitudes.dtype.type(choice.threshold), out.numpy()
    if start < choice.cut:
        np.greater_equal(magnitudes, threshold, out=chosen)
        return
    np.greater(magnitudes, threshold, out=chosen)
    if start == choice.cut and choice.quota:
        chosen[np.flatnonzero(magnitudes == threshold)[: choice.quota]] = True
