"""A pass of a tape as a program for the built code: its steps as numbers.

The built code takes over what works element by element on float32, and the sums of whole units;
steps that it does not know and that need no other block (stored float32, rows, whole tensors) are
given to it as blocks. `reference.py` says what each step means; the bytes are the same.
"""

from collections.abc import Sequence
from functools import lru_cache
from itertools import combinations_with_replacement
from typing import Any, NamedTuple

import numpy as np

from mergelang.ops.expr import BLOCK, MASK, ROWS, Draw, Expr
from mergelang.plan.cost import is_wide, matrix, order, row_block
from mergelang.run import compiler
from mergelang.run.stream import threshold
from mergelang.run.tape import Slot, Step, Tape
from mergelang.tensors import TensorType

MOST = 4
"""Vectors of which all dots are summed at once."""

LONGEST = (1 << 16) - 1
"""Elements of the longest row whose elements can be ranked: rows are read in pairs."""

_OPERATIONS = (
    "load", "load_half", "store", "store_half", "fill", "keep", "uniform", "where",
    "chosen_from", "chosen_above", "chosen_some", "add", "sub", "mul", "div", "lt", "le", "eq",
    "neg", "abs", "sign", "sqrt", "and", "or", "not", "fill_mask", "dot", "sum",
    "rank",
)  # fmt: skip
"""The operations of `native.c`, in its order."""

CODES = {op: code for code, op in enumerate(_OPERATIONS)}

_STEP = np.dtype(
    [("op", "i4"), ("out", "i4"), ("a", "i4"), ("b", "i4"), ("c", "i4"), ("x", "f4"), ("y", "f4"),
     ("share", "u4"), ("low", "u8"), ("high", "u8")],
    align=True,
)  # fmt: skip

GIVEN = frozenset({"load", "gather", "whole", "spread", "product", "noise"})
"""What needs no other block: it can be computed before the steps that need it."""

_LOADS = {"BF16": "load", "F16": "load_half"}
_STORES = {"BF16": "store", "F16": "store_half"}

INFINITE = {"BF16": 0x7F80, "F16": 0x7C00}
"""The bits of a stored number that is infinite; those of finite magnitudes lie below."""


class Program(NamedTuple):
    """The steps of one pass. Blocks from `tape.blocks` on are `given`, one for each of those steps;
    `loads` are stored in two bytes. Of the tape's `numbers` each of `x` and `y` is a step that has
    one as this operand, and which; each of `choices` a step that chooses by one, and which: its
    operation depends on the block. `draws` are the steps whose random stream depends on the tensor,
    `ranks` those that go row by row. `full` are the blocks and masks that are held whole, not a
    strip at a time.

    `results` are the blocks and masks of the tape's targets but for those of sums, in order;
    `sums` how many sums there are; `stores` whether the root is stored in two bytes. `infinite` are
    the bits of infinity of each load, and last of what is stored. Where all sums are dots of a few
    `vectors`, stored ones or differences of two, these are the loads of each, -1 for no second one,
    and `dots` the number of the sum of each pair, -1 for none.
    """

    steps: np.ndarray
    given: tuple[Step, ...]
    loads: tuple[Step, ...]
    choices: tuple[tuple[int, int], ...]
    x: tuple[tuple[int, int], ...]
    y: tuple[tuple[int, int], ...]
    draws: tuple[tuple[int, Draw], ...]
    ranks: tuple[int, ...]
    numbers: tuple[Expr, ...]
    results: tuple[tuple[str, int], ...]
    full: tuple[frozenset[int], frozenset[int]]
    blocks: int
    masks: int
    sums: int
    stores: bool
    infinite: np.ndarray
    vectors: np.ndarray
    dots: np.ndarray

    @property
    def flows(self) -> bool:
        """Whether nothing is held of what goes through but its sums: any number of elements can."""
        return not (self.stores or any(self.full))


def program(
    tape: Tape, sums: Sequence[tuple[str, Sequence[int]]] = (), dtype: str = ""
) -> Program | None:
    """The program of a tape, or None where the built code cannot run it.

    `sums` are the operation (`sum` or `dot`) of each sum and which of the tape's results it adds
    up: those are gathered strip by strip. `dtype` is that of the only result, where it is stored.
    """
    if compiler.library() is None or not all(map(_known, tape.steps)):
        return None
    made = _Encoder(tape)
    for step in tape.steps:
        made.add(step)
    targets = zip(tape.kinds, tape.results, strict=True)
    results = [(kind, made.place(kind, slot)) for kind, slot in targets]
    for number, (op, operands) in enumerate(sums):
        made.row(op, number, *(results[i][1] for i in operands))
    stores = dtype in _STORES
    if stores:
        made.row(_STORES[dtype], 0, results[0][1])
    summed = {i for _, operands in sums for i in operands}
    kept = () if stores else tuple(each for i, each in enumerate(results) if i not in summed)
    for kind, slot in kept:
        made.full[kind].add(slot)
    stored = [*(each.attr.type.dtype for each in made.loads), dtype if stores else "BF16"]
    return Program(
        np.array(made.rows, dtype=_STEP), tuple(made.given), tuple(made.loads),
        tuple(made.choices), tuple(made.x), tuple(made.y), tuple(made.draws), tuple(made.ranks),
        tape.numbers, kept, (frozenset(made.full[BLOCK]), frozenset(made.full[MASK])),
        tape.blocks + len(made.given), tape.masks, len(sums), stores,
        np.array([INFINITE[each] for each in stored], np.uint32), *_vectors(tape, sums),
    )  # fmt: skip


class _Encoder:
    """The parts of a program that grow step by step, by the names that they have there."""

    def __init__(self, tape: Tape):
        self.rows: list[tuple[Any, ...]] = []
        self.given: list[Step] = []
        self.loads: list[Step] = []
        self.choices: list[tuple[int, int]] = []
        self.x: list[tuple[int, int]] = []
        self.y: list[tuple[int, int]] = []
        self.draws: list[tuple[int, Draw]] = []
        self.ranks: list[int] = []
        self.full: dict[str, set[int]] = {BLOCK: set(), MASK: set()}
        self._blocks = tape.blocks
        self._number = {expr: at for at, expr in enumerate(tape.numbers)}
        self._made: dict[str, set[int]] = {BLOCK: set(), MASK: set()}  # since the last step by rows
        self._given_at: dict[int, int] = {}  # the block of a slot whose step is given

    def place(self, kind: str, slot: int) -> int:
        """The block or mask that holds a slot. One that was made before a step by rows is held
        whole: that step goes through all strips before the next one does."""
        found = self._given_at.get(slot, slot) if kind == BLOCK else slot
        if found not in self._made[kind]:
            self.full[kind].add(found)
        return found

    def row(
        self, op: str, out: int, a: int = -1, b: int = -1, c: int = -1, *,
        x: float = 0, y: float = 0, share: int = 0,
    ) -> None:  # fmt: skip
        with np.errstate(over="ignore"):  # a number beyond float32 is infinite
            numbers = np.float32(x), np.float32(y)
        self.rows.append((CODES[op], out, a, b, c, *numbers, share, 0, 0))

    def add(self, step: Step) -> None:
        args = self._places(step)
        if step.op in GIVEN and not _loaded(step):
            self._given_at[step.out] = self._blocks + len(self.given)
            self.full[BLOCK].add(self._given_at[step.out])
            self.given.append(step)
            return
        if step.kind == BLOCK:
            self._given_at.pop(step.out, None)
        if step.op == "rank":
            self.full[BLOCK] |= {args[0], step.out}
            self._made = {BLOCK: set(), MASK: set()}
            self.ranks.append(len(self.rows))
            self.row("rank", step.out, args[0])
            return
        self._made[step.kind].add(step.out)
        self._elementwise(step, args)

    def _places(self, step: Step) -> list[Any]:
        """The arguments of a step, places for slots."""
        pool = MASK if step.op in ("and", "or", "not") else BLOCK
        kinds = [MASK if step.op == "where" and i == 0 else pool for i in range(len(step.args))]
        return [
            self.place(kind, arg) if isinstance(arg, Slot) else arg
            for kind, arg in zip(kinds, step.args, strict=True)
        ]

    def _elementwise(self, step: Step, args: list[Any]) -> None:
        op, out, at = step.op, step.out, len(self.rows)
        if op == "load":
            self.row(_LOADS[step.attr.type.dtype], out, len(self.loads))
            self.loads.append(step)
        elif op == "chosen":
            self.choices.append((at, self._number[args[1]]))
            self.row("chosen_from", out, args[0])
        elif op == "keep":
            draw, density = step.attr
            self.draws.append((at, draw))
            self.row(op, out, share=threshold(density))
        elif op == "uniform":
            self.draws.append((at, step.attr))
            self.row(op, out)
        elif op == "fill" and step.kind == MASK:
            self.row("fill_mask", out, int(step.attr))
        elif op == "fill":
            self.row(op, out, x=step.attr)
        else:
            mask = [args.pop(0)] if op == "where" else []
            for found, arg in zip((self.x, self.y), args, strict=False):
                if isinstance(arg, Expr):
                    found.append((at, self._number[arg]))
            slots = [arg if isinstance(arg, int) else -1 for arg in args]
            numbers = [0.0 if isinstance(arg, (int, Expr)) else float(arg) for arg in args]
            x, y = (*numbers, 0.0, 0.0)[:2]
            self.row(op, out, *mask, *slots, x=x, y=y)


def _vectors(
    tape: Tape, sums: Sequence[tuple[str, Sequence[int]]]
) -> tuple[np.ndarray, np.ndarray]:
    """`vectors` and `dots` of a program, empty where not all sums are dots of a few vectors."""
    none = np.empty((0, 2), np.int32), np.empty(0, np.int32)
    made: dict[int, tuple[int, int]] = {}
    loads = 0
    for step in tape.steps:
        known = [made.get(arg) for arg in step.args if isinstance(arg, Slot)]
        if step.op == "load" and step.attr.type.dtype == "BF16":
            made[step.out] = loads, -1
            loads += 1
        elif step.op == "sub" and len(known) == 2 and all(x and x[1] < 0 for x in known):
            made[step.out] = known[0][0], known[1][0]
        else:
            return none
    pairs: dict[tuple[tuple[int, int], ...], int] = {}
    for number, (op, operands) in enumerate(sums):
        if op != "dot":
            return none
        pairs[tuple(sorted(made[tape.results[i]] for i in operands))] = number
    if len(tape.results) > 2 * len(sums):  # something else than sums looks at blocks, too
        return none
    vectors = sorted({vector for pair in pairs for vector in pair})
    wanted = list(combinations_with_replacement(vectors, 2))
    if not 0 < len(vectors) <= MOST or not len(wanted) <= 2 * len(pairs) == 2 * len(sums):
        return none
    dots = [pairs.get(pair, -1) for pair in wanted]
    return np.array(vectors, np.int32), np.array(dots, np.int32)


def takes_rows(block: int, shape: tuple[int, ...]) -> bool:
    """Whether the built code can go through blocks of whole rows, of this many elements; 0: of any
    elements."""
    return not block or (block % 2 == 0 and matrix(ROWS, shape)[1] <= LONGEST)


@lru_cache(maxsize=512)
def needs_torch(root: Expr, type: TensorType) -> bool:
    """Whether some pass over a tensor has to be run by `reference.py`, or a function of torch."""
    alien = {"band", "factor", "product", "rowwise", "whole"}
    return (
        compiler.library() is None or is_wide(root) or type.dtype == "F64"
        or not takes_rows(row_block(root, type), type.shape)
        or any(expr.op in alien for expr in order(root))
    )  # fmt: skip


def _loaded(step: Step) -> bool:
    return step.op == "load" and step.attr.type.dtype in _LOADS


def _known(step: Step) -> bool:
    return step.op in CODES or step.op in GIVEN or step.op == "chosen"
