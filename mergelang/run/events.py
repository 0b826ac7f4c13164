"""What a run says while it runs: frozen events, each one JSON line. Readers: bar, TUI, `--json`.

A run is RunStarted, then for each output OutputStarted, TensorDone for each tensor, Progress now
and then, OutputDone; last RunDone or RunFailed. Bytes and seconds are totals of the run so far.
"""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TypeAlias


@dataclass(frozen=True)
class RunStarted:
    outputs: tuple[str, ...]
    tensors: int
    bytes_read: int
    bytes_written: int
    threads: int


@dataclass(frozen=True)
class OutputStarted:
    output: str
    path: str
    tensors: int
    bytes_written: int


@dataclass(frozen=True)
class TensorDone:
    """`digest` is the BLAKE3 of the tensor's leaf digests, as hexadecimal."""

    output: str
    tensor: str
    action: str
    nbytes: int
    passes: int
    digest: str


@dataclass(frozen=True)
class Progress:
    bytes_read: int
    bytes_written: int
    seconds: float
    memory: int


@dataclass(frozen=True)
class OutputDone:
    output: str
    path: str
    nbytes: int
    seconds: float


@dataclass(frozen=True)
class RunDone:
    bytes_read: int
    bytes_written: int
    seconds: float
    memory: int


@dataclass(frozen=True)
class RunFailed:
    code: str
    message: str


Event: TypeAlias = (
    RunStarted | OutputStarted | TensorDone | Progress | OutputDone | RunDone | RunFailed
)

Listener: TypeAlias = Callable[[Event], None]


def to_json(event: Event) -> str:
    """One line: the event's fields, with its kind first."""
    return json.dumps({"event": type(event).__name__, **asdict(event)}, separators=(",", ":"))
