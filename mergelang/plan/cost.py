"""What evaluating one expression takes: passes, bytes read, whole tensors and rows held."""

from functools import lru_cache
from math import prod

from mergelang.ops.expr import BLOCK, COLUMNS, MASK, ROWS, SELECTIONS, Expr, Extent
from mergelang.ops.rows import Rows
from mergelang.plan.passes import NOTHING, readers, targets, turns
from mergelang.tensors import DTYPES, TensorType

ROW_BLOCK = 1 << 17
"""Elements that a block of whole rows has at most, unless a single row is longer."""

SAMPLED_FROM = 1 << 18
"""Elements of a tensor from which on a selection looks at a sample before its pass."""

TILE = 1 << 19
"""Elements of a low-rank product that are computed at a time: whole rows, unless one is longer."""

GATHERED = 1 << 23
"""Elements that a selection gathers at most, as the plan reckons."""


@lru_cache(maxsize=1024)
def cost(
    root: Expr, type: TensorType, apart: bool = False, given: frozenset[Expr] = NOTHING
) -> tuple[int, int, int]:
    """Passes, bytes read over all passes, and bytes of whole tensors that are held at most.

    Each reduction takes a pass, with all others that are ready, but for those whose outcome is
    `given`. A selection that its sample misled takes two more, which is not reckoned with. With
    `apart` calls on whole tensors take a pass each, and their values wait on the disk.
    """
    wide = is_wide(root)
    held = _called(root, type, apart, given)
    for expr in order(root):
        if expr.op == "factor":
            # As it is stored, and cut into slices of float64.
            held += (4 if wide else 5) * expr.attr[0].type.count
        elif expr.op == "product":
            held += 7 * TILE  # a tile, and three of float64 while it is made
        elif expr.op in SELECTIONS:
            held += min(type.count, GATHERED)
    passes, reads = len(turns(root, apart, given)) + 1, _reads(root, type, apart, given)
    return passes, reads, held * (8 if wide else 4)


def _called(root: Expr, type: TensorType, apart: bool, given: frozenset[Expr]) -> int:
    """Elements held at most for calls on whole tensors: of one that is computed its inputs, its
    value and room to work, of one before it the value, while a pass is still to read it."""
    before = turns(root, apart, given)
    last = {expr: numbers[-1] for expr, numbers in readers(root, apart, given).items()}
    most = 0
    for number, turn in enumerate((*before, ())):
        now = sum(_works(expr, type) for expr in turn if expr.op == "whole")
        kept = sum(
            expr.op == "whole" and last[expr] >= number
            for earlier in before[:number] for expr in earlier
        )  # fmt: skip
        most = max(most, now + (0 if apart else kept * type.count))
    return most


def _works(call: Expr, type: TensorType) -> int:
    """Elements that a call on whole tensors holds while it is computed: its inputs, the room that
    it asks for, and of stored tensors themselves and the room for five of float64."""
    files = [arg.attr.type.count for arg in call.args if arg.op == "stored"]
    inputs, room = len(call.args) - len(files), call.attr[2]
    return int((inputs + room) * type.count) + sum(files) + 10 * max(files, default=0)


def _reads(root: Expr, type: TensorType, apart: bool, given: frozenset[Expr]) -> int:
    """Bytes read: each stored tensor in every pass that needs it, samples, and factors once."""
    pieces = sample_pieces(type.count, row_block(root, type))
    total = 0
    before = turns(root, apart, given)
    for turn, blocks in zip((*before, ()), targets(root, apart, given), strict=True):
        stored = [arg for expr in turn for arg in expr.args if arg.op == "stored"]
        total += sum(_nbytes(each) for each in _read_by([*blocks, *stored]))
        if type.count > SAMPLED_FROM:
            chosen = [arg for expr in turn if expr.op in SELECTIONS for arg in expr.args]
            sampled = _read_by(chosen)
            total += sum(_nbytes(each, *piece) for each in sampled for piece in pieces)
    factors = (expr for expr in order(root) if expr.op in ("factor", "vector"))
    once = {extent for expr in factors for extent in stored_by(expr)}
    return total + sum(extent.type.nbytes for extent in once)


def _nbytes(stored: Extent | Rows, start: int = 0, count: int | None = None) -> int:
    """Bytes read for some elements, by default for all."""
    if isinstance(stored, Rows):
        return stored.nbytes(start, stored.elements if count is None else count)
    return (stored.type.count if count is None else count) * DTYPES[stored.type.dtype]


def _read_by(targets: list[Expr]) -> set[Extent | Rows]:
    """What a pass reads to evaluate some expressions."""
    found: set[Extent | Rows] = set()
    stack, seen = list(targets), set()
    while stack:
        expr = stack.pop()
        if expr in seen:
            continue
        seen.add(expr)
        if expr.op in ("load", "stored", "gather"):
            found.add(expr.attr)
        elif expr.op != "whole" and expr.kind in (BLOCK, MASK):
            stack.extend(expr.args)
    return found


def sample_pieces(count: int, rows: int) -> list[tuple[int, int]]:
    """Starts and sizes of the pieces of a tensor of `count` elements that a sample is made of.

    `rows`: elements of a block where rows have to stay together, which the pieces then are.
    """
    size = rows or 1 << 11
    blocks = -(-count // size)
    pieces = 8 if rows else 32
    starts = {i * (blocks - 1) // (pieces - 1) * size for i in range(pieces)}
    return [(start, min(size, count - start)) for start in sorted(starts)]


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


@lru_cache(maxsize=1024)
def loads(root: Expr) -> tuple[Extent, ...]:
    """The stored tensors of an expression, each once."""
    return tuple(dict.fromkeys(each for expr in order(root) for each in stored_by(expr)))


def stored_by(expr: Expr) -> tuple[Extent, ...]:
    """The stored tensors that an expression itself reads."""
    if expr.op in ("load", "stored", "vector"):
        return (expr.attr,)
    if expr.op == "gather":
        return expr.attr.tables
    return expr.attr[:1] if expr.op == "factor" else ()


@lru_cache(maxsize=1024)
def is_wide(root: Expr) -> bool:
    """Whether arithmetic is float64: an input is."""
    return any(extent.type.dtype == "F64" for extent in loads(root))


@lru_cache(maxsize=4096)
def matrix(kind: str, shape: tuple[int, ...]) -> tuple[int, int]:
    """Rows and columns of the matrix whose ROWS or COLUMNS are numbered."""
    if kind == COLUMNS:
        return prod(shape[:1]), prod(shape[1:])
    return prod(shape[:-1]), prod(shape[-1:])


@lru_cache(maxsize=1024)
def row_block(root: Expr, type: TensorType) -> int:
    """Elements of a block where rows have to stay together, whole rows of them; 0 where not.

    It depends on the expression and the shape alone: sums over rows depend on it.
    """
    kinds = {COLUMNS if expr.kind == COLUMNS else ROWS for expr in order(root)
             if expr.kind in (ROWS, COLUMNS) or expr.op == "rank"}  # fmt: skip
    width = max((matrix(kind, type.shape)[1] for kind in kinds), default=0)
    return max(1, ROW_BLOCK // width) * width if width else 0
