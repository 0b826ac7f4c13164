"""Text with places where lines may break, and its printing within a width.

A document is a string, one of the marks below, a tuple of documents one after the other, a `Nest`
or a `Group`. The lines of a group break all or none.
"""

from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True)
class Mark:
    """A place that prints differently in a broken group (`broken`) and in a whole one (`flat`)."""

    flat: str
    broken: str
    hard: bool = False


LINE = Mark(" ", "\n")
SOFT = Mark("", "\n")
HARD = Mark("", "\n", hard=True)
"""A line end that breaks the groups it stands in."""
BREAK = Mark("", "", hard=True)
"""Nothing, that breaks the groups it stands in."""


@dataclass(frozen=True)
class Group:
    inner: "Doc"


@dataclass(frozen=True)
class Nest:
    """Lines that begin within are indented by two more spaces."""

    inner: "Doc"


Doc: TypeAlias = "str | Mark | Group | Nest | tuple[Doc, ...]"


def only_broken(text: str) -> Mark:
    """Text that stands in a broken group only: a trailing comma."""
    return Mark("", text)


def render(doc: Doc, width: int) -> str:
    """The text, at most `width` columns wide where that can be had."""
    out: list[str] = []
    column = 0
    stack: list[tuple[int, bool, Doc]] = [(0, True, doc)]
    while stack:
        indent, broken, each = stack.pop()
        match each:
            case tuple():
                stack.extend((indent, broken, part) for part in reversed(each))
            case Nest(inner):
                stack.append((indent + 2, broken, inner))
            case Group(inner):
                fits = _width(inner) + _until_break(stack) <= width - column
                stack.append((indent, not fits, inner))
            case _:
                text = each if isinstance(each, str) else each.broken if broken else each.flat
                if text == "\n":
                    out.append("\n" + " " * indent)
                    column = indent
                else:
                    out.append(text)
                    column += len(text)
    return "\n".join(line.rstrip() for line in "".join(out).split("\n"))


_INFINITE = 10**9


def _width(doc: Doc) -> int:
    """Columns of a document on one line; infinite when it has to break."""
    total, stack = 0, [doc]
    while stack:
        each = stack.pop()
        match each:
            case tuple():
                stack.extend(each)
            case Nest(inner) | Group(inner):
                stack.append(inner)
            case Mark(hard=True):
                return _INFINITE
            case Mark(flat=flat):
                total += len(flat)
            case _:
                total += len(each)
    return total


def _until_break(stack: list[tuple[int, bool, Doc]]) -> int:
    """Columns of what follows on the same line."""
    total = 0
    pending = list(stack)
    while pending:
        indent, broken, each = pending.pop()
        match each:
            case tuple():
                pending.extend((indent, broken, part) for part in reversed(each))
            case Nest(inner):
                pending.append((indent, broken, inner))
            case Group(inner):
                pending.append((indent, False, inner))
            case Mark():
                text = each.broken if broken else each.flat
                if text == "\n":
                    return total
                total += len(text)
            case _:
                total += len(each)
        if total > _INFINITE:
            break
    return total
