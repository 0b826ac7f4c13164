"""The buffers of one worker on a device, and how bytes come in from files and go out to them."""

import math
from collections.abc import Callable, Iterator
from itertools import cycle

import numpy as np
import torch

from mergelang.ops.expr import Extent
from mergelang.run.device import partial
from mergelang.run.device.place import Device
from mergelang.run.device.steps import take
from mergelang.run.floats import STORED
from mergelang.run.machine import Files, Frame, Machine
from mergelang.run.product import KEPT, Factor
from mergelang.run.product import product as product_of
from mergelang.run.reference import TORCH, narrow
from mergelang.run.tape import Step, Tape
from mergelang.tensors import DTYPES

STAGE = 1 << 22
"""Bytes that are copied to or from a device at a time, and the next ones read meanwhile: at most,
and no more than a part of the memory that a worker has on the processor."""


class Stage:
    """Bytes on the processor on their way to a device or from it."""

    def __init__(self, device: Device, size: int):
        self.bytes = device.buffer(size)
        self.array = self.bytes.numpy()
        self.copied = device.event()


class DeviceMachine:
    """What `Machine` is, on a device: the buffers of one thread. `block`: elements at a time,
    `room`: bytes of memory on the processor.

    `host` computes what is small, or does not stand in files as it is needed. Bytes come in through
    two stages in turn, and go out through two others, so that one is copied while the other is read
    or written.
    """

    partial = partial
    bracket = staticmethod(partial.bracket)

    def __init__(self, block: int, host: Machine, device: Device, room: int):
        self.block, self.host, self.device = block, host, device
        self._files: Files = host.files
        self._stream = device.stream()
        self._raw = torch.empty(0, dtype=torch.uint8, device=device.device)
        self._blocks: dict[torch.dtype, list[torch.Tensor]] = {}
        self._masks: list[torch.Tensor] = []
        stage = self._stage = min(STAGE, 1 << max(16, (room // 16).bit_length() - 1))
        self._coming = cycle([Stage(device, stage) for _ in range(2)])
        self._going = cycle([Stage(device, stage) for _ in range(2)])
        self._right: dict[int, tuple[Factor, list[torch.Tensor]]] = {}

    @property
    def bytes_read(self) -> int:
        return self.host.bytes_read

    @bytes_read.setter
    def bytes_read(self, count: int) -> None:
        self.host.bytes_read = count

    def run(
        self, tape: Tape, start: int, count: int, dtype: type, frame: Frame
    ) -> list[torch.Tensor]:
        """See `Machine.run`; the blocks and masks lie on the device."""
        self.device.enter(self._stream)
        kind = torch.float64 if dtype == np.float64 else torch.float32
        b = self._pool(self._blocks.setdefault(kind, []), tape.blocks, kind, count)
        m = self._pool(self._masks, tape.masks, torch.bool, count)
        loaded: list[tuple[Extent, torch.Tensor]] = []
        for step in tape.steps:
            if step.op == "load":
                self._load(step.attr, start, b[step.out], frame)
                if frame.check is not None:
                    loaded.append((step.attr, torch.stack(b[step.out].aminmax())))
            elif step.op == "product":
                self._product(*step.args, start, b[step.out])
            elif step.op in ("gather", "whole"):
                self._give(step, start, b[step.out], frame)
            else:
                take(step, start, b, m, frame, self.device)
        if loaded:
            self._check(loaded, start, count, frame)
        pools = {"block": b, "mask": m}
        return [
            pools[kind][slot] for slot, kind in zip(tape.results, tape.kinds, strict=True)
        ]

    def encode(self, block: torch.Tensor, dtype: str) -> torch.Tensor:
        """The bytes of a block as another dtype, each element rounded once."""
        stored = TORCH[dtype]
        if block.dtype == stored:
            return block.view(torch.uint8)
        raw = self._bytes(len(block) * stored.itemsize)
        narrow(block, raw.view(stored))
        return raw

    def level(self, block: torch.Tensor) -> None:
        """See `Machine.level`."""
        block.masked_fill_(block.isnan(), math.nan)

    def nonfinite(self, raw: torch.Tensor, dtype: str) -> int | None:
        """The position of the first NaN or infinity among encoded elements, or None."""
        elements = raw.view(TORCH[dtype])
        if not len(elements) or _finite(torch.stack(elements.aminmax())):
            return None
        return int(elements.isfinite().logical_not_().nonzero()[0])

    def take(self, block: torch.Tensor, into: np.ndarray) -> None:
        """Keeps a block in an array."""
        raw, at = into.view(np.uint8), 0
        for piece in self.pieces(block.view(torch.uint8)):
            raw[at : at + len(piece)] = piece
            at += len(piece)

    def pieces(self, raw: torch.Tensor) -> Iterator[memoryview]:
        """Bytes as they are written: the next ones are copied out while these are used."""
        before: tuple[Stage, int] | None = None
        for part in raw.split(self._stage):
            stage = next(self._going)
            stage.bytes[: len(part)].copy_(part, non_blocking=True)
            stage.copied.record()
            if before is not None:
                yield _arrived(*before)
            before = stage, len(part)
        if before is not None:
            yield _arrived(*before)

    def _pool(
        self, buffers: list[torch.Tensor], wanted: int, kind: torch.dtype, count: int
    ) -> list[torch.Tensor]:
        """The first buffers, of so many elements; new ones where there are too few."""
        while len(buffers) < wanted:
            buffers.append(torch.empty(self.block, dtype=kind, device=self.device.device))
        return [each[:count] for each in buffers[:wanted]]

    def _bytes(self, count: int) -> torch.Tensor:
        """Bytes on the device for what is stored in another dtype."""
        if len(self._raw) < count:
            size = max(count, 2 * self.block)
            self._raw = torch.empty(size, dtype=torch.uint8, device=self.device.device)
        return self._raw[:count]

    def _load(self, extent: Extent, start: int, out: torch.Tensor, frame: Frame) -> None:
        """Elements of a stored tensor from `start` on, converted to the dtype of `out`."""
        path, offset, _ = frame.binding.extent(extent)
        stored, size = TORCH[extent.type.dtype], DTYPES[extent.type.dtype]
        raw = out.view(torch.uint8) if stored == out.dtype else self._bytes(len(out) * size)
        first = offset + start * size

        def fill(at: int, into: np.ndarray) -> None:
            self._files.read(path, first + at, memoryview(into))

        self._bring(raw, fill)
        self.bytes_read += len(raw)
        if stored != out.dtype:
            out.copy_(raw.view(stored))

    def _give(self, step: Step, start: int, out: torch.Tensor, frame: Frame) -> None:
        """A block that the host has, or puts together."""
        size, kind = out.itemsize, STORED["F64" if out.dtype == torch.float64 else "F32"]

        def fill(at: int, into: np.ndarray) -> None:
            part, first = into.view(kind), start + at // size
            for begin in range(0, len(part), self.host.block):
                self.host.give(step, first + begin, part[begin : begin + self.host.block], frame)

        self._bring(out.view(torch.uint8), fill)

    def _bring(self, raw: torch.Tensor, fill: Callable[[int, np.ndarray], None]) -> None:
        """Fills bytes on the device with what `fill` puts into those of a stage."""
        at = 0
        for part in raw.split(self._stage):
            stage = next(self._coming)
            stage.copied.synchronize()
            fill(at, stage.array[: len(part)])
            part.copy_(stage.bytes[: len(part)], non_blocking=True)
            stage.copied.record()
            at += len(part)

    def _check(
        self, loaded: list[tuple[Extent, torch.Tensor]], start: int, count: int, frame: Frame
    ) -> None:
        """Lets `frame.check` look at the bytes of what is not finite, as they are read again."""
        ends = torch.stack([each for _, each in loaded])
        if _finite(ends):
            return
        piece = np.empty(self.host.block, np.float64)
        for extent, _ in loaded:
            for begin in range(0, count, self.host.block):
                out = piece[: min(self.host.block, count - begin)]
                self.host.load(extent, start + begin, out, frame)

    def _product(self, left: Factor, right: Factor, start: int, out: torch.Tensor) -> None:
        """The elements of `left @ right` (flattened) from `start` on: see `run.product`."""
        known = self._right.get(id(right))
        if known is None or known[0] is not right:
            if len(self._right) >= KEPT:
                self._right.clear()
            slices = [each.to(self.device.device) for each in right.columns(0, right.width)]
            known = self._right[id(right)] = right, slices
        at, end, width = start, start + len(out), right.width
        while at < end:
            row = at // width
            last = min(-(-end // width), row + max(1, self._stage // width))
            pieces = [each.to(self.device.device) for each in left.rows(row, last)]
            whole = product_of(pieces, known[1]).view(-1)[at - row * width : end - row * width]
            out[at - start : at - start + len(whole)] = whole
            at += len(whole)


def _arrived(stage: Stage, count: int) -> memoryview:
    stage.copied.synchronize()
    return memoryview(stage.array[:count])


def _finite(ends: torch.Tensor) -> bool:
    """Whether least and greatest elements are; NaN is both, where there is one."""
    return all(map(math.isfinite, ends.flatten().tolist()))
