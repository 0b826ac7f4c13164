"""A pass of a tape for the built code: its steps as numbers, its buffers as addresses.

Takes over what works element by element on float32, and the sums of whole units; steps that it does
not know and that need no other block (stored float32, rows, whole tensors) are given to it as
blocks. `reference.py` says what each step means; the bytes are the same.
"""

import ctypes
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from itertools import combinations_with_replacement
from typing import Any, NamedTuple

import numpy as np

from mergelang.ops.expr import BLOCK, MASK, ROWS, Draw, Expr
from mergelang.plan.cost import is_wide, matrix, order, row_block
from mergelang.run.compiler import library
from mergelang.run.tape import Slot, Step, Tape, open_arguments, with_numbers
from mergelang.tensors import TensorType

STRIP = 1 << 10

MOST = 4
"""Vectors of which all dots are summed at once."""

READ = 1 << 16
"""Elements of each stored tensor that are read at a time."""

READY = 16
"""Programs that a thread keeps ready: those of the passes over tensors of a few patterns."""

LONGEST = (1 << 16) - 1
"""Elements of the longest row whose elements can be ranked: rows are read in pairs."""

_OPS = (
    "load", "load_half", "store", "store_half", "fill", "keep", "uniform", "where",
    "chosen_from", "chosen_above", "chosen_some", "add", "sub", "mul", "div", "lt", "le", "eq",
    "gt", "ge", "neg", "abs", "sign", "sqrt", "and", "or", "not", "fill_mask", "dot", "sum",
    "rank",
)  # fmt: skip
"""The operations of `native.c`, in its order."""

_CODES = {op: code for code, op in enumerate(_OPS)}

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
    if library() is None or any(not _known(step) for step in tape.steps):
        return None
    rows: list[tuple[Any, ...]] = []
    given: list[Step] = []
    loads: list[Step] = []
    choices: list[tuple[int, int]] = []
    operands: tuple[list[tuple[int, int]], list[tuple[int, int]]] = ([], [])
    number = {expr: at for at, expr in enumerate(tape.numbers)}
    draws: list[tuple[int, Draw]] = []
    ranks: list[int] = []
    full: dict[str, set[int]] = {BLOCK: set(), MASK: set()}
    made: dict[str, set[int]] = {BLOCK: set(), MASK: set()}  # since the last step by rows
    where: dict[str, dict[int, int]] = {BLOCK: {}, MASK: {}}  # a block that is given has its own

    def place(kind: str, slot: int) -> int:
        found = where[kind].get(slot, slot)
        if found not in made[kind]:
            full[kind].add(found)
        return found

    for step in tape.steps:
        pool = MASK if step.op in ("and", "or", "not") else BLOCK
        kinds = [MASK if step.op == "where" and i == 0 else pool for i in range(len(step.args))]
        args = [
            place(kind, arg) if isinstance(arg, Slot) else arg
            for kind, arg in zip(kinds, step.args, strict=True)
        ]
        if step.op in GIVEN and not _loaded(step):
            where[BLOCK][step.out] = tape.blocks + len(given)
            given.append(step)
            continue
        where[step.kind].pop(step.out, None)
        if step.op == "rank":
            full[BLOCK] |= {args[0], step.out}
            made = {BLOCK: set(), MASK: set()}
            ranks.append(len(rows))
            rows.append(_row("rank", step.out, a=args[0]))
            continue
        made[step.kind].add(step.out)
        if step.op == "load":
            rows.append(_row(_LOADS[step.attr.type.dtype], step.out, a=len(loads)))
            loads.append(step)
        elif step.op == "chosen":
            choices.append((len(rows), number[step.args[1]]))
            rows.append(_row("chosen_from", step.out, a=args[0]))
        else:
            if step.op in ("keep", "uniform"):
                draws.append((len(rows), step.attr[0] if step.op == "keep" else step.attr))
            for found, arg in zip(operands, args[step.op == "where" :], strict=False):
                if isinstance(arg, Expr):
                    found.append((len(rows), number[arg]))
            rows.append(_encoded(step, args))
    results = [(kind, place(kind, s)) for s, kind in zip(tape.results, tape.kinds, strict=True)]
    summed = {number for _, numbers in sums for number in numbers}
    for number, (op, numbers) in enumerate(sums):
        a, b = (*(results[i][1] for i in numbers), -1)[:2]
        rows.append(_row(op, number, a=a, b=b))
    stores = dtype in _STORES
    if stores:
        rows.append(_row(_STORES[dtype], 0, a=results[0][1]))
        results = []
    stored = [*(each.attr.type.dtype for each in loads), dtype if stores else "BF16"]
    kept = [each for i, each in enumerate(results) if i not in summed]
    for kind, slot in kept:
        full[kind].add(slot)
    full[BLOCK] |= set(range(tape.blocks, tape.blocks + len(given)))
    return Program(
        np.array(rows, dtype=_STEP), tuple(given), tuple(loads), tuple(choices),
        tuple(operands[0]), tuple(operands[1]), tuple(draws),
        tuple(ranks), tape.numbers, tuple(kept), (frozenset(full[BLOCK]), frozenset(full[MASK])),
        tape.blocks + len(given), tape.masks, len(sums), stores,
        np.array([INFINITE[each] for each in stored], np.uint32), *_vectors(tape, sums),
    )  # fmt: skip


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
        library() is None or is_wide(root) or not takes_rows(row_block(root, type), type.shape)
        or type.dtype == "F64" or any(expr.op in alien for expr in order(root))
    )  # fmt: skip


def _loaded(step: Step) -> bool:
    return step.op == "load" and step.attr.type.dtype in _LOADS


def _known(step: Step) -> bool:
    return step.op in _CODES or step.op in GIVEN or step.op == "chosen"


def _row(
    op: str, out: int, a: int = -1, b: int = -1, c: int = -1, x: float = 0, y: float = 0,
    share: int = 0,
) -> tuple[Any, ...]:  # fmt: skip
    with np.errstate(over="ignore"):  # a number beyond float32 is infinite
        return _CODES[op], out, a, b, c, np.float32(x), np.float32(y), share, 0, 0


def _encoded(step: Step, args: list[Any]) -> tuple[Any, ...]:
    op, out = step.op, step.out
    if op == "fill":
        return _row(op, out, x=step.attr) if step.kind == BLOCK else _row(
            "fill_mask", out, a=int(step.attr)
        )
    if op == "keep":
        return _row(op, out, share=min(max(round(step.attr[1] * 2**32), 1), 2**32 - 1))
    if op == "uniform":
        return _row(op, out)
    mask = [args.pop(0)] if op == "where" else []
    slots = [arg if isinstance(arg, int) else -1 for arg in args]
    numbers = [0.0 if isinstance(arg, (int, Expr)) else float(arg) for arg in args]
    x, y = (*numbers, 0.0, 0.0)[:2]
    a, b, c = (*mask, *slots, -1, -1)[:3]
    return _row(op, out, a, b, c, x, y)


class _Pass(ctypes.Structure):
    _fields_ = (
        ("steps", ctypes.c_void_p), ("count_of_steps", ctypes.c_int64),
        ("blocks", ctypes.c_void_p), ("blocks_move", ctypes.c_void_p),
        ("masks", ctypes.c_void_p), ("masks_move", ctypes.c_void_p),
        ("loads", ctypes.c_void_p), ("files", ctypes.c_void_p),
        ("offsets", ctypes.c_void_p), ("largest", ctypes.c_void_p),
        ("sums", ctypes.c_void_p), ("rows", ctypes.c_void_p),
        ("stored", ctypes.c_void_p), ("count_of_loads", ctypes.c_int64),
        ("scratch", ctypes.c_void_p), ("vectors", ctypes.c_void_p), ("dots", ctypes.c_void_p),
        ("count_of_vectors", ctypes.c_int64), ("read", ctypes.c_int64),
        ("failed", ctypes.c_int64), ("error", ctypes.c_int64),
    )  # fmt: skip


class Failed(NamedTuple):
    """A read that failed: of which load, at which byte of its file, and the number of the error; 0
    where the file has ended."""

    load: int
    at: int
    error: int


class _Bound:
    """A program with the buffers of a runner, and what it was made ready for last."""

    def __init__(self, made: Program, handed: _Pass, arrays: tuple[np.ndarray, ...], held: Any):
        self.made, self.handed, self.arrays, self.held = made, handed, arrays, held
        steps, *_, self.files, self.offsets, self.largest, self.sums, _ = arrays
        self.op, self.x, self.y, self.low, self.high = (
            steps[name] for name in ("op", "x", "y", "low", "high")
        )
        self.choices: tuple[tuple[int, Any], ...] = ()
        self.numbers: Sequence[Any] | None = None
        self.given = made.given

    def take(self, numbers: Sequence[Any]) -> None:
        """Puts the numbers of a tape into its steps."""
        made, self.numbers = self.made, numbers
        if not made.numbers:
            return
        with np.errstate(over="ignore"):  # a number beyond float32 is infinite
            for row, at in made.x:
                self.x[row] = numbers[at]
            for row, at in made.y:
                self.y[row] = numbers[at]
        if any(map(open_arguments, made.given)):
            self.given = with_numbers(made.given, dict(zip(made.numbers, numbers, strict=True)))
        self.choices = tuple((row, numbers[at]) for row, at in made.choices)
        for row, choice in self.choices:
            self.x[row] = choice.threshold

    def let_go(self) -> None:
        """Keeps no numbers: among them are factors and vectors, as large as their tensors have."""
        self.numbers, self.given, self.choices = None, self.made.given, ()


class Runner:
    """The buffers of one thread for programs. `block`: the most elements at a time."""

    def __init__(self, block: int):
        self._block = block
        self._whole: list[np.ndarray] = []
        self._masks: list[np.ndarray] = []
        self._strips = np.empty(0, np.float32)
        self._short = np.empty(0, np.uint8)
        self._raw: list[np.ndarray] = []
        self._scratch = np.empty(0, np.uint32)
        self.stored = np.empty(block, np.uint16)
        self._ready: dict[int, _Bound] = {}
        self._now: Any = None

    def bind(
        self, made: Program, numbers: Sequence[Any], stream: Callable[[Draw], bytes], width: int
    ) -> None:
        """Makes ready for blocks of a program; at once if it is made ready for these `numbers`, an
        object of its own for each pass over a tensor.

        `stream` names the random streams of a tensor, `width` is that of its rows; they are asked
        for once.
        """
        bound = self._ready.get(id(made)) or self._make_ready(made)
        if self._now is not None and self._now is not bound:
            self._now.let_go()
        self._now = bound
        if made.ranks:
            if len(self._scratch) < 2 * width:
                self._scratch = np.empty(2 * width, np.uint32)
            bound.handed.scratch = self._scratch.ctypes.data
        if bound.numbers is numbers:
            return
        bound.take(numbers)
        for row, draw in made.draws:
            name = stream(draw)
            bound.low[row] = int.from_bytes(name[:8], "little")
            bound.high[row] = int.from_bytes(name[8:], "little")
        for row in made.ranks:
            bound.low[row] = width

    def _make_ready(self, made: Program) -> _Bound:
        """Buffers for a program: those of others, too, of which only one runs at a time."""
        if len(self._ready) >= READY:
            self._ready.clear()
        held: dict[tuple[str, int], np.ndarray] = {}
        floats, moves = self._addresses(made.blocks, made.full[0], BLOCK, held)
        bytes_, masks_move = self._addresses(made.masks, made.full[1], MASK, held)
        length = 2 * READ if made.ranks else READ
        if self._raw and len(self._raw[0]) < length:
            self._raw.clear()
            self._ready.clear()  # their buffers were elsewhere
        while len(self._raw) < len(made.loads):
            self._raw.append(np.empty(length, np.uint16))
        loads = np.array([each.ctypes.data for each in self._raw], np.uint64)
        files, offsets = (np.zeros(len(made.loads), dtype) for dtype in (np.int32, np.int64))
        largest = np.zeros(len(made.loads) + 1, np.uint32)
        sums = np.zeros(max(1, made.sums), np.uint64)
        rows = np.empty(max(1, made.sums) * STRIP)
        steps = made.steps.copy()
        arrays = (
            steps, floats, moves, bytes_, masks_move, loads, files, offsets, largest, sums, rows,
        )  # fmt: skip
        first, *rest = (each.ctypes.data for each in arrays)
        handed = _Pass(
            first, len(steps), *rest,
            self.stored.ctypes.data, len(made.loads), self._scratch.ctypes.data,
            made.vectors.ctypes.data, made.dots.ctypes.data, len(made.vectors),
        )  # fmt: skip
        bound = self._ready[id(made)] = _Bound(made, handed, arrays, held)
        return bound

    def _addresses(
        self, count: int, full: frozenset[int], kind: str, held: dict[tuple[str, int], np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Where the blocks of a program begin, and whether they move with the strip. Those that are
        held whole are put into `held`."""
        if kind == BLOCK:
            buffers, dtype, width = self._whole, np.float32, 4
            if len(self._strips) < count * STRIP:
                self._strips = np.empty(count * STRIP, np.float32)
                self._ready.clear()  # their strips were elsewhere
            short = self._strips.ctypes.data
        else:
            buffers, dtype, width = self._masks, np.bool_, 1
            if len(self._short) < count * STRIP:
                self._short = np.empty(count * STRIP, np.uint8)
                self._ready.clear()
            short = self._short.ctypes.data
        while len(buffers) < len(full):
            buffers.append(np.empty(self._block, dtype))
        whole = dict(zip(sorted(full), buffers, strict=False))
        held.update({(kind, slot): buffer for slot, buffer in whole.items()})
        begin = [
            whole[i].ctypes.data if i in whole else short + i * STRIP * width for i in range(count)
        ]
        moves = [int(i in whole) for i in range(count)]
        return np.array(begin or [0], np.uint64), np.array(moves or [0], np.int64)

    def given(self, made: Program, count: int) -> Iterator[tuple[Step, np.ndarray]]:
        """The steps that are given, with the block for each."""
        for number, step in enumerate(self._now.given, made.blocks - len(made.given)):
            yield step, self._now.held[BLOCK, number][:count]

    def run(
        self, start: int, count: int, files: Sequence[int], offsets: Sequence[int],
        sums: Sequence[int],
    ) -> np.ndarray | Failed:  # fmt: skip
        """Runs the bound program; what is given stands in its blocks. `files` and `offsets`: the
        descriptor that each load is read from, and where its tensor begins there; `sums`: addresses
        of the lanes of each sum for the first unit of the block.

        Gives the largest magnitude of each load, and last of what was stored, as bits.
        """
        bound = self._now
        for row, choice in bound.choices:
            bound.op[row] = _CODES[
                "chosen_from" if start + count <= choice.cut else
                "chosen_above" if start > choice.cut or not choice.quota else "chosen_some"
            ]  # fmt: skip
            bound.low[row], bound.high[row] = choice.quota, choice.cut
        bound.largest[:] = 0
        bound.files[:], bound.offsets[:], bound.sums[: len(sums)] = files, offsets, sums
        code, handed = library(), bound.handed
        assert code is not None
        load = code.run(ctypes.byref(handed), ctypes.c_uint64(start), ctypes.c_int64(count))
        return bound.largest if load < 0 else Failed(load, handed.failed, handed.error)

    def results(self, made: Program, count: int) -> list[np.ndarray]:
        """The blocks and masks of the targets, after a run."""
        return [self._now.held[each][:count] for each in made.results]


def bracket(
    block: np.ndarray, unit: int, marks: tuple[int, int, int], scratch: np.ndarray
) -> tuple[np.ndarray, np.ndarray] | None:
    """`Machine.bracket` of a float32 block; `scratch` are as many int32. None where the built code
    cannot do it."""
    code, counts = library(), np.zeros((-(-len(block) // unit), 6), np.int64)
    if code is None or block.dtype != np.float32:
        return None
    code.bracket(
        ctypes.c_void_p(block.ctypes.data), ctypes.c_int64(len(block)), ctypes.c_int64(unit),
        *map(ctypes.c_int32, marks), ctypes.c_void_p(counts.ctypes.data),
        ctypes.c_void_p(scratch.ctypes.data),
    )  # fmt: skip
    return counts, scratch[: counts[:, -1].sum()].copy()
