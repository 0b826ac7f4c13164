"""The events of a run: a bar on a terminal, a line for each output elsewhere, or JSON."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mergelang.draw.units import counted, size
from mergelang.run import events


@contextmanager
def listener(as_json: bool) -> Iterator[events.Listener]:
    """A listener for a run, which tidies up after itself."""
    if as_json:
        yield lambda event: print(events.to_json(event), flush=True)
    elif sys.stderr.isatty():
        with _bar() as listen:
            yield listen
    else:
        yield _lines


def _lines(event: events.Event) -> None:
    match event:
        case events.OutputDone(output=output, nbytes=nbytes, seconds=seconds):
            rate = nbytes / max(seconds, 1e-3)
            print(f"{output}: {size(nbytes)} in {seconds:.1f} s, {size(rate)}/s", file=sys.stderr)


@contextmanager
def _bar() -> Iterator[events.Listener]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )  # fmt: skip

    columns: tuple[Any, ...] = (
        TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn(),
        TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task: Any = None

        def listen(event: events.Event) -> None:
            nonlocal task
            match event:
                case events.OutputStarted(output=output, bytes_written=total):
                    task = progress.add_task(output, total=total)
                case events.TensorDone(nbytes=nbytes):
                    progress.advance(task, nbytes)
                case events.OutputDone():
                    progress.update(task, completed=progress.tasks[task].total)
                case events.RunDone(seconds=seconds, memory=memory):
                    done = counted(len(progress.tasks), "output")
                    progress.console.print(f"{done} in {seconds:.1f} s, {size(memory)} of memory")

        yield listen
