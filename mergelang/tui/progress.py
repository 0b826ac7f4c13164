"""The state of a run as its events tell it, and the lines that show it. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from rich.text import Text

from mergelang.draw.units import counted, size
from mergelang.run import events

PENDING, RUNNING, DONE, FAILED, CACHED = "pending", "running", "done", "failed", "cached"
STARTING, FETCHING, CANCELLED = "starting", "fetching", "cancelled"
ENDED = (DONE, FAILED, CANCELLED)

MARKS = {PENDING: "", RUNNING: "▶", DONE: "✓", FAILED: "✗", CACHED: "≡", "paused": "‖"}
"""What tells a state without colour."""

WIDTH = 24
"""Cells of the bar."""


@dataclass(frozen=True)
class OutputState:
    """One output: its state, tensors written, tensors in all."""

    state: str = PENDING
    done: int = 0
    tensors: int = 0


@dataclass(frozen=True)
class RunState:
    """A run. `phase`: starting | fetching | running | done | failed | cancelled. Bytes read and
    written count together, since a merge of several passes reads more than it writes; while sources
    are fetched, the bytes that have come. `doing`: what else is done before the first tensor."""

    phase: str = STARTING
    outputs: Mapping[str, OutputState] = field(default_factory=dict)
    total: int = 0
    read: int = 0
    written: int = 0
    seconds: float = 0.0
    memory: int = 0
    problem: str = ""
    doing: str = ""
    left: int = 0
    """Tensors that are kept for the next run, which goes on from there."""

    @property
    def bytes(self) -> int:
        return self.read + self.written

    @property
    def share(self) -> float:
        """How much is done, 0 to 1."""
        if self.phase == DONE:
            return 1.0
        return min(self.bytes / self.total, 1.0) if self.total else 0.0


def after(state: RunState, event: events.Event) -> RunState:
    """The state once an event has been heard."""
    match event:
        case events.FetchStarted(nbytes=total):
            return replace(state, phase=FETCHING, total=total)
        case events.Fetching(file=file, bytes_fetched=fetched, seconds=s):
            return replace(state, doing=f"fetching {file}", read=fetched, seconds=s)
        case events.FetchDone():
            return replace(state, phase=STARTING, total=0, read=0, seconds=0.0, doing="")
        case events.Preparing(what=what):
            return replace(state, doing=f"preparing {what}")
        case events.RunStarted(outputs=names, bytes_read=read, bytes_written=written):
            outputs = {name: OutputState() for name in names}
            return replace(state, phase=RUNNING, outputs=outputs, total=read + written)
        case events.OutputStarted(output=name, tensors=count):
            return _output(replace(state, doing=""), name, state=RUNNING, tensors=count)
        case events.UpToDate(output=name):
            return _output(state, name, state=CACHED)
        case events.Left(tensors=tensors):
            return replace(state, left=tensors)
        case events.TensorDone(output=name):
            done = state.outputs.get(name, OutputState()).done
            return _output(state, name, done=done + 1)
        case events.Progress(bytes_read=read, bytes_written=written, seconds=s, memory=memory):
            return replace(state, read=read, written=written, seconds=s, memory=memory)
        case events.OutputDone(output=name):
            return _output(state, name, state=DONE)
        case events.RunDone(bytes_read=read, bytes_written=written, seconds=s, memory=memory):
            return replace(
                state, phase=DONE, read=read, written=written, seconds=s, memory=memory
            )
        case events.RunFailed(code="E0906", message=problem):
            return stopped(state, CANCELLED, problem)
        case events.RunFailed(message=problem):
            return stopped(state, FAILED, problem)
    return state


def _output(run: RunState, name: str, **changes: object) -> RunState:
    changed = replace(run.outputs.get(name, OutputState()), **changes)
    return replace(run, outputs={**run.outputs, name: changed})


def stopped(state: RunState, phase: str, problem: str) -> RunState:
    """The state of a run that has ended before its time."""
    outputs = {
        name: replace(each, state=FAILED) if each.state == RUNNING else each
        for name, each in state.outputs.items()
    }
    return replace(state, phase=phase, outputs=outputs, problem=problem)


def clock(seconds: float) -> str:
    """`0:07`, `12:30`, `1:02:05`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def took(seconds: float) -> str:
    """`2.0 s`, `12:30`."""
    return f"{seconds:.1f} s" if seconds < 60 else clock(seconds)


def progress_text(state: RunState, *, paused: bool = False) -> Text:
    """The run in one line."""
    match state.phase:
        case "starting":
            return Text(state.doing or "starting", "italic")
        case "failed":
            return Text.assemble((f"{MARKS[FAILED]} failed  ", "bold red"), state.problem)
        case "cancelled":
            said = "cancelled: outputs are as they were before"
            if state.left:
                said += f"; {counted(state.left, 'tensor')} kept: r goes on from there"
            return Text.assemble((f"{MARKS[FAILED]} ", "bold yellow"), (said, "yellow"))
    rate = f"{size(state.bytes / state.seconds)}/s" if state.seconds > 0 else ""
    if state.phase == DONE:
        facts = [
            f"{counted(len(state.outputs), 'output')} in {took(state.seconds)}",
            f"{size(state.written)} written", rate, f"{size(state.memory)} of memory",
        ]  # fmt: skip
        done = f"{MARKS[DONE]} done"
        if all(each.state == CACHED for each in state.outputs.values()):
            facts = ["everything is up to date: nothing was written"]
        return Text.assemble((done, "bold green"), "  ", "  ".join(filter(None, facts)))
    left = state.seconds * (1 - state.share) / state.share if state.share else 0
    facts = [
        f"{state.share:4.0%}", f"{size(state.bytes)} of {size(state.total)}", rate,
        "paused" if paused else f"{clock(left)} left" if state.share else "",
    ]  # fmt: skip
    text = track(state.share, WIDTH, "yellow")
    text.append(f"  {'  '.join(filter(None, facts))}")
    return text.append(f"\n{state.doing}", "italic") if state.doing else text


def totals_text(state: RunState) -> str:
    """What was read and written, and the memory the process takes."""
    facts = [f"{size(state.read)} read", f"{size(state.written)} written"]
    if state.memory:
        facts.append(f"{size(state.memory)} of memory")
    return "  ".join([*facts, took(state.seconds)])


def track(share: float, width: int, tone: str) -> Text:
    """A bar that is a thick line as far as it has come, then a thin one."""
    filled = round(min(max(share, 0.0), 1.0) * width)
    return Text.assemble(("━" * filled, tone), ("─" * (width - filled), "dim"))
