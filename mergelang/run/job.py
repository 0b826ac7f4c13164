"""One output tensor being computed: passes over its blocks until nothing is pending, then bytes.

Each pass computes every reduction whose inputs are known, and keeps only scalars; the last pass
writes. Spans of a pass are independent and may run on any thread in any order.
"""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

import numpy as np

from mergelang.errors import RunError
from mergelang.ops.expr import REDUCTIONS, SCALAR, Expr, Extent
from mergelang.plan.cost import is_wide, row_block, sample_pieces
from mergelang.plan.passes import evaluated, needs, startable
from mergelang.run.finite import nonfinite
from mergelang.run.floats import widen
from mergelang.run.kernel import by_torch, kernel
from mergelang.run.machine import Files, Frame, Machine
from mergelang.run.program import Program, program, takes_rows
from mergelang.run.reduce import UNIT, Sum, reducer, span_of
from mergelang.run.scalars import compute, compute_many
from mergelang.run.spill import Spilled
from mergelang.run.tape import Tape, compile_pass
from mergelang.tensors import DTYPES, UNBOUND, Binding, TensorType

NONE: Mapping[Expr, Any] = MappingProxyType({})

Keep = Callable[[Expr, np.ndarray, float], None]
"""Takes the value of a call on whole tensors (flattened), and the seconds that it took."""


class Sink(Protocol):
    """Takes the bytes of a tensor, span by span, each span in order."""

    def open_span(self, first_byte: int) -> Callable[[memoryview], None]: ...


class Job:
    """The evaluation of `root` into a tensor of type `type`, whose bytes go to `sink`.

    `rows`: the elements of a block of whole rows, where they are not those that `root` asks for:
    of one that reads values from the store, those of the expression without, since the last digits
    of sums depend on them. `keep(expr, value, seconds)` is given the value of each call on whole
    tensors; `dropped` is handed on in the result. `spill`: a folder where such values wait in
    files, and the calls are made one at a time. `known`: the outcomes of some reductions; `wants`:
    those whose outcomes the result tells. With `device` it is computed there, in blocks as large
    as `block` allows.
    """

    def __init__(
        self,
        name: str,
        root: Expr,
        type: TensorType,
        sink: Sink,
        *,
        block: int,
        files: Files,
        binding: Binding = UNBOUND,
        allow_nonfinite: bool = False,
        rows: int | None = None,
        keep: Keep | None = None,
        dropped: int = 0,
        spill: Path | None = None,
        known: Mapping[Expr, Any] = NONE,
        wants: Sequence[Expr] = (),
        device: Any = None,
    ):
        self.name, self.root, self.type, self.sink = name, root, type, sink
        self.binding = binding
        self._rows = row_block(root, type) if rows is None else rows
        self.block = self._rows or block
        if device is not None and self._rows:
            # Sums of columns are added up span by span, in their order: never half a span.
            span = span_of(self._rows)
            self.block = block // span * span or self._rows
        self.files, self._device = files, device
        self.count = type.count
        self.passes, self.dropped, self.seconds = 0, dropped, 0.0
        self._allow, self._keep, self._spill = allow_nonfinite, keep, spill
        self.wide = is_wide(root)
        self.dtype = np.float64 if self.wide else np.float32
        self._needs = needs(root, frozenset(known))
        self._todo = list(self._needs)
        self._known: dict[Expr, Any] = dict(known)
        self._wants = wants
        self._held: dict[Expr, np.ndarray | Spilled] = {}
        self._checked: set[Extent] = set()
        self._begin()

    @property
    def finished(self) -> bool:
        return self._final and self._ended

    @property
    def numbers(self) -> tuple[Any, ...]:
        """What the reductions that are wanted gave; None for one that nothing needed."""
        return tuple(map(self._known.get, self._wants))

    def spans(self) -> range:
        """The numbers of the spans of the current pass."""
        return range(1 if self._sampling else max(1, -(-self.count // self._span)))

    def run_span(self, machine: Machine, number: int) -> None:
        """One span of the current pass."""
        began = time.perf_counter()
        if self._sampling:
            self._sample(machine)
        else:
            self._pass_over(machine, number)
        self.seconds += time.perf_counter() - began  # of two threads at once one may be lost

    def _pass_over(self, machine: Machine, number: int) -> None:
        first = number * self._span
        last = min(self.count, first + self._span)
        for expr in self._tape.loads:
            if expr.op != "load":
                continue
            extent = self.binding.extent(expr.attr)
            size = DTYPES[extent.type.dtype]
            begin, count = extent.offset + first * size, (last - first) * size
            self.files.will_read(extent.path, begin, 2 * count)
        check = self._check_input if self._fresh_extents and not self._allow else None
        frame = Frame(self.binding, self.type.shape, self._held, self._numbers, check)
        write = None
        if self._final:
            write = self.sink.open_span(first * DTYPES[self.type.dtype])
        flows = self._program is not None and self._program.flows
        step = self._span if flows else self.block
        for start in range(first, last, step):
            count = min(step, last - start)
            if self._native(machine, start, count, frame, write):
                continue
            blocks = machine.run(self._with_numbers, start, count, self.dtype, frame)
            if write is not None:
                self._store(machine, blocks[0], start, write)
            else:
                self._add(machine, self._gathers, blocks, start)

    @property
    def _with_numbers(self) -> Tape:
        """The tape of the current pass as it is run step by step."""
        if self._filled is None:
            self._filled = self._tape.with_numbers(self._numbers)
        return self._filled

    def _native(
        self, machine: Machine, start: int, count: int, frame: Frame, write: Any
    ) -> bool:
        """The block by the built code; False where it has to be computed the other way."""
        made = self._program
        if made is None:
            return False
        unit = start // UNIT
        summed = [each for each in self._gathers if self._is_summed(each)]
        sums = [each.lanes(unit) for each in summed]
        largest = machine.run_program(made, start, count, frame, sums)
        if made.stores:
            if largest >= made.infinite[-1]:
                return False
            write(memoryview(machine.runner.stored[:count].view(np.uint8)))
            return True
        blocks = machine.runner.results(made, count)
        if write is not None:
            self._store(machine, blocks[0], start, write)
            return True
        others = [each for each in self._gathers if not self._is_summed(each)]
        self._add(machine, others, blocks, start)
        return True

    def _add(
        self, machine: Machine, gathers: list[Any], blocks: list[np.ndarray], start: int
    ) -> None:
        """Gives each of what gathers the blocks of its targets."""
        at = 0
        for gather in gathers:
            gather.add(machine, blocks[at : at + len(gather.targets)], start)
            at += len(gather.targets)

    def _is_summed(self, gather: Any) -> bool:
        """Whether the built code adds up what a sum is of: whole units, that is, no rows."""
        return isinstance(gather, Sum) and not self._rows

    def _sums(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        """Of each sum of the current pass the operation, and which of the targets it adds up."""
        at = 0
        for gather in self._gathers:
            end = at + len(gather.targets)
            if self._is_summed(gather):
                yield gather.expr.op, tuple(range(at, end))
            at = end

    def _sample(self, machine: Machine) -> None:
        """Gives selections pieces of their tensors, before they take all of it."""
        frame = Frame(self.binding, self.type.shape, self._held, self._numbers)
        machine = machine.host
        for start, count in sample_pieces(self.count, self._rows):
            if self._program is None:
                blocks = machine.run(self._with_numbers, start, count, self.dtype, frame)
            else:
                machine.run_program(self._program, start, count, frame, ())
                blocks = machine.runner.results(self._program, count)
            for gather, block in zip(self._sampling, blocks, strict=True):
                gather.sample(machine, block)

    def end_pass(self) -> None:
        """Joins what the spans gathered and begins the next pass, or ends."""
        if self._sampling:
            for gather in self._sampling:
                gather.sampled()
            self._begin(self._gathers)
            return
        self.passes += 1
        if self._final:
            self._ended = True
            self._held.clear()
            return
        self._checked.update(self._tape.extents)
        unfinished = []
        for gather in self._gathers:
            began = time.perf_counter()
            if gather.end():
                self._todo.remove(gather.expr)
                if gather.expr.op == "whole":
                    self._hold(gather.expr, gather.value, time.perf_counter() - began)
                else:
                    self._known[gather.expr] = gather.value
            else:
                unfinished.append(gather)
        self._release()
        self._begin(unfinished)

    def _hold(self, expr: Expr, value: np.ndarray, seconds: float) -> None:
        """Keeps the value of a call on whole tensors for the passes that read it."""
        if self._keep is not None:
            self._keep(expr, value, seconds)
        self._held[expr] = value if self._spill is None else Spilled(value, self._spill)
        self._known[expr] = True

    def _release(self) -> None:
        """Lets go of values that no pass reads any more."""
        if self._held:
            blocks = [self.root, *(arg for expr in self._todo for arg in expr.args)]
            read = set(evaluated(blocks))
            self._held = {expr: value for expr, value in self._held.items() if expr in read}

    def _begin(self, unfinished: list[Any] | None = None) -> None:
        running = list(unfinished or ())
        busy = {gather.expr for gather in running}
        if self._todo:
            ready = startable(self._todo, self._known, self._needs, self._spill is not None)
            running += [self._gather(expr) for expr in ready if expr not in busy]
        self._gathers = running
        self._final, self._ended = not running, False
        self._sampling = [each for each in running if getattr(each, "wants_sample", False)]
        targets = tuple(target for each in self._sampling or running for target in each.targets)
        if self._final:
            targets = (self.root,)
        built = takes_rows(self._rows, self.type.shape) and not self.wide
        built = built and (self._device is None or bool(self._sampling))
        sums = tuple(() if self._sampling else self._sums()) if built else None
        dtype = self.type.dtype if self._final else ""
        # The passes over all tensors of a pattern are the same but for their numbers.
        passing = _pass if self.binding is not UNBOUND else _pass.__wrapped__
        self._tape, self._program = passing(targets, sums, dtype)
        self._numbers = [self._scalar(each) for each in self._tape.numbers]
        self._filled: Tape | None = None
        self._fresh_extents = self._tape.extents - self._checked
        self._span = span_of(self.block)

    def _gather(self, expr: Expr) -> Any:
        if expr.op == "whole":
            return Whole(expr, self.type.shape, self.dtype, self._stored, self._device)
        return reducer(expr, self.type.shape, self.wide, self._rows or UNIT)

    def _stored(self, extent: Extent) -> np.ndarray:
        """A whole stored tensor of any shape."""
        extent = self.binding.extent(extent)
        raw = np.empty(extent.type.nbytes, dtype=np.uint8)
        self.files.read(extent.path, extent.offset, memoryview(raw))
        if not self._allow:
            self._refuse_nonfinite(extent, raw, 0)
        stored = np.empty(extent.type.count, self.dtype)
        widen(raw, extent.type.dtype, stored)
        return stored.reshape(extent.type.shape)

    def _scalar(self, expr: Expr) -> Any:
        known = self._known.get(expr)
        if known is None:
            assert expr.op not in REDUCTIONS, f"{expr.op} is not known yet"
            args = [
                arg.attr if arg.op == "const" else self._scalar(arg) for arg in expr.args
            ]
            match expr.op:
                case "factor":
                    from mergelang.run.product import Factor

                    extent, side, turned = expr.attr
                    known = Factor(self._stored(extent), side, turned, self.dtype)
                case "vector":
                    known = self._stored(expr.attr).astype(np.float64).ravel()
                case "item":
                    known = args[0][expr.attr]
                case "call":
                    function, parameters = expr.attr
                    known = tuple(kernel(function)(args, **dict(parameters)))
                case op:
                    known = (compute if expr.kind == SCALAR else compute_many)(op, args)
            self._known[expr] = known
        return known

    def _check_input(self, extent: Extent, raw: np.ndarray, start: int) -> None:
        if extent in self._fresh_extents:
            self._refuse_nonfinite(extent, raw, start)

    def _refuse_nonfinite(self, extent: Extent, raw: np.ndarray, start: int) -> None:
        position = nonfinite(raw, extent.type.dtype)
        if position is not None:
            width, value = DTYPES[extent.type.dtype], np.empty(1)
            widen(raw[position * width : (position + 1) * width], extent.type.dtype, value)
            raise RunError(
                "E0903", tensor=self.name, path=self.binding.extent(extent).path,
                position=start + position,
                value=str(float(value[0])),
            )  # fmt: skip

    def _store(
        self, machine: Machine, block: np.ndarray, start: int, write: Callable[[memoryview], None]
    ) -> None:
        """Writes the block as bytes of the output's dtype, rounded once; checked to be finite."""
        if self._allow:
            machine.level(block)
        raw = machine.encode(block, self.type.dtype)
        position = None if self._allow else machine.nonfinite(raw, self.type.dtype)
        if position is not None:
            value, dtype = float(block[position]), self.type.dtype
            lost = math.isnan(value)
            raise RunError(
                "E0904", tensor=self.name, position=start + position, value=str(value),
                why="is no number" if lost else f"{dtype} cannot hold",
                dtype=None if lost else dtype,
            )  # fmt: skip
        for piece in machine.pieces(raw):
            write(piece)


@lru_cache(maxsize=512)
def _pass(
    targets: tuple[Expr, ...], sums: tuple[tuple[str, tuple[int, ...]], ...] | None, dtype: str
) -> tuple[Tape, Program | None]:
    """A pass, and what the built code makes of it."""
    tape = compile_pass(targets)
    return tape, None if sums is None else program(tape, sums, dtype)


class Whole:
    """`whole`: gathers whole tensors, then calls a function on them."""

    def __init__(
        self, expr: Expr, shape: tuple[int, ...], dtype: type,
        read: Callable[[Extent], np.ndarray], device: Any,
    ):  # fmt: skip
        self.expr = expr
        self.targets = tuple(arg for arg in expr.args if arg.op != "stored")
        self._stored = [arg.attr for arg in expr.args if arg.op == "stored"]
        self._shape, self._read, self._device = shape, read, device
        self._inputs = [np.empty(math.prod(shape), dtype) for _ in self.targets]

    def add(self, machine: Machine, blocks: list[np.ndarray], start: int) -> None:
        for whole, block in zip(self._inputs, blocks, strict=True):
            machine.take(block, whole[start : start + len(block)])

    def end(self) -> bool:
        name, parameters, _ = self.expr.attr
        inputs = [each.reshape(self._shape) for each in self._inputs]
        stored = [self._read(extent) for extent in self._stored]
        result = by_torch(name, (*inputs, *stored), parameters, self._device)
        if tuple(result.shape) != self._shape or result.dtype != inputs[0].dtype:
            raise RunError(
                "E0905", function=name, got=f"{result.dtype} {tuple(result.shape)}",
                wanted=f"{inputs[0].dtype} {self._shape}",
            )  # fmt: skip
        self.value = np.ascontiguousarray(result).reshape(-1)
        self._inputs.clear()
        return True
