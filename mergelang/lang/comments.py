"""Which item of a recipe each comment stands by. Knows places in a text, not how it is written."""

import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from mergelang.lang import ast


class Beside(NamedTuple):
    """The comments of one item: on lines of their own before it, and behind it."""

    before: list[ast.Comment]
    behind: list[ast.Comment]


class Comments:
    """The comments of a recipe. Each is given out once: to the innermost item that asks first."""

    def __init__(self, recipe: ast.Recipe):
        self._text = recipe.source.text
        self._comments = recipe.comments
        self._starts = [each.span.start for each in recipe.comments]
        self._taken: set[int] = set()

    def around(
        self, nodes: Sequence[ast.Node], start: int | None, end: int | None
    ) -> tuple[list[Beside], list[ast.Comment]]:
        """What stands beside each of the nodes between `start` and `end`, and what is left.

        A comment within a node goes before it, or behind it where a part of the node has taken an
        earlier one, so that the order is kept. Where `start` or `end` is None there is no line
        before the first node or behind the last one, and comments there are not taken.
        """
        found = []
        for index, node in enumerate(nodes):
            last = index + 1 == len(nodes)
            following = (end or node.span.end) if last else nodes[index + 1].span.start
            stop = self._behind_parentheses(node.span.end, following)
            nested = self.first_taken(node.span.start, stop)
            before, behind = [], []
            if start is not None:
                before = self.take(start, nested)
            if end is not None or not last:
                behind = self.take(nested, min(self._line_end(stop), following))
            found.append(Beside(before, behind))
            start = stop
        return found, [] if end is None else self.take(start or 0, end)

    def take(self, start: int, end: int) -> list[ast.Comment]:
        """The comments between two places that nothing has taken yet."""
        free = self._between(start, end)
        taken = [each for each in free if each.span.start not in self._taken]
        self._taken.update(each.span.start for each in taken)
        return taken

    def first_taken(self, start: int, end: int) -> int:
        """The place of the first comment between these places that is taken, else the end."""
        places = (each.span.start for each in self._between(start, end))
        return next((place for place in places if place in self._taken), end)

    def _between(self, start: int, end: int) -> Sequence[ast.Comment]:
        return self._comments[bisect_left(self._starts, start) : bisect_left(self._starts, end)]

    def closing(self, start: int, end: int) -> int:
        """The first parenthesis that closes between these places, else the end."""
        return next(self._parentheses(start, end), end)

    def _behind_parentheses(self, start: int, end: int) -> int:
        """Behind the last parenthesis that closes between these places: the node's own."""
        return max([each + 1 for each in self._parentheses(start, end)], default=start)

    def _parentheses(self, start: int, end: int) -> Iterator[int]:
        found = re.compile(r"#[^\n]*|\)").finditer(self._text, start, end)
        return (each.start() for each in found if each[0] == ")")

    def _line_end(self, offset: int) -> int:
        end = self._text.find("\n", offset)
        return len(self._text) if end < 0 else end
