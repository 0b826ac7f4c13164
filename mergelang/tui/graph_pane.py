"""The drawn graph as a widget: scrolls, colours and marks boxes by their state, walks, clicks."""

from collections.abc import Mapping
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from mergelang.draw.cells import cells
from mergelang.draw.graph_text import Drawing, Rect, Run
from mergelang.draw.picture import Box
from mergelang.tui.progress import MARKS, PENDING

DOUBLE = dict(zip("┌─┐│└┘┬┏━┓┃┗┛┳", "╔═╗║╚╝╦" * 2, strict=True))
"""How the border of the selected box is drawn, so that it is seen without colour."""


class GraphPane(ScrollView, can_focus=True, inherit_bindings=False):
    """Shows a drawing; one box is selected."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        f"graph--{name}"
        for name in (
            "line", "near", "source", "sum", "operator", "output", "running", "done", "failed",
            "cached", "selected",
        )
    }  # fmt: skip

    class Selected(Message):
        """Another box is selected."""

        def __init__(self, box: str):
            super().__init__()
            self.box = box

    def __init__(self, **options):
        super().__init__(**options)
        self.drawing: Drawing | None = None
        self.selected: str | None = None
        self._states: Mapping[str, str] = {}
        self._rows: Mapping[int, list[Box]] = {}
        self._near: list[Run] = []
        self._strips: dict[int, Strip] = {}

    def show(self, drawing: Drawing, selected: str | None) -> None:
        """Another drawing, with a box of it selected."""
        self.drawing, self.selected, self._states = drawing, selected, {}
        self.virtual_size = Size(drawing.width, len(drawing.lines))
        self._rows = {}
        for box in drawing.picture.boxes:
            rect = drawing.boxes[box.id]
            for y in range(rect.y, rect.y + rect.height):
                self._rows.setdefault(y, []).append(box)
        self._repaint()
        if selected is not None:
            self.call_after_refresh(self._reveal)

    def colour(self, states: Mapping[str, str]) -> None:
        """The states of the boxes have changed."""
        if states != self._states:
            self._states = dict(states)
            self._repaint()

    def select(self, box: str) -> None:
        if box != self.selected:
            self.selected = box
            self._repaint()
            self._reveal()
            self.post_message(self.Selected(box))

    def on_focus(self) -> None:
        self._reveal()

    def walk(self, direction: str) -> None:
        """Along a line up or down, to the neighbour left or right."""
        if self.drawing and self.selected is not None:
            box = neighbour(self.drawing, self.selected, direction)
            if box is not None:
                self.select(box)

    def _reveal(self) -> None:
        if self.drawing and self.selected in self.drawing.boxes:
            rect = self.drawing.boxes[self.selected]
            region = Region(rect.x, rect.y, rect.width, rect.height).grow((1, 1, 1, 1))
            self.scroll_to_region(region, animate=False, force=True)

    @property
    def _indent(self) -> int:
        """A drawing narrower than the pane stands in its middle."""
        width = self.drawing.width if self.drawing else 0
        return max(0, (self.scrollable_content_region.width - width) // 2)

    def on_click(self, event: events.Click) -> None:
        offset = event.get_content_offset(self)
        if self.drawing is None or offset is None:
            return
        x, y = offset.x + self.scroll_offset.x - self._indent, offset.y + self.scroll_offset.y
        box = self.drawing.at(x, y)
        if box is not None:
            self.select(box)

    def on_resize(self) -> None:
        self._reveal()

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self._strips.clear()

    def _repaint(self) -> None:
        self._strips.clear()
        self._near = [
            run for ends, runs in self.drawing.runs.items() if self.selected in ends for run in runs
        ] if self.drawing else []  # fmt: skip
        self.refresh()

    def render_line(self, y: int) -> Strip:
        width = self.scrollable_content_region.width
        line = y + self.scroll_offset.y
        base = self.rich_style
        if self.drawing is None or line >= len(self.drawing.lines):
            return Strip.blank(width, base)
        if line not in self._strips:
            self._strips[line] = self._paint(line)
        indent = Strip.blank(self._indent, base)
        left = self.scroll_offset.x
        strip = Strip.join([indent, self._strips[line]])
        return strip.crop_extend(left, left + width, base)

    def _paint(self, line: int) -> Strip:
        shown = cells(self.drawing.lines[line])
        shown += [" "] * (self.drawing.width - len(shown))
        styles = [self._style("line")] * len(shown)
        near = self._style("near")
        for x1, y1, x2, y2 in self._near:
            if min(y1, y2) <= line <= max(y1, y2):
                for x in range(min(x1, x2), min(max(x1, x2) + 1, len(shown))):
                    styles[x] = near
        for box in self._rows.get(line, ()):
            rect = self.drawing.boxes[box.id]
            style = self._box_style(box.id, box.kind)
            end = min(rect.x + rect.width, len(shown))
            styles[rect.x : end] = [style] * (end - rect.x)
            if box.id == self.selected and rect.height > 1:
                shown[rect.x : end] = [DOUBLE.get(cell, cell) for cell in shown[rect.x : end]]
            elif box.id == self.selected:
                shown[rect.x - 1] = "›"
            mark = MARKS[self._states.get(box.id, PENDING)]
            if mark and line == rect.y:
                # In the border of a box; of a lane, before its name.
                shown[rect.x + (1 if rect.height > 1 else 0)] = mark
        return Strip(
            Segment(cell, style) for cell, style in zip(shown, styles, strict=True) if cell
        ).simplify()

    def _box_style(self, box: str, kind: str) -> Style:
        state = self._states.get(box, PENDING)
        style = self._style(kind if state == PENDING else state)
        if box != self.selected:
            return style
        # The colour still tells the state.
        return style + Style(bgcolor=self._style("selected").bgcolor, bold=True)

    def _style(self, name: str) -> Style:
        return self.get_component_rich_style(f"graph--{name}")


def neighbour(drawing: Drawing, box: str, direction: str) -> str | None:
    """The box that an arrow leads to: along a line, the nearest; sideways, the next in its row.

    In lanes up and down lead from line to line, left to an input and right to a user.
    """
    here = drawing.boxes[box]
    if drawing.is_lanes and direction in ("up", "down"):
        y = here.y + (1 if direction == "down" else -1)
        return next((each for each, rect in drawing.boxes.items() if rect.y == y), None)
    if drawing.is_lanes or direction in ("up", "down"):
        up = direction in ("up", "left")
        ends = [
            line.source if up else line.target
            for line in drawing.picture.lines
            if (line.target if up else line.source) == box
        ]
        return min(ends, key=lambda each: _far(here, drawing.boxes[each]), default=None)
    beside = {
        each: rect.x - here.x
        for each, rect in drawing.boxes.items()
        if rect.y == here.y and (rect.x < here.x if direction == "left" else rect.x > here.x)
    }
    return min(beside, key=lambda each: abs(beside[each]), default=None)


def _far(one: Rect, other: Rect) -> tuple[int, int]:
    middle = abs(2 * one.x + one.width - 2 * other.x - other.width)
    return abs(one.y - other.y), middle
