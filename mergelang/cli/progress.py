"""The events of a run: a line for each output, on a terminal under them a bar; or JSON lines."""

import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

from mergelang.check.program import Destination
from mergelang.draw.units import counted, size
from mergelang.draw.words import path_shortened
from mergelang.run import events

NAME = 24
"""Columns of the bar for the output's name."""


@contextmanager
def listener(as_json: bool) -> Iterator[events.Listener]:
    """A listener for a run, which tidies up after itself."""
    if as_json:
        yield _json
    elif sys.stderr.isatty():
        with _bar() as listen:
            yield listen
    else:
        yield _line


def _json(event: events.Event) -> None:
    """One line in one write, which an interrupt does not cut in two."""
    sys.stdout.write(events.to_json(event) + "\n")
    sys.stdout.flush()


def _line(event: events.Event) -> None:
    if isinstance(event, events.RecipeChanged):
        changed(event.lock, event.changes)
    elif isinstance(event, events.Preparing):
        print(f"preparing {event.what}", file=sys.stderr)
    elif isinstance(event, events.FetchDone):
        rate = event.nbytes / max(event.seconds, 1e-3)
        took = f"{size(event.nbytes)} in {event.seconds:.1f} s, {size(rate)}/s"
        print(f"fetched {took}", file=sys.stderr)
    elif isinstance(event, events.OutputDone):
        rate = event.nbytes / max(event.seconds, 1e-3)
        took = f"{size(event.nbytes)} in {event.seconds:.1f} s, {size(rate)}/s"
        print(f"{event.output}: {took}", file=sys.stderr)
    elif isinstance(event, events.UpToDate):
        print(f"{event.output}: up to date", file=sys.stderr)
    elif isinstance(event, events.Resumed):
        done = f"{event.tensors:,} of {counted(event.of, 'tensor')}, {size(event.nbytes)}"
        print(f"{event.output}: goes on, {done} done already", file=sys.stderr)
    elif isinstance(event, events.Left) and event.tensors:
        done = f"{event.tensors:,} of {counted(event.of, 'tensor')} are done"
        print(f"{event.output}: {done}, the next run goes on from there", file=sys.stderr)
    elif isinstance(event, events.Noted):
        lines = f"warning[{event.code}]: {event.message}", *(f"help: {each}" for each in event.help)
        print("\n".join(lines), file=sys.stderr)


def up_to_date(outputs: Sequence[Destination], as_json: bool) -> None:
    """Tells the events of a run that finds all outputs as they should be."""
    with listener(as_json) as listen:
        for event in events.nothing_to_do((each.text, each.path) for each in outputs):
            listen(event)


@contextmanager
def ending_as_interrupted() -> Iterator[None]:
    """SIGTERM ends a run as Ctrl-C does."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def changed(lock: str, changes: Iterable[tuple[str, str | None, str | None]]) -> None:
    """The facts that differ from a lock, a line each."""
    for fact, was, now in changes:
        print(f"since {lock}: {fact}: {was or 'nothing'} → {now or 'nothing'}", file=sys.stderr)


@contextmanager
def _bar() -> Iterator[events.Listener]:
    """Bytes read of those that the run reads, their rate, the time left."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )  # fmt: skip

    columns = (
        TextColumn("{task.description}", markup=False), BarColumn(bar_width=None),
        DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn(),
    )  # fmt: skip
    # Drawn by the events, not by a thread: beside one the workers could not be processes.
    with Progress(
        *columns, console=Console(stderr=True), transient=True, expand=True, auto_refresh=False
    ) as progress:
        bar, drawn = progress.add_task("starting", total=None), 0.0

        def listen(event: events.Event) -> None:
            nonlocal drawn
            match event:
                case events.FetchStarted(nbytes=total):
                    progress.update(bar, total=total)
                case events.Fetching(file=file, bytes_fetched=fetched):
                    name = path_shortened(file, NAME)
                    progress.update(bar, description=name, completed=fetched)
                case events.FetchDone():
                    progress.reset(bar, total=None)
                case events.RunStarted(bytes_read=total):
                    progress.update(bar, total=total)
                case events.OutputStarted(output=output):
                    progress.update(bar, description=path_shortened(output, NAME))
                case events.Progress(bytes_read=read):
                    progress.update(bar, completed=read)
            _line(event)
            if time.monotonic() - drawn > 0.1:
                progress.refresh()
                drawn = time.monotonic()

        yield listen


@contextmanager
def counting(things: str) -> Iterator[Callable[[int, int], None]]:
    """A function that is told how many of how many things are done; shows a bar on a terminal."""
    if not sys.stderr.isatty():
        yield lambda done, of: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task(things, total=None)
        yield lambda done, of: progress.update(bar, completed=done, total=of)
