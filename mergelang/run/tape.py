"""From an expression to a tape: the steps of one pass over the blocks, with buffers assigned.

A pass computes some block expressions for each block. The tape lists each step once, whatever the
number of its users (equal sub-expressions are one node), and gives a buffer back at its last use,
so a long chain runs in a handful of buffers that stay in the cache.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from mergelang.ops.expr import BLOCK, MASK, Expr, Extent
from mergelang.plan.cost import stored_by
from mergelang.plan.passes import evaluated


class Step(NamedTuple):
    """One step: `out` is a buffer number; of `args`, a `Slot` is a buffer, a float a scalar, and an
    expression one that is known when the pass begins.

    Blocks and masks are numbered apart. Of a `spread`, the argument is a vector of numbers and
    `attr` says of what: ROWS or COLUMNS.
    """

    op: str
    out: int
    kind: str
    args: tuple[Any, ...]
    attr: Any


class Slot(int):
    """A buffer number, told apart from a number that is data."""


class Tape(NamedTuple):
    """The steps of a pass; `results` are the slots of its targets, in their order, and `numbers`
    what scalars and choices of its steps are the values of."""

    steps: tuple[Step, ...]
    results: tuple[Slot, ...]
    kinds: tuple[str, ...]
    blocks: int
    masks: int
    loads: tuple[Expr, ...]
    numbers: tuple[Expr, ...]

    @property
    def extents(self) -> "set[Extent]":
        """The stored tensors that the pass reads."""
        return {extent for expr in self.loads for extent in stored_by(expr)}

    def with_numbers(self, values: Sequence[Any]) -> "Tape":
        """The tape with these values of its `numbers` in the steps."""
        if not self.numbers:
            return self
        known = dict(zip(self.numbers, values, strict=True))
        return self._replace(steps=with_numbers(self.steps, known), numbers=())


def open_arguments(step: Step) -> bool:
    """Whether a step has arguments that are known only when the pass begins."""
    return any(isinstance(arg, Expr) for arg in step.args)


def with_numbers(steps: Iterable[Step], known: Mapping[Expr, Any]) -> tuple[Step, ...]:
    """Steps with the values of numbers in their places."""
    return tuple(
        step._replace(
            args=tuple(known[arg] if isinstance(arg, Expr) else arg for arg in step.args)
        )
        for step in steps
    )


def compile_pass(targets: tuple[Expr, ...]) -> Tape:
    """The tape of one pass, the same whatever its numbers will be."""
    exprs = evaluated(targets)
    last = {}
    for at, expr in enumerate(exprs):
        for arg in expr.args if expr.op != "whole" else ():
            last[arg] = at
    for target in targets:
        last[target] = len(exprs)
    free: dict[str, list[int]] = {BLOCK: [], MASK: []}
    made = {BLOCK: 0, MASK: 0}
    slots: dict[Expr, Slot] = {}
    numbers: dict[Expr, None] = {}
    steps = []
    for at, expr in enumerate(exprs):
        args: list[Any] = []
        for arg in expr.args if expr.op != "whole" else ():
            if arg.kind in (BLOCK, MASK):
                args.append(slots[arg])
            elif arg.op == "const":
                args.append(arg.attr)
            else:
                numbers[arg] = None
                args.append(arg)
        ending = {a for a in expr.args if last.get(a) == at and a in slots}
        # A buffer whose last reader is this step may be written by it: every op is elementwise.
        reusable = [slots[a] for a in expr.args if a in ending and a.kind == expr.kind]
        if reusable and expr.op not in ("where", "rank"):
            out = reusable[0]
        elif free[expr.kind]:
            out = Slot(free[expr.kind].pop())
        else:
            out = Slot(made[expr.kind])
            made[expr.kind] += 1
        for arg in ending:
            if not (arg.kind == expr.kind and slots[arg] == out):
                free[arg.kind].append(slots[arg])
        slots[expr] = out
        attr: Any = expr.attr
        if expr.op == "whole":
            attr = expr
        elif expr.op == "spread":
            attr = expr.args[0].kind
        steps.append(Step(expr.op, out, expr.kind, tuple(args), attr))
    return Tape(
        tuple(steps),
        tuple(slots[target] for target in targets),
        tuple(target.kind for target in targets),
        made[BLOCK],
        made[MASK],
        tuple(expr for expr in exprs if stored_by(expr)),
        tuple(numbers),
    )
