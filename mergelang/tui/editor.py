"""The text of a recipe as a widget: its words in colours, its mistakes underlined."""

from collections.abc import Iterable, Mapping
from types import ModuleType

from textual import events
from textual.message import Message
from textual.widgets import TextArea

from mergelang.errors import Diagnostic
from mergelang.source import Source

TAKEN = ("up", "down", "tab", "enter", "escape", "pageup", "pagedown")
"""Keys that the list of completions gets while it is open."""


class Editor(TextArea):
    """Edits a recipe. `completing`: a list of completions is open and takes some keys."""

    _problems: tuple[tuple[int, int, bool], ...] = ()
    _colours: ModuleType | None = None
    """None until the text has been painted: the lexer takes a moment to load."""

    class Hovered(Message):
        """The mouse stands over a place of the text."""

        def __init__(self, offset: int):
            super().__init__()
            self.offset = offset

    class Steered(Message):
        """A key for the list of completions."""

        def __init__(self, key: str):
            super().__init__()
            self.key = key

    class Typed(Message):
        """A character was typed."""

    def __init__(self, **options):
        super().__init__(
            soft_wrap=False, show_line_numbers=True, tab_behavior="indent", **options
        )
        self.completing = False

    def on_mount(self) -> None:
        self.indent_width = 2
        self.call_after_refresh(self._begin_colours)

    def _begin_colours(self) -> None:
        from mergelang.tui import colours

        self._colours = colours
        for theme in colours.EDITORS.values():
            self.register_theme(theme)
        self.watch(self.app, "theme", self._follow_theme)
        self._build_highlight_map()
        self.refresh()

    def _follow_theme(self, name: str) -> None:
        if name in self._colours.EDITORS:
            self.theme = name

    # Places: (row, column) of the widget, offsets of the text

    @property
    def offset_of_cursor(self) -> int:
        return self.offset_at(self.cursor_location)

    def offset_at(self, location: tuple[int, int]) -> int:
        return self.document.get_index_from_location(location)

    def location_at(self, offset: int) -> tuple[int, int]:
        """Row and column of a character; the end for one behind it."""
        return self.document.get_location_from_index(min(offset, len(self.text)))

    def go_to(self, start: int, end: int | None = None) -> None:
        """Puts the cursor there, in sight; a part of the text is selected."""
        self.selection = type(self.selection)(
            self.location_at(start), self.location_at(start if end is None else end)
        )
        self.scroll_cursor_visible(center=True, animate=False)

    # Colours

    def mark(self, found: Iterable[Diagnostic], source: Source) -> None:
        """Underlines mistakes and warnings of a text, as far as it is still the same."""
        self._problems = tuple(
            (each.span.start, max(each.span.end, each.span.start + 1), each.is_error)
            for each in found if each.span is not None and each.span.source is source
        )  # fmt: skip
        self._build_highlight_map()
        self.refresh()

    def _build_highlight_map(self) -> None:
        """Called by TextArea after each edit: rows with (first byte, last byte, style)."""
        self._line_cache.clear()
        self._highlights.clear()
        if self._colours is None:
            return
        text = self.text
        lines = _Lines(text)
        for word in self._colours.words(text):
            lines.add(self._highlights, word.start, word.end, word.kind)
        for start, end, is_error in self._problems:
            kind = self._colours.ERROR if is_error else self._colours.WARNING
            lines.add(self._highlights, start, min(end, len(text)), kind)

    # Keys and mouse

    async def _on_key(self, event: events.Key) -> None:
        if self.completing and event.key in TAKEN:
            event.stop()
            event.prevent_default()
            self.post_message(self.Steered(event.key))
            return
        if event.key == "enter" and not self.read_only:
            event.stop()
            event.prevent_default()
            self.insert("\n" + indent_below(self._line_before_cursor()))
            return
        await super()._on_key(event)
        if event.is_printable or event.key == "backspace":
            self.post_message(self.Typed())

    def _line_before_cursor(self) -> str:
        row, column = self.cursor_location
        return self.document.get_line(row)[:column]

    async def _on_mouse_move(self, event: events.MouseMove) -> None:
        await super()._on_mouse_move(event)
        if event.x >= self.gutter_width:
            location = self.get_target_document_location(event)
            self.post_message(self.Hovered(self.offset_at(location)))


def indent_below(line: str) -> str:
    """The blanks that a new line below this one begins with."""
    blanks = line[: len(line) - len(line.lstrip())]
    return blanks + "  " * line.rstrip().endswith(("(", "[", "{"))


class _Lines:
    """Turns offsets of a text into rows and bytes of a row, as TextArea wants its highlights."""

    def __init__(self, text: str):
        self._text = text
        self._source = Source("", text)
        self._ascii = text.isascii()

    def add(
        self, highlights: Mapping[int, list[tuple[int, int | None, str]]], start: int, end: int,
        kind: str,
    ) -> None:  # fmt: skip
        while start < end or start == end == len(self._text):
            row, column = self._source.position(start)
            line = self._source.line(row)
            last = min(end - start + column - 1, len(line))
            first = column - 1
            if last > first:
                highlights[row - 1].append((self._byte(line, first), self._byte(line, last), kind))
            start += len(line) - first + 1
            if start >= len(self._text):
                break

    def _byte(self, line: str, column: int) -> int:
        return column if self._ascii else len(line[:column].encode())
