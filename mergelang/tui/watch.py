"""A run as one watches it: its state, which tensors are done, what was said.

Knows no widgets and no process; it is told events.
"""

from dataclasses import dataclass, field, replace

from mergelang.draw.units import counted, size
from mergelang.run import events
from mergelang.tui.progress import CACHED, DONE, ENDED, FAILED, RunState, after, stopped, took


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
        self.log += said(event).splitlines()

    def whole(self) -> None:
        """The process has ended and has not said how, but what it writes is there."""
        if self.state.phase not in ENDED:
            outputs = {
                name: each if each.state == CACHED else replace(each, state=DONE)
                for name, each in self.state.outputs.items()
            }
            self.state = replace(self.state, outputs=outputs, phase=DONE)
            self.log.append("the run has ended, and its outputs are there")

    def lost(self, reason: str, phase: str = FAILED) -> None:
        """The process has ended and has not said how."""
        if self.state.phase not in ENDED:
            self.state = stopped(self.state, phase, reason)
            self.log.append(reason)


def said(event: events.Event) -> str:
    """An event as lines for people; empty for those that only count."""
    match event:
        case events.FetchStarted(files=files, nbytes=nbytes):
            return f"fetching {counted(files, 'file')}, {size(nbytes)}"
        case events.FetchDone(nbytes=nbytes, seconds=seconds):
            return f"fetched {size(nbytes)} in {took(seconds)}"
        case events.RecipeChanged(lock=lock, changes=changes):
            return "\n".join(
                f"since {lock}: {fact}: {was or 'nothing'} → {now or 'nothing'}"
                for fact, was, now in changes
            )
        case events.Preparing(what=what):
            return f"preparing {what}"
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
        case events.Noted(code=code, message=message, help=help):
            return "\n".join((f"{message} [{code}]", *(f"  {each}" for each in help)))
        case events.OutputDone(output=output, nbytes=nbytes, seconds=seconds):
            return f"{output}: done, {size(nbytes)} in {took(seconds)}"
        case events.RunDone(seconds=seconds, memory=memory):
            return f"run: done in {took(seconds)}, {size(memory)} of memory"
        case events.RunFailed(code=code, message=message):
            return f"run: {message} [{code}]"
    return ""
