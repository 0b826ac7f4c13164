"""What each step of a tape means: torch and numpy on the blocks of one thread.

Runs where no code can be built, and what the built code does not know; gives the bytes that it has
to give. Every operation rounds on its own, elementwise, in float32 or float64: no fused
multiply-add, no library sum, so the result does not depend on the CPU's vector width nor on where a
block begins. torch computes with one thread: the threads are those that the blocks are given to.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
import torch

from mergelang.ops.expr import BLOCK, MASK, ROWS
from mergelang.plan.cost import matrix
from mergelang.run.machine import Choice, Frame, Machine
from mergelang.run.program import GIVEN
from mergelang.run.tape import Slot, Step, Tape

TORCH = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16,
}  # fmt: skip

NARROWED = 1 << 20
"""Elements of float64 that are rounded at a time: no plan counts the memory that it takes."""


class Reference:
    """The buffers of a machine for steps by torch, and the operations on them."""

    def __init__(self, machine: Machine):
        torch.set_num_threads(1)
        self._machine = machine
        self._blocks: dict[torch.dtype, list[torch.Tensor]] = {}
        self._masks: list[torch.Tensor] = []

    def run(
        self, tape: Tape, start: int, count: int, dtype: type, frame: Frame
    ) -> list[np.ndarray]:
        """See `Machine.run`."""
        machine, kind = self._machine, torch.float64 if dtype == np.float64 else torch.float32
        blocks = self._blocks.setdefault(kind, [])
        while len(blocks) < tape.blocks:
            blocks.append(torch.empty(machine.block, dtype=kind))
        while len(self._masks) < tape.masks:
            self._masks.append(torch.empty(machine.block, dtype=torch.bool))
        if count == machine.block:
            b, m = blocks, self._masks
        else:
            b, m = [x[:count] for x in blocks], [x[:count] for x in self._masks]
        for step in tape.steps:
            if step.op in GIVEN:
                machine.give(step, start, b[step.out].numpy(), frame)
            elif step.op in ("keep", "uniform"):
                self._random(step, start, count, b, m, frame)
            elif step.op == "band":
                low, high = (min(max(each - start, 0), count) for each in step.attr)
                m[step.out].zero_()[low:high] = True
            elif step.op == "where":
                condition, *values = step.args
                yes, no = (b[x] if isinstance(x, Slot) else x for x in values)
                wide = torch.from_numpy(machine.integers(count, dtype))
                _select(m[condition], yes, no, b[step.out], wide)
            elif step.op == "rank":
                _rank(b[step.args[0]], matrix(ROWS, frame.shape)[1], b[step.out])
            elif step.op == "chosen":
                scratch = machine.integers(count, dtype)
                _chosen(b[step.args[0]], step.args[1], start, m[step.out], scratch)
            elif step.op == "fill":
                (b if step.kind == BLOCK else m)[step.out].fill_(step.attr)
            else:
                _elementwise(step, b, m)
        pools = {BLOCK: b, MASK: m}
        return [
            pools[kind][slot].numpy() for slot, kind in zip(tape.results, tape.kinds, strict=True)
        ]

    def encode(self, block: np.ndarray, dtype: str) -> np.ndarray:
        """The bytes of a block as another dtype, each element rounded once."""
        stored = TORCH[dtype]
        raw = self._machine.raw[: len(block) * stored.itemsize]
        narrow(torch.from_numpy(block), torch.from_numpy(raw).view(stored))
        return raw

    def _random(
        self, step: Step, start: int, count: int, b: list, m: list, frame: Frame
    ) -> None:
        stream = self._machine.stream
        if step.op == "keep":
            draw, share = step.attr
            stream.keep(frame.stream(draw), share, start, count, m[step.out].numpy())
        else:
            stream.uniform(frame.stream(step.attr), start, count, b[step.out].numpy())


def narrow(block: torch.Tensor, out: torch.Tensor) -> None:
    """Fills `out` with the elements as its dtype, each rounded once, to the nearest.

    From float64 torch goes to 16 bits by way of float32, and so rounds twice. What float32 cannot
    hold is made odd there, which no second rounding takes for a tie (Boldo and Melquiond, Emulation
    of FMA and Correctly Rounded Sums: Proved Algorithms Using Rounding to Odd, IEEE ToC 57, 2008).
    """
    if block.dtype != torch.float64 or out.itemsize > 2:
        out.copy_(block)
        return
    for wide, narrower in zip(block.split(NARROWED), out.split(NARROWED), strict=True):
        single = wide.float()
        bits, near = single.view(torch.int32), single.double()
        even = (near != wide) & (bits & 1 == 0)
        bits += torch.where(near.abs() > wide.abs(), -1, 1) * even
        narrower.copy_(single)


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


def _chosen(
    x: torch.Tensor, choice: Choice, start: int, out: torch.Tensor, scratch: np.ndarray
) -> None:
    magnitudes = np.abs(x.numpy(), out=scratch.view(x.numpy().dtype))
    threshold, chosen = magnitudes.dtype.type(choice.threshold), out.numpy()
    before = min(max(choice.cut - start, 0), len(chosen))
    np.greater_equal(magnitudes[:before], threshold, out=chosen[:before])
    rest, last = magnitudes[before:], chosen[before:]
    np.greater(rest, threshold, out=last)
    if start <= choice.cut and choice.quota:
        last[np.flatnonzero(rest == threshold)[: choice.quota]] = True
