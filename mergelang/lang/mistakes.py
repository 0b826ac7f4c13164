"""What is wrong with a statement that the parser refuses, in words that help.

Looks at the place where the parser stopped, at what it would have taken there, and at what stands
there instead.
"""

import re
from difflib import get_close_matches

from lark import Token
from lark.exceptions import UnexpectedCharacters, UnexpectedInput, UnexpectedToken

from mergelang.errors import Diagnostic
from mergelang.source import Span

STATEMENTS = ("mergelang", "seed", "use", "param", "model", "let", "output")
RESERVED = {"_MATCH", "TRUE", "FALSE", "_ANYTHING"}
BEGIN_VALUE = {"NAME", "NUMBER", "STRING", "TRUE", "FALSE", "_MATCH"}
OPERATORS = {"PLUS", "MINUS", "TIMES", "OVER", "DOT", "VBAR", "AMPERSAND", "_ARROW", "EQUAL"}

SHOWN = {
    "NAME": "a name", "NUMBER": "a number", "STRING": "a string", "LPAR": "`(`", "RPAR": "`)`",
    "LSQB": "`[`", "RSQB": "`]`", "LBRACE": "`{`", "RBRACE": "`}`", "COMMA": "`,`",
    "COLON": "`:`", "EQUAL": "`=`", "DOT": "`.`", "DOTS": "`..`", "_ARROW": "`=>`",
    "_AS": "`as`",
}  # fmt: skip
"""How tokens are called; a token without an entry is not worth naming."""

QUOTES = "'\u2018\u2019\u201c\u201d\u201e`"


def diagnose(statement: Span, error: UnexpectedInput) -> Diagnostic:
    """The mistake behind an error of the parser, at its place in the file."""
    if isinstance(error, UnexpectedCharacters):
        return _characters(statement, error)
    assert isinstance(error, UnexpectedToken)
    token = error.token
    accepts = set(error.interactive_parser.accepts())
    if token.type == "$END":
        here = Span(statement.source, statement.end, statement.end + 1)
        return Diagnostic("E0110", here, {"wanted": _wanted(accepts)})
    at = Span(statement.source, statement.start + token.start_pos, statement.start + token.end_pos)
    if token.start_pos == 0:
        return _first(statement, token, at)
    if "_ARROW" in accepts and token.type in ("COLON", "EQUAL"):
        return Diagnostic("E0122", at, {"text": str(token)})
    if "COLON" in accepts and token.type in ("EQUAL", "_ARROW"):
        return Diagnostic("E0119", at, {"text": str(token)})
    if token.type in RESERVED and "NAME" in accepts and "NUMBER" not in accepts:
        return Diagnostic("E0109", at, {"name": str(token)})
    if accepts == {"STRING"}:
        return Diagnostic("E0123", _run(at), {"text": _run(at).text})
    if accepts == {"STRING", "RBRACE"} and token.type == "NAME":
        return Diagnostic("E0120", at, {"name": str(token)})
    if accepts == {"NAME", "RBRACE"} and token.type == "STRING":
        return Diagnostic("E0126", at, {"text": str(token)})
    if "$END" in accepts:
        if token.type == "LBRACE":
            return Diagnostic("E0121", at)
        return Diagnostic("E0111", at, {"text": str(token)})
    if "COMMA" in accepts and token.type in BEGIN_VALUE | {"LBRACE", "ROLE"}:
        return Diagnostic("E0108", at, {"text": str(token)})
    digits = re.compile(r"\.([0-9]+)").match(statement.source.text, at.start)
    number = f"0.{digits[1]}" if digits and "NUMBER" in accepts else None
    return Diagnostic(
        "E0101", at, {"text": str(token), "wanted": _wanted(accepts), "number": number}
    )


def _first(statement: Span, token: Token, at: Span) -> Diagnostic:
    """A line that does not begin as a statement does."""
    if token.type in OPERATORS:
        return Diagnostic("E0103", at, {"text": str(token)})
    word = str(token)
    named = re.match(r"\w+[ \t]*=(?!>)", statement.text)
    close = [] if named else get_close_matches(word, STATEMENTS[1:], 1, 0.6)
    return Diagnostic(
        "E0102", at,
        {
            "word": word,
            "suggestion": close[0] if close else None,
            "let": word if named else None,
            "known": None if close or named else ", ".join(f"`{each}`" for each in STATEMENTS),
        },
    )  # fmt: skip


def _characters(statement: Span, error: UnexpectedCharacters) -> Diagnostic:
    """Something that is no word of the language."""
    start = statement.start + error.pos_in_stream
    text = statement.source.text
    number = re.compile(r"\d+(?:\.\d+)?\w+").match(text, start)
    if number:
        return Diagnostic("E0116", Span(statement.source, start, number.end()), {"text": number[0]})
    char = text[start]
    at = Span(statement.source, start, start + 1)
    facts = {
        "char": char,
        "quotes": '"' if char in QUOTES else None,
        "semicolon": char if char == ";" else None,
        "percent": char if char == "%" else None,
    }
    if start == statement.start and char in "+-*/":
        return Diagnostic("E0103", at, {"text": char})
    return Diagnostic("E0107", at, facts)


def _run(at: Span) -> Span:
    """From a token to the next blank: what was probably meant as one string."""
    found = re.compile(r"\S+").match(at.source.text, at.start)
    return Span(at.source, at.start, max(at.end, found.end()))


def _wanted(accepts: set[str]) -> str:
    """What may stand at a place, in words."""
    if {"NAME", "NUMBER", "LPAR"} <= accepts:
        return "an expression"
    if {"NAME", "ROLE"} <= accepts:
        return "a pattern"
    names = [SHOWN[name] for name in SHOWN if name in accepts]
    if not names:
        return "the end of the statement"
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"
