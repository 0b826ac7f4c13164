"""Source texts, spans in them, and drawing a span with carets.

Knows text and columns only; what a mistake means stands in `wording`.
"""

from bisect import bisect_right
from dataclasses import dataclass, field
from functools import cached_property


@dataclass(frozen=True, eq=False)
class Source:
    """One recipe text. `name` is what people see: a path as they gave it, or `<text>`."""

    name: str
    text: str = field(repr=False)

    @cached_property
    def _starts(self) -> list[int]:
        return [0, *(i + 1 for i, c in enumerate(self.text) if c == "\n")]

    def position(self, offset: int) -> tuple[int, int]:
        """Line and column of a character offset, both from 1."""
        line = bisect_right(self._starts, offset) - 1
        return line + 1, offset - self._starts[line] + 1

    def line(self, number: int) -> str:
        """Line `number` (from 1) as written, without its newline."""
        start = self._starts[number - 1]
        end = self.text.find("\n", start)
        return self.text[start : len(self.text) if end < 0 else end].rstrip("\r")


@dataclass(frozen=True)
class Span:
    """Characters `start` up to `end` (exclusive) of a source."""

    source: Source
    start: int
    end: int

    @property
    def text(self) -> str:
        return self.source.text[self.start : self.end]

    def to(self, other: "Span") -> "Span":
        """The span from the start of this one to the end of the other."""
        return Span(self.source, self.start, max(self.end, other.end))


def draw_spans(main: tuple[Span, str], others: tuple[tuple[Span, str], ...] = ()) -> list[str]:
    """The lines that show spans of one or more sources, each with carets and its label.

    The main span is marked `^^^`, the others `---`. A span over several lines is marked on its
    first line only.
    """
    shown = [(main[0], "^", main[1]), *((span, "-", label) for span, label in others)]
    gutter = max(len(str(span.source.position(span.start)[0])) for span, _, _ in shown)
    lines: list[str] = []
    for at, source in enumerate(dict.fromkeys(span.source for span, _, _ in shown)):
        marks = [mark for mark in shown if mark[0].source is source]
        head = marks[0][0].source.position(marks[0][0].start)
        arrow = "-->" if at == 0 else ":::"
        lines.append(f"{' ' * gutter}{arrow} {source.name}:{head[0]}:{head[1]}")
        lines.append(f"{' ' * gutter} |")
        previous = None
        for span, char, label in sorted(marks, key=lambda mark: mark[0].start):
            number, column = source.position(span.start)
            text = source.line(number)
            if previous is not None and number > previous + 1:
                lines.append("...")
            if number != previous:
                lines.append(f"{number:>{gutter}} | {text}".rstrip())
            width = max(1, min(span.end - span.start, len(text) - column + 1))
            # Tabs are kept under tabs, so that the carets line up in any terminal.
            pad = "".join("\t" if c == "\t" else " " for c in text[: column - 1].ljust(column - 1))
            lines.append(f"{' ' * gutter} | {pad}{char * width} {label}".rstrip())
            previous = number
    return lines
