"""What each step of a tape means on tensors of a device, as `run.reference` says it of numpy's.

One operation of torch for each rounding, on tensors alone: a number is a tensor without dimensions
on the device, in the dtype of the blocks.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from mergelang.ops.expr import BLOCK, ROWS
from mergelang.plan.cost import matrix
from mergelang.run.device import random
from mergelang.run.machine import Choice, Frame
from mergelang.run.tape import Slot, Step

AT_ONCE = 1 << 22
"""Elements that are sorted or looked through at a time, since it takes many bytes an element."""

BINARY = {
    "add": torch.add, "sub": torch.sub, "mul": torch.mul, "div": torch.div, "lt": torch.lt,
    "le": torch.le, "eq": torch.eq, "and": torch.logical_and, "or": torch.logical_or,
}  # fmt: skip
UNARY = {
    "neg": torch.neg, "abs": torch.abs, "sign": torch.sign, "not": torch.logical_not,
}  # fmt: skip


def take(
    step: Step, start: int, b: Sequence[torch.Tensor], m: Sequence[torch.Tensor], frame: Frame,
    device: Any,
) -> None:  # fmt: skip
    """Takes one step, on blocks `b` and masks `m` that begin at element `start` of the tensor."""
    out = (b if step.kind == BLOCK else m)[step.out]
    match step.op:
        case "keep":
            draw, share = step.attr
            random.keep(frame.stream(draw), share, start, out)
        case "uniform":
            random.uniform(frame.stream(step.attr), start, out)
        case "noise":
            random.noise(frame.stream(step.attr), start, out)
        case "band":
            low, high = (min(max(each - start, 0), len(out)) for each in step.attr)
            out.zero_()[low:high] = True
        case "fill":
            out.fill_(step.attr if out.dtype == torch.bool else number(step.attr, out))
        case "spread":
            _spread(step.args[0], step.attr, frame.shape, start, out)
        case "rank":
            _rank(b[step.args[0]], matrix(ROWS, frame.shape)[1], out)
        case "chosen":
            _chosen(b[step.args[0]], step.args[1], start, out)
        case "where":
            condition, *values = step.args
            yes, no = (b[x] if isinstance(x, Slot) else number(x, out) for x in values)
            torch.where(m[condition], yes, no, out=out)
        case "sqrt":
            device.sqrt(b[step.args[0]], out)
        case op:
            pool = m if op in ("and", "or", "not") else b
            args = [pool[x] if isinstance(x, Slot) else number(x, b[0]) for x in step.args]
            (UNARY if op in UNARY else BINARY)[op](*args, out=out)


def number(value: float, like: torch.Tensor) -> torch.Tensor:
    """A number where a block lies, rounded to its dtype; beyond it infinite."""
    if like.dtype == torch.float32:
        with np.errstate(over="ignore"):
            value = float(np.float32(value))
    return torch.full((), value, dtype=like.dtype, device=like.device)


def magnitudes(block: torch.Tensor) -> torch.Tensor:
    """The bits of the magnitudes of a block, as integers, which are in the same order."""
    kind = torch.int64 if block.dtype == torch.float64 else torch.int32
    return block.view(kind) & torch.iinfo(kind).max


def _spread(
    numbers: Any, kind: str, shape: tuple[int, ...], start: int, out: torch.Tensor
) -> None:
    """The number of its row or column for each element, rounded to the dtype of `out`."""
    width = matrix(kind, shape)[1]
    view = out.view(-1, width)
    numbers = np.asarray(numbers, dtype=np.float64)
    if kind == ROWS and numbers.ndim:
        first = start // width
        numbers = numbers[first : first + len(view), None]
    view.copy_(torch.from_numpy(numbers).to(out.device).to(out.dtype))


def _rank(x: torch.Tensor, width: int, out: torch.Tensor) -> None:
    """Places of the magnitudes within their rows, ascending; equal ones in falling position."""
    at_once = max(1, AT_ONCE // width) * width
    places = torch.arange(width, dtype=out.dtype, device=out.device)
    for part, ranks in zip(x.split(at_once), out.split(at_once), strict=True):
        backwards = magnitudes(part).view(-1, width).flip(1)
        order = torch.sort(backwards, dim=1, stable=True).indices
        order = order.neg_().add_(width - 1)
        ranks.view(-1, width).scatter_(1, order, places.expand(order.shape))


def _chosen(x: torch.Tensor, choice: Choice, start: int, out: torch.Tensor) -> None:
    """What a selection chose of a block: see `Choice`."""
    size, threshold = x.abs(), number(choice.threshold, x)
    before = min(max(choice.cut - start, 0), len(out))
    torch.ge(size[:before], threshold, out=out[:before])
    torch.gt(size[before:], threshold, out=out[before:])
    left = choice.quota if start <= choice.cut else 0
    for at in range(before, len(out) if left else 0, AT_ONCE):
        ties = (size[at : at + AT_ONCE] == threshold).nonzero().flatten()[:left]
        out[ties + at] = True
        left -= len(ties)
        if not left:
            break
