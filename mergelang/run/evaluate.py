"""Evaluates one expression into memory: for tests, and for commands that look at one tensor."""

from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np

from mergelang.ops.expr import Expr
from mergelang.run.job import Job
from mergelang.run.machine import Files, Machine
from mergelang.run.workers import Control, Pool
from mergelang.tensors import TensorType


class _Alone:
    """The load of a job beside which there is no other."""

    holds = nbytes = 0


class Memory:
    """A sink that is a buffer."""

    digest = ""

    def __init__(self, nbytes: int):
        self.data = bytearray(nbytes)

    def open_span(self, first_byte: int) -> Callable[[memoryview], None]:
        at = first_byte

        def write(data: memoryview) -> None:
            nonlocal at
            self.data[at : at + len(data)] = data
            at += len(data)

        return write


def evaluate(
    root: Expr,
    type: TensorType,
    *,
    block: int = 1 << 16,
    threads: int = 1,
    allow_nonfinite: bool = False,
    name: str = "tensor",
    device: Any = None,
) -> bytes:
    """The bytes of the expression as a tensor of `type` (little endian, as safetensors keeps it).

    `block` is a multiple of 16,384. Stored tensors are read from their files. With a `device`
    (`run.device`) it is computed there.
    """
    files, sink = Files(), Memory(type.nbytes)
    job = Job(
        name, root, type, sink, block=block, files=files, allow_nonfinite=allow_nonfinite,
        device=device,
    )  # fmt: skip

    def machine() -> Any:
        size = max(block, job.block)
        host = Machine(size, files)
        if device is None:
            return host
        module = import_module("mergelang.run.device.machine")
        return module.DeviceMachine(size, host, device, 0)

    try:
        Pool([_Alone()], lambda number: job, machine, threads, lambda made: None, Control()).run()
    finally:
        files.close()
    return bytes(sink.data)


def as_array(data: bytes, type: TensorType) -> np.ndarray:
    """Bytes of a tensor as numpy, bfloat16 widened to float32."""
    if type.dtype == "BF16":
        wide = np.frombuffer(data, np.uint16).astype(np.uint32) << 16
        return wide.view(np.float32).reshape(type.shape)
    kind = {"F64": "<f8", "F32": "<f4", "F16": "<f2"}[type.dtype]
    return np.frombuffer(data, kind).reshape(type.shape)
