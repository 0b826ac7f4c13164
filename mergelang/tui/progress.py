"""The state of a run as its events tell it, and the line that shows it. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from rich.text import Text

from mergelang.draw.picture import OUTPUT, Picture
from mergelang.draw.units import counted, size
from mergelang.errors import Cancelled, MergelangError
from mergelang.run import events
from mergelang.wording import message

PENDING, RUNNING, DONE, FAILED = "pending", "running", "done", "failed"

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
    """A run. `phase`: starting | running | done | failed | cancelled. Bytes read and written count
    together, since a merge of several passes reads more than it writes."""

    phase: str = "starting"
    outputs: Mapping[str, OutputState] = field(default_factory=dict)
    total: int = 0
    bytes: int = 0
    written: int = 0
    seconds: float = 0.0
    memory: int = 0
    problem: str = ""

    @property
    def share(self) -> float:
        """How much is done, 0 to 1."""
        if self.phase == DONE:
            return 1.0
        return min(self.bytes / self.total, 1.0) if self.total else 0.0


def after(state: RunState, event: events.Event) -> RunState:
    """The state once an event has been heard."""
    match event:
        case events.RunStarted(outputs=names, bytes_read=read, bytes_written=written):
            outputs = {name: OutputState() for name in names}
            return replace(state, phase=RUNNING, outputs=outputs, total=read + written)
        case events.OutputStarted(output=name, tensors=count):
            return _output(state, name, state=RUNNING, tensors=count)
        case events.TensorDone(output=name):
            return _output(state, name, done=state.outputs[name].done + 1)
        case events.Progress(bytes_read=read, bytes_written=written, seconds=s, memory=memory):
            return replace(state, bytes=read + written, written=written, seconds=s, memory=memory)
        case events.OutputDone(output=name):
            return _output(state, name, state=DONE)
        case events.RunDone(bytes_read=read, bytes_written=written, seconds=s, memory=memory):
            return replace(
                state, phase=DONE, bytes=read + written, written=written, seconds=s, memory=memory
            )
        case events.RunFailed(message=problem):
            return _stopped(state, FAILED, problem)
    return state


def ended(state: RunState, failure: MergelangError | None) -> RunState:
    """The state once the run has returned, or raised."""
    if failure is None:
        return state
    if isinstance(failure, Cancelled):
        return _stopped(state, "cancelled", message(failure.diagnostics[0]))
    return _stopped(state, FAILED, str(failure))


def _output(run: RunState, name: str, **changes: object) -> RunState:
    changed = replace(run.outputs[name], **changes)
    return replace(run, outputs={**run.outputs, name: changed})


def _stopped(state: RunState, phase: str, problem: str) -> RunState:
    outputs = {
        name: replace(each, state=FAILED) if each.state == RUNNING else each
        for name, each in state.outputs.items()
    }
    return replace(state, phase=phase, outputs=outputs, problem=problem)


def box_states(picture: Picture, state: RunState | None) -> dict[str, str]:
    """The state of each box: that of the outputs that are made from it."""
    if state is None:
        return {}
    used: dict[str, set[str]] = {box.id: set() for box in picture.boxes}
    for box in picture.boxes:
        if box.kind == OUTPUT and box.target.text in state.outputs:
            used[box.id].add(state.outputs[box.target.text].state)
    # Lines stand in the order of their targets, inputs first: backwards, users come first.
    for line in reversed(picture.lines):
        used[line.source] |= used[line.target]
    return {id: _joint(states) for id, states in used.items()}


def _joint(states: set[str]) -> str:
    for each in (FAILED, RUNNING):
        if each in states:
            return each
    if DONE in states:
        return RUNNING if PENDING in states else DONE
    return PENDING


def clock(seconds: float) -> str:
    """`0:07`, `12:30`, `1:02:05`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def progress_text(state: RunState) -> Text:
    """The run in one line; a failure with all that is said about it."""
    match state.phase:
        case "starting":
            return Text("starting")
        case "failed" | "cancelled":
            return Text(state.problem, "bold red" if state.phase == FAILED else "yellow")
    rate = f"{size(state.bytes / state.seconds)}/s" if state.seconds > 0 else ""
    if state.phase == DONE:
        time = f"{state.seconds:.1f} s" if state.seconds < 60 else clock(state.seconds)
        facts = [
            f"{counted(len(state.outputs), 'output')} in {time}",
            f"{size(state.written)} written", rate, f"{size(state.memory)} of memory",
        ]  # fmt: skip
        return Text.assemble(("done", "bold green"), "  ", "  ".join(filter(None, facts)))
    filled = round(WIDTH * state.share)
    left = state.seconds * (1 - state.share) / state.share if state.share else 0
    facts = [
        f"{state.share:4.0%}", f"{size(state.bytes)} of {size(state.total)}", rate,
        f"{clock(left)} left" if state.share else "",
    ]  # fmt: skip
    return Text.assemble(
        ("━" * filled, "yellow"), ("━" * (WIDTH - filled), "bright_black"), "  ",
        "  ".join(filter(None, facts)),
    )  # fmt: skip
