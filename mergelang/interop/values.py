"""Numbers of a recipe as parameters of mergekit: scalars, gradients, conditions.

Params stand for their values. Knows nothing of methods.
"""

import re
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from mergelang.errors import Diagnostic
from mergelang.lang import ast
from mergelang.source import Span

_NUMBERED = re.compile(r"\.(\d+)\.")


class Unfit(Exception):
    """A part of a recipe that does not fit into mergekit's format."""

    def __init__(self, code: str, span: Span, **facts: Any):
        super().__init__(code, facts)
        self.diagnostic = Diagnostic(code, span, facts)


class Flow(list):
    """A list that is written on one line."""


class Numbers:
    """Evaluates numbers of one recipe."""

    def __init__(self, named: Mapping[str, ast.Statement], settings: Mapping[str, str]):
        self._named, self._settings = named, settings

    def fraction(self, expr: ast.Expr) -> Fraction | None:
        """The number that an expression is; None when it is none, or varies."""
        match expr:
            case ast.Number(value):
                return value
            case ast.Unary("-", operand):
                value = self.fraction(operand)
                return None if value is None else -value
            case ast.Name(name) if isinstance(self._named.get(name), ast.Param):
                if name in self._settings:
                    return _setting(self._settings[name])
                return self.fraction(self._named[name].value)
            case ast.Binary(op, left, right):
                a, b = self.fraction(left), self.fraction(right)
                if a is None or b is None or (op == "/" and not b):
                    return None
                return {"+": a + b, "-": a - b, "*": a * b}.get(op) if op != "/" else a / b
        return None

    def parameter(self, expr: ast.Expr, first: int, length: int | None) -> Any:
        """A number, gradient or list of conditions. Raises Unfit.

        `first` is the number that the first layer has where mergekit's filters look, `length` how
        many layers there are (None: of the whole model).
        """
        expr = self.resolved(expr)
        if isinstance(expr, ast.Match):
            return self._conditions(expr, first, length)
        return self._value(expr)

    def resolved(self, expr: ast.Expr) -> ast.Expr:
        """What a name of a `let` stands for; other expressions as they are."""
        while isinstance(expr, ast.Name):
            statement = self._named.get(expr.id)
            if not isinstance(statement, ast.Let):
                break
            expr = statement.value
        return expr

    def _value(self, expr: ast.Expr) -> Any:
        expr = self.resolved(expr)
        if isinstance(expr, ast.Bool):
            return expr.value
        if isinstance(expr, ast.Call) and expr.function == ast.Name("curve", span=expr.span):
            points = [self.fraction(each.value) for each in expr.arguments]
            if None not in points:
                return Flow(map(plain_number, points))
        number = self.fraction(expr)
        if number is None:
            raise Unfit("E1130", expr.span, what="a computed schedule")
        return plain_number(number)

    def _conditions(self, match: ast.Match, first: int, length: int | None) -> Any:
        arms = list(match.arms)
        found: list[dict[str, Any]] = []
        while arms:
            arm = arms.pop(0)
            inside = _layers_too(arm.pattern)
            if inside is not None and length == 1 and arms and arms[0].pattern == inside:
                # What import writes for a gradient over a slice of one layer.
                ends = Flow([self._value(arms[0].value), self._value(arm.value)])
                texts, value = _filters(arms.pop(0).pattern), ends
            else:
                texts, value = _filters(arm.pattern), self._value(arm.value)
            for text in texts:
                moved = text if length is None else _moved(text, first, arm.pattern.span)
                found.append({"filter": moved, "value": value} if moved else {"value": value})
        if len(found) == 1 and "filter" not in found[0]:
            return found[0]["value"]
        return found


def plain(expr: ast.Expr) -> Fraction:
    """The value of a plain number. Raises Unfit."""
    if not isinstance(expr, ast.Number):
        raise Unfit("E1130", expr.span, what="a computed number")
    return expr.value


def plain_number(value: Fraction) -> int | float:
    return int(value) if value.denominator == 1 else float(value)


def _setting(text: str) -> Fraction:
    return Fraction(text[:-1]) / 100 if text.endswith("%") else Fraction(text)


def _layers_too(pattern: ast.Pattern) -> ast.Pattern | None:
    """`p` of `p & layers 0..`, `_` of `layers 0..`."""
    match pattern:
        case ast.And(left, ast.Layers(ast.Range(0 | None, None))):
            return left
        case ast.Layers(ast.Range(0 | None, None)):
            return ast.Anything(span=pattern.span)
    return None


def _filters(pattern: ast.Pattern) -> list[str]:
    """The filters that say what a pattern says, "" for all tensors. Raises Unfit."""
    match pattern:
        case ast.Anything() | ast.Glob("*"):
            return [""]
        case ast.Or(left, right):
            return [*_filters(left), *_filters(right)]
        case ast.Glob(text) if len(text) > 2 and text[0] == text[-1] == "*":
            inner = re.sub(r"\[([*?[])\]", r"\1", text[1:-1])
            if inner == text[1:-1] and not re.search(r"[*?[]", inner):
                return [inner]
            if re.sub(r"([*?[])", r"[\1]", inner) == text[1:-1]:
                return [inner]
    word = pattern.value if isinstance(pattern, ast.Word) else None
    raise Unfit("E1132", pattern.span, text=pattern.span.text, word=word)


def _moved(text: str, first: int, span: Span) -> str:
    """A filter with the layer's number moved to where the slice begins."""
    numbers = _NUMBERED.findall(text)
    if len(numbers) > 1:
        raise Unfit("E1132", span, text=span.text)
    return _NUMBERED.sub(lambda found: f".{int(found[1]) + first}.", text)
