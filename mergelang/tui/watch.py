"""A run as one watches it: its state, which tensors are done, what was said, progress by node.

Knows no widgets and no process; it is told events.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from mergelang.draw.picture import OUTPUT, Picture
from mergelang.draw.units import size
from mergelang.plan.plan import Plan
from mergelang.plan.reach import reach
from mergelang.run import events
from mergelang.tui.progress import ENDED, FAILED, RunState, after, stopped, took


@dataclass
class Watch:
    """`done`: for each output its tensors that are done, each with the seconds until it was, since
    the one before. `log`: a line for what happened."""

    state: RunState = field(default_factory=RunState)
    done: dict[str, dict[str, float]] = field(default_factory=dict)
    log: list[str] = field(default_factory=list)
    _last: tuple[str, str] | None = None
    _seconds: float = 0.0

    def hear(self, event: events.Event) -> None:
        self.state = after(self.state, event)
        match event:
            case events.TensorDone(output=output, tensor=tensor):
                self.done.setdefault(output, {})[tensor] = 0.0
                self._last = output, tensor
            case events.Progress(seconds=seconds) if self._last is not None:
                output, tensor = self._last
                self.done[output][tensor] = seconds - self._seconds
                self._seconds, self._last = seconds, None
        line = said(event)
        if line:
            self.log.append(line)

    def lost(self, reason: str, phase: str = FAILED) -> None:
        """The process has ended and has not said how."""
        if self.state.phase not in ENDED:
            self.state = stopped(self.state, phase, reason)
            self.log.append(reason)


def said(event: events.Event) -> str:
    """An event as a line for people; empty for those that only count."""
    match event:
        case events.RunStarted(tensors=tensors, threads=threads):
            return f"run: {tensors:,} tensors, {threads} threads"
        case events.OutputStarted(output=output, tensors=tensors, bytes_written=written):
            return f"{output}: begins, {tensors:,} tensors, {size(written)}"
        case events.TensorDone(tensor=tensor, action=action, nbytes=nbytes, passes=passes):
            turns = f", {passes} passes" if passes > 1 else ""
            return f"  {tensor}  {action}, {size(nbytes)}{turns}"
        case events.UpToDate(output=output):
            return f"{output}: is up to date"
        case events.Resumed(output=output, tensors=tensors, of=of):
            return f"{output}: goes on, {tensors:,} of {of:,} tensors are there already"
        case events.Left(output=output, tensors=tensors, of=of):
            return f"{output}: left, {tensors:,} of {of:,} tensors are kept for the next run"
        case events.Noted(code=code, message=message):
            return f"{message} [{code}]"
        case events.OutputDone(output=output, nbytes=nbytes, seconds=seconds):
            return f"{output}: done, {size(nbytes)} in {took(seconds)}"
        case events.RunDone(seconds=seconds, memory=memory):
            return f"run: done in {took(seconds)}, {size(memory)} of memory"
        case events.RunFailed(code=code, message=message):
            return f"run: {message} [{code}]"
    return ""


@dataclass(frozen=True)
class Share:
    """How far a node has come: tensors done of those it takes part in, seconds that these took,
    bytes that the plan reads for them."""

    done: int = 0
    of: int = 0
    seconds: float = 0.0
    reads: int = 0


class Parts:
    """Which tensors each box of a picture takes part in; made once for the plan of a text."""

    def __init__(self, shown: Picture, plan: Plan, text: str):
        self.text = text
        self._tensors: dict[str, list[tuple[str, str, int]]] = {box.id: [] for box in shown.boxes}
        planned = {each.destination.text: each for each in plan.outputs}
        for target in shown.boxes:
            if target.kind != OUTPUT or target.target.text not in planned:
                continue
            output, known = target.target.text, {}
            for task in planned[output].tasks:
                used = reach(target.node, task.name, known)
                fact = (output, task.name, task.reads)
                for box in shown.boxes:
                    if box is target or (box.kind != OUTPUT and box.node in used):
                        self._tensors[box.id].append(fact)

    def share(self, box: str, done: Mapping[str, Mapping[str, float]]) -> Share:
        """How far a box has come, by what is done."""
        facts = self._tensors.get(box, [])
        ended = [
            done[output][name] for output, name, _ in facts if name in done.get(output, ())
        ]
        return Share(len(ended), len(facts), sum(ended), sum(reads for _, _, reads in facts))
