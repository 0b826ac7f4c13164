"""A table of any length: rows are drawn when they come into sight, so no row is a widget."""

import re
from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from mergelang.draw.cells import padded


class Column(NamedTuple):
    """`right`: aligned there, as numbers are."""

    title: str
    right: bool = False


class Line(NamedTuple):
    """One row: what is shown, and by what each column is sorted; None stands last both ways."""

    shown: tuple[str, ...]
    keys: tuple[Any, ...]


GAP = 2
"""Columns between two columns; behind the title of one there is room for a mark."""


class Table(ScrollView, can_focus=True):
    """Rows in an order, one of them chosen."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"table--head", "table--chosen", "table--row"}
    BINDINGS: ClassVar[list[Binding]] = [
        Binding("up,k", "step(-1)", "up", show=False),
        Binding("down,j", "step(1)", "down", show=False),
        Binding("pageup", "leap(-1)", "page up", show=False),
        Binding("pagedown", "leap(1)", "page down", show=False),
        Binding("home,g", "end(0)", "first", show=False),
        Binding("end,G", "end(1)", "last", show=False),
        Binding("enter", "take", "take", show=False),
    ]

    class Chosen(Message):
        """Another row is chosen, or with `taken` the row was asked for."""

        def __init__(self, row: int | None, taken: bool = False):
            super().__init__()
            self.row, self.taken = row, taken

    def __init__(self, **options):
        super().__init__(**options)
        self.columns: Sequence[Column] = ()
        self.rows: Sequence[Line] = ()
        self.sorted_by: tuple[int, bool] | None = None
        self._filter = ""
        self._order: list[int] = []
        self._widths: list[int] = []
        self._at = 0

    def show(self, columns: Sequence[Column], rows: Sequence[Line]) -> None:
        """Other rows; filter and order stay, and so does the place of the choice."""
        self.columns, self.rows = columns, rows
        self._widths = [
            max([len(column.title), *(len(row.shown[i]) for row in rows)])
            for i, column in enumerate(columns)
        ]
        self._arrange()

    @property
    def chosen(self) -> int | None:
        """The number of the chosen row."""
        return self._order[self._at] if self._order else None

    @property
    def count(self) -> int:
        """Rows that the filter lets through."""
        return len(self._order)

    def filter(self, text: str) -> None:
        """Only rows whose first column holds every word of a text; in one, `*` is anything."""
        self._filter = text
        self._arrange()

    def sort(self, column: int) -> None:
        """By a column; by the same one again, the other way round."""
        again = self.sorted_by is not None and self.sorted_by[0] == column
        self.sorted_by = column, (again and not self.sorted_by[1])
        self._arrange()

    def sort_next(self) -> None:
        """By the same column the other way round, then by the next column."""
        if self.sorted_by is None:
            self.sort(0)
        elif not self.sorted_by[1]:
            self.sort(self.sorted_by[0])
        else:
            self.sort((self.sorted_by[0] + 1) % len(self.columns))

    def _arrange(self) -> None:
        kept = self.chosen
        words = [
            re.compile(".*".join(map(re.escape, word.split("*"))), re.IGNORECASE)
            for word in self._filter.split()
        ]
        order = [
            number for number, row in enumerate(self.rows)
            if all(word.search(row.shown[0]) for word in words)
        ]  # fmt: skip
        if self.sorted_by is not None and self.columns:
            column, turned = self.sorted_by
            known = [number for number in order if self.rows[number].keys[column] is not None]
            known.sort(key=lambda number: self.rows[number].keys[column], reverse=turned)
            order = known + [number for number in order if self.rows[number].keys[column] is None]
        self._order = order
        self._at = order.index(kept) if kept in order else 0
        # Behind the last column stands nothing, but for the mark of the order.
        is_last = self.sorted_by is not None and self.sorted_by[0] == len(self._widths) - 1
        width = sum(self._widths) + GAP * (len(self._widths) - (not is_last))
        self.virtual_size = Size(width, len(order) + 1)
        self.refresh()
        self._reveal()
        self.post_message(self.Chosen(self.chosen))

    def choose(self, at: int) -> None:
        """The row at a place in the order."""
        if not self._order:
            return
        at = min(max(at, 0), len(self._order) - 1)
        if at != self._at:
            self._at = at
            self.refresh()
            self._reveal()
            self.post_message(self.Chosen(self.chosen))

    def _reveal(self) -> None:
        # The head takes the first line of the window, so the row above has to be in sight, too.
        self.scroll_to_region(
            Region(self.scroll_offset.x, self._at, 1, 2), animate=False, force=True
        )

    def action_step(self, direction: int) -> None:
        self.choose(self._at + direction)

    def action_leap(self, direction: int) -> None:
        self.choose(self._at + direction * max(1, self.size.height - 2))

    def action_end(self, end: int) -> None:
        self.choose(len(self._order) if end else 0)

    def action_take(self) -> None:
        self.post_message(self.Chosen(self.chosen, taken=True))

    def on_click(self, event: events.Click) -> None:
        offset = event.get_content_offset(self)
        if offset is None:
            return
        if offset.y == 0:
            x, at = offset.x + self.scroll_offset.x, 0
            for number, width in enumerate(self._widths):
                if at <= x < at + width + GAP:
                    self.sort(number)
                at += width + GAP
        else:
            self.choose(offset.y - 1 + self.scroll_offset.y)

    def render_line(self, y: int) -> Strip:
        width = self.scrollable_content_region.width
        base = self.rich_style
        if not self.columns:
            return Strip.blank(width, base)
        if y == 0:
            titles = [column.title for column in self.columns]
            head = self.get_component_rich_style("table--head")
            return self._line(titles, head, width, self.sorted_by)
        at = y - 1 + self.scroll_offset.y
        if at >= len(self._order):
            return Strip.blank(width, base)
        chosen = "table--chosen" if at == self._at else "table--row"
        shown = self.rows[self._order[at]].shown
        return self._line(shown, self.get_component_rich_style(chosen), width)

    def _line(
        self, shown: Sequence[str], style: Style, width: int,
        order: tuple[int, bool] | None = None,
    ) -> Strip:  # fmt: skip
        """A row, or the titles, of which one tells the `order` of the rows."""
        parts = []
        for number, (text, wide, column) in enumerate(
            zip(shown, self._widths, self.columns, strict=True)
        ):
            gap = " " * GAP if order is None or order[0] != number else " ▼" if order[1] else " ▲"
            parts.append(padded(text, wide, right=column.right) + gap)
        strip = Strip([Segment("".join(parts), style)])
        left = self.scroll_offset.x
        return strip.crop_extend(left, left + width, style)
