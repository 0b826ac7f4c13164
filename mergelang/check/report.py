"""Collects what is wrong with a recipe, each mistake once."""

from collections.abc import Iterable
from typing import Any

from mergelang.errors import Diagnostic
from mergelang.source import Source, Span


class Report:
    """The diagnostics of one check, over all its files."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, Any], Diagnostic] = {}
        self.broken: set[Source] = set()
        """Sources with statements that could not be read, so that not all of their names exist."""

    def add(
        self, code: str, span: Span | None, *related: Span, **facts: Any
    ) -> None:
        """Notes a mistake at a place; the same mistake at the same place is noted once."""
        self.extend([Diagnostic(code, span, facts, related)])

    def extend(self, diagnostics: Iterable[Diagnostic]) -> None:
        for each in diagnostics:
            self._found.setdefault((each.code, each.span or str(each.facts)), each)

    @property
    def has_errors(self) -> bool:
        return any(each.is_error for each in self._found.values())

    def sorted(self, main: Source) -> tuple[Diagnostic, ...]:
        """All of them in the order of the text, the main file's first."""
        files = [main]
        for each in self._found.values():
            if each.span is not None and each.span.source not in files:
                files.append(each.span.source)

        def order(each: Diagnostic) -> tuple[int, int, str]:
            if each.span is None:
                return -1, 0, each.code
            return files.index(each.span.source), each.span.start, each.code

        return tuple(sorted(self._found.values(), key=order))
