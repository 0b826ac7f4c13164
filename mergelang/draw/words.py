"""Pieces of a recipe as short text: numbers, schedules, patterns, expressions."""

from collections.abc import Callable
from fractions import Fraction
from functools import lru_cache
from typing import Any

from mergelang.check.schedule import Arithmetic, Arms, Constant, Curve, Schedule
from mergelang.check.suggest import show
from mergelang.draw.cells import beginning, cell_count, end
from mergelang.graph.build import pattern_text
from mergelang.lang import ast
from mergelang.source import Span


def plain_text(span: Span) -> str:
    """The text of a span on one line, without comments."""
    return _plain(span.text)


@lru_cache(maxsize=1024)
def _plain(text: str) -> str:
    lines = (_without_comment(line) for line in text.splitlines())
    text = " ".join(" ".join(lines).split())
    for loose, tight in (("( ", "("), (", )", ")"), (" )", ")")):
        text = text.replace(loose, tight)
    return text


def _without_comment(line: str) -> str:
    quoted = False
    for at, char in enumerate(line):
        if char == '"' and line[at - 1 : at] != "\\":
            quoted = not quoted
        elif char == "#" and not quoted:
            return line[:at]
    return line


def shortened(text: str, width: int) -> str:
    """The text, cut to a width in cells with an ellipsis."""
    return text if cell_count(text) <= width else beginning(text, width - 1).rstrip() + "…"


def path_shortened(text: str, width: int) -> str:
    """The text, cut to a width: of a folder the end is kept, of a Hub model the beginning."""
    if cell_count(text) <= width or text.startswith("hf:"):
        return shortened(text, width)
    return "…" + end(text, width - 1)


def number_text(value: Fraction) -> str:
    """`0.4`, `2`, `1/3`: exact where a few decimals are."""
    if abs(value) >= 10**15:
        return show(value)
    short = f"{float(value):.6g}"
    return short if Fraction(short) == value else str(value.limit_denominator(10**6))


def schedule_text(schedule: Schedule, number: Callable[[Fraction], str] = number_text) -> str:
    """A number or schedule as a recipe writes it, on one line."""

    def text(each: Schedule) -> str:
        return schedule_text(each, number)

    match schedule:
        case Constant(value):
            return number(value)
        case Curve(points):
            return f"curve({', '.join(map(number, points))})"
        case Arms(arms, default):
            parts = [f"{pattern_text(pattern)} => {text(by)}" for pattern, by in arms]
            if default is not None:
                parts.append(f"_ => {text(default)}")
            return f"match {{ {', '.join(parts)} }}"
        case Arithmetic(op, left, right):
            left, right = (
                f"({text(each)})" if isinstance(each, Arithmetic) else text(each)
                for each in (left, right)
            )
            return f"{left} {op} {right}"


def option_text(value: Any) -> str:
    """An option's value as a recipe writes it; of one for each input all that differ."""
    match value:
        case bool():
            return str(value).lower()
        case Constant() | Curve() | Arms() | Arithmetic():
            return schedule_text(value)
        case tuple() if value and all(each == value[0] for each in value[1:]):
            return option_text(value[0])
        case tuple():
            return ", ".join(map(option_text, value))
        case None:
            return ""
    return pattern_text(value) if isinstance(value, ast.Pattern) else str(value)
