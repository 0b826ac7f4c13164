"""Cuts a file into statements, so that a mistake in one does not hide those of the next.

Knows brackets, strings, comments and line ends; what a statement says, the grammar knows.
"""

import re
from dataclasses import dataclass

from mergelang.errors import Diagnostic
from mergelang.lang.ast import Comment
from mergelang.source import Source, Span

_TOKEN = re.compile(
    r"""(?P<string>"(?:[^"\\\n]|\\.)*")
      | (?P<broken>"(?:[^"\\\n]|\\.)*\\?)
      | (?P<comment>\#[^\n]*)
      | (?P<open>[(\[{])
      | (?P<close>[)\]}])
      | (?P<line>\n)
      | (?P<blank>[^\S\n]+|\ufeff)
      | (?P<other>[^"\#()\[\]{}\n\s\ufeff]+)""",
    re.VERBOSE,
)

_BEGINS = re.compile(
    r"""(?:mergelang|seed)[ \t]+[0-9]
      | (?:use|output)[ \t]*"
      | (?:param|model|let)[ \t]+[^\W\d]\w*[ \t]*=(?!>)""",
    re.VERBOSE,
)
"""A statement word and what has to follow it: at the start of a line it ends open brackets."""

_CLOSES = {"(": ")", "[": "]", "{": "}"}


@dataclass
class _Cut:
    """The statement being read: where it began and ends so far, its open brackets."""

    start: int | None = None
    end: int = 0
    sound: bool = True


def cut(source: Source) -> tuple[list[Span], list[Comment], list[Diagnostic]]:
    """The sound statements of a file, its comments, and what is wrong with brackets and strings."""
    statements: list[Span] = []
    comments: list[Comment] = []
    problems: list[Diagnostic] = []
    brackets: list[int] = []
    now = _Cut()
    text = source.text

    def span(start: int, end: int) -> Span:
        return Span(source, start, end)

    def finish() -> None:
        nonlocal now
        if now.start is not None and now.sound:
            statements.append(span(now.start, now.end))
        now = _Cut()

    def unclosed(next_statement: int | None) -> None:
        if now.sound:
            at = brackets[-1]
            facts = {"bracket": text[at], "close": _CLOSES[text[at]]}
            begins = () if next_statement is None else (_word(source, next_statement),)
            problems.append(Diagnostic("E0104", span(at, at + 1), facts, begins))
        brackets.clear()
        now.sound = False
        finish()

    for token in _TOKEN.finditer(text):
        kind, start, end = token.lastgroup, token.start(), token.end()
        at_line_start = start == 0 or text[start - 1] == "\n"
        if brackets and at_line_start and _BEGINS.match(text, start):
            unclosed(start)
        if kind == "comment":
            said = token[0].rstrip()
            comments.append(Comment(said, span=span(start, start + len(said))))
            continue
        if kind == "line" and not brackets:
            finish()
        if kind in ("line", "blank"):
            continue
        if now.start is None:
            now.start = start
        now.end = end
        if kind == "open":
            brackets.append(start)
        elif kind == "close":
            problem = _close(source, start, brackets)
            if problem is not None:
                if now.sound:
                    problems.append(problem)
                now.sound = False
        elif kind == "broken":
            if now.sound:
                problems.append(Diagnostic("E0106", span(start, end)))
            now.sound = False
    if brackets:
        unclosed(None)
    finish()
    return statements, comments, problems


def _close(source: Source, at: int, brackets: list[int]) -> Diagnostic | None:
    """Takes the bracket that this one closes off the list; a Diagnostic if it closes none."""
    mark = source.text[at]
    here = Span(source, at, at + 1)
    if not brackets:
        return Diagnostic("E0105", here, {"bracket": mark, "alone": mark})
    opened = brackets.pop()
    wanted = _CLOSES[source.text[opened]]
    if mark == wanted:
        return None
    facts = {"bracket": mark, "wanted": wanted}
    return Diagnostic("E0105", here, facts, (Span(source, opened, opened + 1),))


def _word(source: Source, start: int) -> Span:
    """The statement word at this place."""
    end = re.compile(r"\w+").match(source.text, start).end()
    return Span(source, start, end)
