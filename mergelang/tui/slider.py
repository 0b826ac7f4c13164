"""A slider for a number: a line with a knob. Steps are exact, so 0.1 three times is 0.3."""

from fractions import Fraction
from typing import ClassVar

from rich.text import Text
from textual import events
from textual.binding import Binding
from textual.message import Message
from textual.widget import Widget

from mergelang.draw.cells import padded
from mergelang.draw.words import number_text

STEPS = 20
"""Steps from the lower bound to the upper one."""


class Slider(Widget, can_focus=True):
    """`low` and `high` may be left open: then the track reaches as far as the value makes sense."""

    BINDINGS: ClassVar[list[Binding]] = [
        Binding("left,h", "move(-1)", "less", show=False),
        Binding("right,l", "move(1)", "more", show=False),
        Binding("shift+left", "fine(-1)", "a little less", show=False),
        Binding("shift+right", "fine(1)", "a little more", show=False),
        Binding("home", "end(0)", "least", show=False),
        Binding("end", "end(1)", "most", show=False),
    ]

    class Changed(Message):
        """The knob was moved."""

        def __init__(self, slider: "Slider"):
            super().__init__()
            self.slider = slider

        @property
        def control(self) -> "Slider":
            return self.slider

    def __init__(
        self, label: str, value: Fraction, default: Fraction, low: Fraction | None = None,
        high: Fraction | None = None, label_width: int = 8,
    ):  # fmt: skip
        super().__init__(name=label)
        self.label, self.value, self.default = label, value, default
        self.low, self.high = track(default, low, high)
        self._label_width = label_width

    @property
    def step(self) -> Fraction:
        return (self.high - self.low) / STEPS

    def set(self, value: Fraction) -> None:
        """Moves the knob, to the ends of the track at most."""
        value = min(max(value, self.low), self.high)
        if value != self.value:
            self.value = value
            self.refresh()
            self.post_message(self.Changed(self))

    def action_move(self, direction: int) -> None:
        # From a value between two steps to the next step, not by a whole one.
        at = (self.value - self.low) / self.step
        whole = at.__floor__() + 1 if direction > 0 else at.__ceil__() - 1
        self.set(self.low + whole * self.step)

    def action_fine(self, direction: int) -> None:
        self.set(self.value + direction * self.step / 10)

    def action_end(self, end: int) -> None:
        self.set(self.high if end else self.low)

    @property
    def _start(self) -> int:
        """The column where the track begins: behind the mark and the label."""
        return 2 + self._label_width + 2

    @property
    def _track(self) -> int:
        return max(8, min(40, self.size.width - self._start - 24))

    def on_mouse_down(self, event: events.MouseDown) -> None:
        self.focus()
        self.capture_mouse()
        self._to(event.x)

    def on_mouse_move(self, event: events.MouseMove) -> None:
        if event.button and self.app.mouse_captured is self:
            self._to(event.x)

    def on_mouse_up(self) -> None:
        self.release_mouse()

    def _to(self, x: int) -> None:
        step = min(max(x - self._start, 0), self._track - 1)
        share = Fraction(step, self._track - 1)
        self.set(self.low + round(share * STEPS) * self.step)

    def render(self) -> Text:
        width = self._track
        share = (self.value - self.low) / (self.high - self.low)
        at = round(share * (width - 1))
        strong = "bold" if self.has_focus else ""
        text = Text(no_wrap=True)
        text.append("› " if self.has_focus else "  ", "bold")
        text.append(padded(self.label, self._label_width) + "  ", strong)
        text.append("━" * at, "bold").append("●", "bold yellow")
        text.append("─" * (width - 1 - at), "dim")
        text.append(f"  {number_text(self.value)}", "bold")
        text.append(f"   {number_text(self.low)} to {number_text(self.high)}", "dim")
        return text


def track(
    default: Fraction, low: Fraction | None, high: Fraction | None
) -> tuple[Fraction, Fraction]:
    """The ends of a track: the bounds where there are some, else as far as twice the default."""
    reach = max(abs(default), Fraction(1))
    if low is None:
        low = min(Fraction(0), default - reach) if high is None or high > 0 else default - reach
        if default >= 0 and (high is None or high > 0):
            low = Fraction(0)
    if high is None:
        high = max(default + reach, low + 1)
    return (low, high) if high > low else (low, low + 1)
