"""What evaluating one expression takes: passes, bytes read, whole tensors and rows held."""

from collections.abc import Mapping
from math import prod

from mergelang.ops.expr import BLOCK, COLUMNS, MASK, REDUCTIONS, ROWS, Expr, Extent
from mergelang.tensors import TensorType

ROW_BLOCK = 1 << 16
"""Elements that a block of whole rows has at most, unless a single row is longer."""


def cost(root: Expr, type: TensorType) -> tuple[int, int, int]:
    """Passes, bytes read over all passes, and bytes of whole tensors that are held, each at most.

    A selection reckons with a tie that has to be cut: without one it takes a pass less.
    """
    wide = any(extent.type.dtype == "F64" for extent in loads(root))
    ready: dict[Expr, int] = {}  # the number of passes after which an expression can be evaluated
    held = 0
    for expr in order(root):
        after = max((ready[arg] for arg in expr.args), default=0)
        if expr.op == "whole":
            files = [arg.attr.type.count for arg in expr.args if arg.op == "stored"]
            held += (len(expr.args) - len(files) + 2) * type.count + 3 * sum(files)
            after += 1
        elif expr.op in REDUCTIONS:
            after += _turns(expr, wide)
        ready[expr] = after
    passes = ready[root] + 1
    # A stored tensor is read in each pass that needs it: the last one of its users counts on.
    reads = sum(
        extent.type.nbytes * len(turns) for extent, turns in _uses(root, ready, passes).items()
    )
    return passes, reads, held * (8 if wide else 4)


def _turns(expr: Expr, wide: bool) -> int:
    """Passes of one reduction. A selection takes one for each 16 bits of the numbers, and `top` one
    more for ties."""
    if expr.op not in ("top", "kth"):
        return 1
    return (4 if wide else 2) + (expr.op == "top")


def _uses(root: Expr, ready: Mapping[Expr, int], passes: int) -> dict[Extent, set[int]]:
    """For each stored tensor the passes in which it is read."""
    uses: dict[Extent, set[int]] = {}

    def mark(targets: tuple[Expr, ...], turns: range) -> None:
        stack, seen = list(targets), set()
        while stack:
            expr = stack.pop()
            if expr in seen:
                continue
            seen.add(expr)
            if expr.op in ("load", "stored"):
                uses.setdefault(expr.attr, set()).update(turns)
            elif expr.op != "whole" and expr.kind in (BLOCK, MASK):
                stack.extend(expr.args)

    mark((root,), range(passes - 1, passes))
    for expr in ready:
        if expr.op == "whole" or expr.op in REDUCTIONS:
            start = max((ready[arg] for arg in expr.args), default=0)
            mark(expr.args, range(start, ready[expr]))
    return uses


def order(root: Expr) -> list[Expr]:
    """All expressions below one and itself, inner ones first, each once."""
    seen: set[Expr] = set()
    result = []
    stack = [(root, False)]
    while stack:
        expr, done = stack.pop()
        if done:
            result.append(expr)
        elif expr not in seen:
            seen.add(expr)
            stack.append((expr, True))
            stack.extend((arg, False) for arg in expr.args)
    return result


def loads(root: Expr) -> list[Extent]:
    """The stored tensors of an expression, each once."""
    return [expr.attr for expr in order(root) if expr.op in ("load", "stored")]


def matrix(kind: str, shape: tuple[int, ...]) -> tuple[int, int]:
    """Rows and columns of the matrix whose ROWS or COLUMNS are numbered."""
    if kind == COLUMNS:
        return prod(shape[:1]), prod(shape[1:])
    return prod(shape[:-1]), prod(shape[-1:])


def row_block(root: Expr, type: TensorType) -> int:
    """Elements of a block where rows have to stay together, whole rows of them; 0 where not.

    It hangs on the expression and the shape alone: sums over rows depend on it.
    """
    kinds = {COLUMNS if expr.kind == COLUMNS else ROWS for expr in order(root)
             if expr.kind in (ROWS, COLUMNS) or expr.op == "rank"}  # fmt: skip
    width = max((matrix(kind, type.shape)[1] for kind in kinds), default=0)
    return max(1, ROW_BLOCK // width) * width if width else 0
