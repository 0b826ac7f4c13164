"""What a run says while it runs: frozen events, each one JSON line. Readers: bar, TUI, `--json`.

What has to be fetched from the Hub comes first: FetchStarted, Fetching, FetchDone. A run is
RunStarted, Preparing where something has to be made first, then for each output OutputStarted,
TensorDone for each tensor, Progress now and then, OutputDone, or UpToDate alone; last RunDone or
RunFailed. Of an output that an earlier run began, Resumed comes after OutputStarted; of one that
fails, Left. Noted may come at any time. RecipeChanged comes before all of them. Bytes and seconds
are totals of the run so far.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, fields
from json.encoder import encode_basestring_ascii as quoted
from pathlib import Path
from typing import IO, Any, TypeAlias, get_args

from mergelang.errors import Diagnostic
from mergelang.wording import helps, message


@dataclass(frozen=True)
class FetchStarted:
    """Files of sources on the Hub that are not here yet, and their bytes."""

    files: int
    nbytes: int


@dataclass(frozen=True)
class Fetching:
    """`bytes_fetched` of all files, with what was there of them already."""

    source: str
    file: str
    bytes_fetched: int
    seconds: float


@dataclass(frozen=True)
class FetchDone:
    nbytes: int
    seconds: float


@dataclass(frozen=True)
class RunStarted:
    """`paths`: the folders of the outputs. `recipe`: its file, empty where it has none; `settings`:
    the values of its params as `--set` takes them."""

    outputs: tuple[str, ...]
    tensors: int
    bytes_read: int
    bytes_written: int
    threads: int
    paths: tuple[str, ...] = ()
    recipe: str = ""
    settings: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class RecipeChanged:
    """What the recipe has changed since its lock was written: facts with their old and new values,
    which are None where there is none."""

    lock: str
    changes: tuple[tuple[str, str | None, str | None], ...]


@dataclass(frozen=True)
class Preparing:
    """Something that tensors are made of is computed first; `what` says it for people."""

    what: str


@dataclass(frozen=True)
class OutputStarted:
    output: str
    path: str
    tensors: int
    bytes_written: int


@dataclass(frozen=True)
class UpToDate:
    """The output lies there as the recipe wants it, and is left alone."""

    output: str
    path: str


@dataclass(frozen=True)
class Resumed:
    """An interrupted run has done `tensors` of the output already; they are looked at again."""

    output: str
    tensors: int
    of: int
    nbytes: int


@dataclass(frozen=True)
class Left:
    """The output is not finished; `tensors` of it are kept for the next run, which goes on."""

    output: str
    tensors: int
    of: int


@dataclass(frozen=True)
class Noted:
    """Something that the run dealt with by itself: the code and the sentence of a warning, and what
    can be done about it."""

    code: str
    message: str
    help: tuple[str, ...] = ()


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
    FetchStarted | Fetching | FetchDone | RecipeChanged | RunStarted | Preparing | OutputStarted
    | UpToDate | Resumed | Left | Noted | TensorDone | Progress | OutputDone | RunDone | RunFailed
)

KINDS = {kind.__name__: kind for kind in get_args(Event)}


def noted(code: str, **facts: Any) -> Noted:
    """The warning of a code, in words."""
    warning = Diagnostic(code, facts=facts)
    return Noted(code, message(warning), tuple(helps(warning)))


def nothing_to_do(outputs: Iterable[tuple[str, str]]) -> Iterator[Event]:
    """The events of a run whose outputs, names and paths, are all up to date."""
    outputs = tuple(outputs)
    yield RunStarted(tuple(name for name, _ in outputs), 0, 0, 0, 0)
    for name, path in outputs:
        yield UpToDate(name, path)
    yield RunDone(0, 0, 0.0, 0)


Listener: TypeAlias = Callable[[Event], None]


def to_json(event: Event) -> str:
    """One line: the event's fields, with its kind first.

    Texts and whole numbers, of which those of tensors are made, are written here: an encoder takes
    three times as long to begin.
    """
    said = [f'"{name}":{_written(value)}' for name, value in vars(event).items()]
    return f'{{"event":"{type(event).__name__}",{",".join(said)}}}'


_encode = json.JSONEncoder(separators=(",", ":")).encode


def _written(value: Any) -> str:
    if type(value) is str:
        return quoted(value)
    return str(value) if type(value) is int else _encode(value)


def from_json(line: str) -> Event | None:
    """The event of a line; None for one that is not whole, or of a kind that is not known here."""
    try:
        facts = json.loads(line)
        kind = KINDS.get(facts.pop("event"))
        if kind is None:
            return None
        known = {each.name for each in fields(kind)}
        found = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in facts.items() if name in known
        }  # fmt: skip
        return kind(**found)
    except (ValueError, TypeError, AttributeError, KeyError):
        return None


class Log:
    """Writes events to a file as long as one is open, first the beginning of run and output.

    A file that cannot be written is let be: it is there to be looked at.
    """

    def __init__(self) -> None:
        self._file: IO[str] | None = None
        self._before: list[Event] = []

    def tell(self, event: Event) -> None:
        if self._file is None:
            self._before.append(event)
            return
        with suppress(OSError):
            self._file.write(to_json(event) + "\n")
            if not isinstance(event, TensorDone):  # of which there are thousands a second
                self._file.flush()

    def open(self, path: Path) -> None:
        with suppress(OSError):
            self._file = path.open("w", encoding="utf-8")
        for event in self._before:
            self.tell(event)
        del self._before[1:]  # RunStarted stays, for the next output

    def close(self) -> None:
        if self._file is not None:
            with suppress(OSError):
                self._file.close()
            self._file = None
