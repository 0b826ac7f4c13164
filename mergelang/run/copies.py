"""Tensors that only move: checked and hashed on the way, never through arithmetic.

Each byte has to be read for that. Copied from where it then lies in a core's cache, a tensor takes
0.8 of the time that it takes where the kernel copies it and it is read beside that; and blocks that
two files could share begin at other places of a page in each, since a header has any length.
"""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from mergelang.errors import RunError
from mergelang.ops.expr import Extent
from mergelang.run.finite import nonfinite
from mergelang.run.machine import Files
from mergelang.run.writer import TensorFile

SPAN_BYTES = 16 << 20
_CHUNK = 1 << 18


class Copy:
    """Copies the first of `sources` to `sink`; further sources must hold the same bytes."""

    passes, dropped, seconds, numbers = 1, 0, 0.0, ()

    def __init__(
        self,
        name: str,
        sources: Sequence[Extent],
        sink: TensorFile,
        *,
        files: Files,
        allow_nonfinite: bool = False,
    ):
        self.name, self.sink, self.files = name, sink, files
        self.type = sources[0].type
        self._source, *self._others = sources
        self._allow = allow_nonfinite
        self._in_place = False
        self.finished = False

    def spans(self) -> range:
        return range(max(1, -(-self.type.nbytes // SPAN_BYTES)))

    def run_span(self, machine: Any, number: int) -> None:
        first = number * SPAN_BYTES
        last = min(self.type.nbytes, first + SPAN_BYTES)
        path, offset = self._source.path, self._source.offset
        self.files.will_read(path, offset + first, last - first)
        write = self.sink.open_span(first, store=not self._in_place)
        data = np.empty(min(_CHUNK, last - first), dtype=np.uint8)
        other = np.empty(len(data) if self._others else 0, dtype=np.uint8)
        for start in range(first, last, _CHUNK):
            count = min(_CHUNK, last - start)
            chunk = data[:count]
            self.files.read(path, offset + start, memoryview(chunk))
            machine.bytes_read += count
            self._compare(machine, chunk, other[:count], start)
            self._check(chunk, start)
            write(memoryview(chunk))

    def end_pass(self) -> None:
        self.finished = True

    def _compare(self, machine: Any, chunk: np.ndarray, other: np.ndarray, start: int) -> None:
        for extent in self._others:
            self.files.read(extent.path, extent.offset + start, memoryview(other))
            machine.bytes_read += len(other)
            if not np.array_equal(chunk, other):
                raise RunError(
                    "E0909", tensor=self.name, dtype=self.type.dtype,
                    first=self._source.path, second=extent.path,
                )  # fmt: skip

    def _check(self, chunk: np.ndarray, start: int) -> None:
        position = None if self._allow else nonfinite(chunk, self.type.dtype)
        if position is not None:
            width = self.type.nbytes // self.type.count
            raise RunError(
                "E0903", tensor=self.name, path=self._source.path,
                position=position + start // width, value="NaN or infinity",
            )  # fmt: skip


class Kept(Copy):
    """Copies a tensor that was written before, or with `in_place` only looks at it.

    Where it cannot be read any more the copy ends; its digest tells.
    """

    def __init__(self, *arguments: Any, in_place: bool, **options: Any):
        super().__init__(*arguments, allow_nonfinite=True, **options)
        self._in_place = in_place

    def run_span(self, machine: Any, number: int) -> None:
        with suppress(RunError):
            super().run_span(machine, number)
