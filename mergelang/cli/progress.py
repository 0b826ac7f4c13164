"""The events of a run: a line for each output, on a terminal under them a bar; or JSON lines."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from mergelang.draw.units import size
from mergelang.draw.words import path_shortened
from mergelang.run import events

NAME = 24
"""Columns of the bar for the output's name."""


@contextmanager
def listener(as_json: bool) -> Iterator[events.Listener]:
    """A listener for a run, which tidies up after itself."""
    if as_json:
        yield lambda event: print(events.to_json(event), flush=True)
    elif sys.stderr.isatty():
        with _bar() as listen:
            yield listen
    else:
        yield _line


def _line(event: events.Event) -> None:
    if isinstance(event, events.OutputDone):
        rate = event.nbytes / max(event.seconds, 1e-3)
        took = f"{size(event.nbytes)} in {event.seconds:.1f} s, {size(rate)}/s"
        print(f"{event.output}: {took}", file=sys.stderr)


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
    with Progress(*columns, console=Console(stderr=True), transient=True, expand=True) as progress:
        bar = progress.add_task("starting", total=None)

        def listen(event: events.Event) -> None:
            match event:
                case events.RunStarted(bytes_read=total):
                    progress.update(bar, total=total)
                case events.OutputStarted(output=output):
                    progress.update(bar, description=path_shortened(output, NAME))
                case events.Progress(bytes_read=read):
                    progress.update(bar, completed=read)
            _line(event)

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
