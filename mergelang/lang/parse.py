"""Text to tree, statement by statement: every mistake of a file is found in one go."""

import re
from fractions import Fraction
from typing import Any

from lark import Token, Tree
from lark.exceptions import UnexpectedInput

from mergelang.errors import Diagnostic
from mergelang.lang import ast
from mergelang.lang.mistakes import diagnose
from mergelang.lang.parser import parser
from mergelang.lang.statements import cut
from mergelang.source import Source, Span

DEEPEST = 100
"""How deeply expressions may be nested."""

UNITS = {
    "": Fraction(1), "%": Fraction(1, 100), "B": Fraction(1),
    "kB": Fraction(10**3), "MB": Fraction(10**6), "GB": Fraction(10**9), "TB": Fraction(10**12),
    "kiB": Fraction(2**10), "KiB": Fraction(2**10), "MiB": Fraction(2**20),
    "GiB": Fraction(2**30), "TiB": Fraction(2**40),
}  # fmt: skip
"""What a number is multiplied with for the unit behind it."""

DIGITS = 150
"""Digits of a number, and its largest power of ten: so that products of two fit into float64."""

SEED = 10**18 - 1
LAYER = 9999
"""The largest whole numbers, by what they are for."""

ESCAPES = {'"': '"', "\\": "\\", "n": "\n", "t": "\t"}
"""What may stand behind a backslash in a string."""


def parse(source: Source) -> tuple[ast.Recipe, list[Diagnostic]]:
    """The tree of a file and what is wrong with its text, in the order of the text.

    A statement with a mistake is told once and left out of the tree.
    """
    spans, comments, problems = cut(source)
    statements = []
    before = None
    for span in spans:
        try:
            before = _statement(span)
            statements.append(before)
        except _Wrong as wrong:
            problems.append(wrong.diagnostic)
            if wrong.diagnostic.code == "E0103" and before is not None:
                statements.remove(before)  # its other half is the line that cannot be read
            before = None
    for each in statements[1:]:
        if isinstance(each, ast.Edition):
            problems.append(Diagnostic("E0118", each.span, {}, (statements[0].span,)))
    problems.sort(key=lambda each: each.span.start)
    return ast.Recipe(source, tuple(statements), tuple(comments)), problems


class _Wrong(Exception):
    def __init__(self, code: str, span: Span, **facts: Any):
        self.diagnostic = Diagnostic(code, span, facts)


def _statement(span: Span) -> ast.Statement:
    try:
        tree = parser().parse(span.text)
    except UnexpectedInput as error:
        wrong = _Wrong("", span)
        wrong.diagnostic = diagnose(span, error)
        raise wrong from None
    builder = _Builder(span)
    return builder.build(tree, 0)


class _Builder:
    """Makes the nodes of one statement; positions in the statement become spans of the file."""

    def __init__(self, span: Span):
        self._source, self._offset = span.source, span.start

    def build(self, item: Any, depth: int) -> Any:
        """The node of a tree or token; its children first."""
        if not isinstance(item, Tree):
            return item
        span = self._span(item)
        if depth > DEEPEST:
            raise _Wrong("E0124", span, deepest=DEEPEST)
        children = [self.build(child, depth + 1) for child in item.children]
        return getattr(self, f"_{item.data}")(span, *children)

    def _span(self, item: Tree | Token) -> Span:
        if isinstance(item, Token):
            start, end = item.start_pos, item.end_pos
        else:
            start, end = item.meta.start_pos, item.meta.end_pos
        return Span(self._source, self._offset + start, self._offset + end)

    # Statements

    def _edition(self, span: Span, number: Token) -> ast.Edition:
        return ast.Edition(self._whole(number, "E0117", SEED), span=span)

    def _seed(self, span: Span, number: Token) -> ast.Seed:
        return ast.Seed(self._whole(number, "E0117", SEED), span=span)

    def _use(self, span: Span, path: Token, name: ast.Name) -> ast.Use:
        return ast.Use(self._text(path), name, span=span)

    def _param(
        self, span: Span, name: ast.Name, value: ast.Expr, record: ast.Record | None
    ) -> ast.Param:
        return ast.Param(name, value, record, span=span)

    def _model(self, span: Span, name: ast.Name, source: Token) -> ast.Model:
        return ast.Model(name, self._text(source), span=span)

    def _let(self, span: Span, name: ast.Name, value: ast.Expr) -> ast.Let:
        return ast.Let(name, value, span=span)

    def _output(
        self, span: Span, path: Token, value: ast.Expr, record: ast.Record | None
    ) -> ast.Output:
        return ast.Output(self._text(path), value, record, span=span)

    # Expressions

    def _binary(self, span: Span, left: ast.Expr, op: Token, right: ast.Expr) -> ast.Binary:
        return ast.Binary(str(op), left, right, span=span)

    def _negative(self, span: Span, op: Token, operand: ast.Expr) -> ast.Unary:
        return ast.Unary(str(op), operand, span=span)

    def _attribute(self, span: Span, value: ast.Expr, name: ast.Name) -> ast.Attribute:
        return ast.Attribute(value, name, span=span)

    def _slice(self, span: Span, value: ast.Expr, range: ast.Range) -> ast.Slice:
        return ast.Slice(value, range, span=span)

    def _call(self, span: Span, function: ast.Expr, *arguments: ast.Argument) -> ast.Call:
        if not isinstance(function, ast.Name | ast.Attribute):
            raise _Wrong("E0112", function.span)
        return ast.Call(function, arguments, span=span)

    def _number(self, span: Span, token: Token) -> ast.Number:
        digits, power, unit = _NUMBER.fullmatch(token).groups()
        if len(digits) > DIGITS or len(power or "") > 5 or abs(int(power or 0)) > DIGITS:
            bounds = f"from 1e-{DIGITS} to 1e{DIGITS}, at most {DIGITS} digits"
            raise _Wrong("E0127", span, text=_short(token), bounds=bounds)
        value = Fraction(digits)
        if power:
            value *= Fraction(10) ** int(power)
        if unit:
            value *= UNITS[unit]
        return ast.Number(value, unit, span=span)

    def _string(self, span: Span, token: Token) -> ast.String:
        return self._text(token)

    def _true(self, span: Span, token: Token) -> ast.Bool:
        return ast.Bool(True, span=span)

    def _false(self, span: Span, token: Token) -> ast.Bool:
        return ast.Bool(False, span=span)

    def _range(self, span: Span, *parts: Token | None) -> ast.Range:
        dots = next(i for i, part in enumerate(parts) if part is not None and part.type == "DOTS")
        end = parts[dots + 1]
        low = self._whole(parts[0], "E0113", LAYER) if dots else None
        high = self._whole(end, "E0113", LAYER) if end is not None else None
        return ast.Range(low, high, span=span)

    def _list(self, span: Span, *items: ast.Expr) -> ast.List:
        return ast.List(items, span=span)

    def _map(self, span: Span, *entries: ast.Entry) -> ast.Map:
        return ast.Map(entries, span=span)

    def _pair(self, span: Span, key: Token, value: ast.Expr) -> ast.Entry:
        return ast.Entry(self._text(key), value, span=span)

    def _argument(
        self, span: Span, name: ast.Name | None, value: ast.Expr, record: ast.Record | None
    ) -> ast.Argument:
        return ast.Argument(name, value, record, span=span)

    def _record(self, span: Span, *entries: ast.Entry) -> ast.Record:
        return ast.Record(entries, span=span)

    def _entry(self, span: Span, key: ast.Name, value: ast.Expr) -> ast.Entry:
        return ast.Entry(key, value, span=span)

    def _match(self, span: Span, *arms: ast.Arm) -> ast.Match:
        if not arms:
            raise _Wrong("E0125", span)
        return ast.Match(arms, span=span)

    def _arm(self, span: Span, pattern: ast.Pattern, value: ast.Expr) -> ast.Arm:
        return ast.Arm(pattern, value, span=span)

    def _name(self, span: Span, token: Token) -> ast.Name:
        return ast.Name(str(token), span=span)

    # Patterns

    def _or(self, span: Span, left: ast.Pattern, right: ast.Pattern) -> ast.Or:
        return ast.Or(left, right, span=span)

    def _and(self, span: Span, left: ast.Pattern, right: ast.Pattern) -> ast.And:
        return ast.And(left, right, span=span)

    def _not(self, span: Span, operand: ast.Pattern) -> ast.Not:
        return ast.Not(operand, span=span)

    def _word(self, span: Span, token: Token) -> ast.Word:
        return ast.Word(str(token), span=span)

    def _layers(
        self, span: Span, word: Token, module: str | None, range: ast.Range
    ) -> ast.Layers:
        if word != "layers":
            raise _Wrong("E0114", self._span(word), word=str(word), range=range.span.text)
        return ast.Layers(range, module, span=span)

    def _module(self, span: Span, *words: Token) -> str:
        return ".".join(map(str, words))

    def _glob(self, span: Span, token: Token) -> ast.Glob:
        return ast.Glob(self._text(token).value, span=span)

    def _role(self, span: Span, token: Token) -> ast.Role:
        return ast.Role(str(token)[1:], span=span)

    def _anything(self, span: Span) -> ast.Anything:
        return ast.Anything(span=span)

    # Tokens

    def _text(self, token: Token) -> ast.String:
        span = self._span(token)

        def unescape(found: re.Match[str]) -> str:
            if found[1] not in ESCAPES:
                at = span.start + 1 + found.start()
                raise _Wrong("E0115", Span(span.source, at, at + 2), escape=found[0])
            return ESCAPES[found[1]]

        return ast.String(re.sub(r"\\(.)", unescape, token[1:-1]), span=span)

    def _whole(self, token: Token, code: str, most: int) -> int:
        if not token.isdecimal():
            raise _Wrong(code, self._span(token), text=_short(token))
        if len(token) > DIGITS or int(token) > most:
            bounds = f"at most {most}"
            raise _Wrong("E0127", self._span(token), text=_short(token), bounds=bounds)
        return int(token)


_NUMBER = re.compile(r"([0-9.]+)(?:[eE]([+-]?[0-9]+))?(.*)")


def _short(text: str) -> str:
    return str(text) if len(text) <= 40 else f"{text[:36]} ..."
