"""The words of a text with what they are, for editors: also of a text that is not right yet.

The words are the terminals of the grammar; what a name is follows from what stands around it. Knows
no names that a recipe gives.
"""

import re
from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

from mergelang.lang.parser import parser

STATEMENTS = ("mergelang", "seed", "use", "param", "model", "let", "output")
"""The words that statements begin with."""

KEYWORD, NAME, GIVEN, CALL, OPTION = "keyword", "name", "given", "call", "option"
NUMBER, STRING, ROLE, COMMENT, MARK = "number", "string", "role", "comment", "mark"
KINDS = (KEYWORD, NAME, GIVEN, CALL, OPTION, NUMBER, STRING, ROLE, COMMENT, MARK)


class Word(NamedTuple):
    """Characters `start` up to `end` of a text; `kind` is one of KINDS.

    `given` is a name that a statement gives, `call` an operator, `option` what stands before a
    colon, `mark` everything that is no word.
    """

    start: int
    end: int
    kind: str


def words(text: str) -> list[Word]:
    """The words of a text in its order. What is no word of the language is left out."""
    found = [
        (match.start(), match.end(), match.lastgroup or "") for match in _pattern().finditer(text)
    ]
    return list(_named(text, found))


@cache
def _pattern() -> re.Pattern[str]:
    """The terminals of the grammar, comments first and names before marks."""
    known = {each.name: each.pattern.to_regexp() for each in parser().terminals}
    groups = {
        "comment": r"\#[^\n]*",
        "string": known["STRING"],
        "open": r'"(?:[^"\\\n]|\\.)*',
        "role": known["ROLE"],
        "number": known["NUMBER"],
        "keyword": r"(?:match|true|false|_)\b",
        "name": known["NAME"],
        "mark": r"=>|\.\.|[-+*/=!&|.,:(){}\[\]]",
    }
    return re.compile("|".join(f"(?P<{name}>{each})" for name, each in groups.items()))


def _named(text: str, found: list[tuple[int, int, str]]) -> Iterator[Word]:
    """Tells the names apart: by the line's beginning, and by what follows."""
    statement = ""
    for at, (start, end, kind) in enumerate(found):
        follows = next((text[a:b] for a, b, k in found[at + 1 : at + 2] if k != "comment"), "")
        if kind == "open":
            kind = STRING
        elif kind == "name":
            word = text[start:end]
            begins = start == 0 or text[start - 1] == "\n"
            if begins and word in STATEMENTS and follows not in (":", "(", ".", ","):
                kind, statement = KEYWORD, word
            elif word == "as" and statement == "use" and found[at - 1][2] == "string":
                kind = KEYWORD
            elif follows == "=" and statement in ("param", "model", "let"):
                kind = GIVEN
            elif follows == "(":
                kind = CALL
            elif follows == ":":
                kind = OPTION
        yield Word(start, end, kind)


def word_at(text: str, offset: int) -> Word | None:
    """The word at a place, or the one that ends there."""
    near = [each for each in words(text) if each.start <= offset <= each.end]
    inside = [each for each in near if each.kind != MARK]
    return (inside or near or [None])[-1]
