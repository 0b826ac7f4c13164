"""Programs run by the built code (`native.c`): their buffers, as addresses."""

import ctypes
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from mergelang.ops.expr import BLOCK, MASK, Draw
from mergelang.run import compiler
from mergelang.run.program import CODES, Program
from mergelang.run.tape import Step, open_arguments, with_numbers

STRIP = 1 << 10
"""Elements that go through all steps of a program before the next ones do."""

READ = 1 << 16
"""Elements of each stored tensor that are read at a time."""

READY = 16
"""Programs that a thread keeps ready: those of the passes over tensors of a few patterns."""


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
            bound.op[row] = CODES[
                "chosen_from" if start + count <= choice.cut else
                "chosen_above" if start > choice.cut or not choice.quota else "chosen_some"
            ]  # fmt: skip
            bound.low[row], bound.high[row] = choice.quota, choice.cut
        bound.largest[:] = 0
        bound.files[:], bound.offsets[:], bound.sums[: len(sums)] = files, offsets, sums
        code, handed = compiler.library(), bound.handed
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
    code, counts = compiler.library(), np.zeros((-(-len(block) // unit), 6), np.int64)
    if code is None or block.dtype != np.float32:
        return None
    code.bracket(
        ctypes.c_void_p(block.ctypes.data), ctypes.c_int64(len(block)), ctypes.c_int64(unit),
        *map(ctypes.c_int32, marks), ctypes.c_void_p(counts.ctypes.data),
        ctypes.c_void_p(scratch.ctypes.data),
    )  # fmt: skip
    return counts, scratch[: counts[:, -1].sum()].copy()
