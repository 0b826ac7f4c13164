"""Which vocabulary a recipe asks for: `union(a, b)`, `from(a)`, and where rows of tokens come from.

Only their form is looked at here, and that the models named are models.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mergelang.check import adapters
from mergelang.check.program import Term
from mergelang.check.terms import Input
from mergelang.check.value import UNKNOWN, Unknown, describe, exactly
from mergelang.lang import ast
from mergelang.source import Span

if TYPE_CHECKING:
    from mergelang.check.expressions import Expressions


@dataclass(frozen=True, eq=False)
class TokenWish:
    """The row of a token: zeros without a model, else that of `token` (its text or its row), or of
    the token itself. `force`: in models that have the token, too."""

    model: Input | None
    token: str | int | None
    force: bool
    span: Span


@dataclass(frozen=True, eq=False)
class Wish:
    """The vocabulary wanted: that of the models `of`, whose rows are preferred, of which tokens the
    rows are said, of how many rows the number is a multiple."""

    of: tuple[Input, ...]
    base: Input | None
    span: Span
    tokens: Mapping[str, TokenWish]
    pad: int | None = None


def vocabulary(expr: ast.Expr, expressions: "Expressions") -> Wish | None:
    """`union(a, b, base: a)`, `from(a)` or a model; None, and reported, for anything else."""
    match expr:
        case ast.Call(ast.Name("union"), arguments) if arguments:
            inputs = [each for each in arguments if each.name is None]
            named = {each.name.id: each for each in arguments if each.name is not None}
            odd = [each for name, each in named.items() if name != "base"]
            odd += [each for each in arguments if each.record is not None]
            if odd or not inputs:
                expressions.report.add("E2402", (odd or [expr])[0].span, text=expr.span.text)
                return None
            base = _model(named["base"].value, expressions) if named else None
        case ast.Call(ast.Name("from"), (ast.Argument(None, inner, None),)):
            inputs, base, named = [ast.Argument(None, inner, None, span=inner.span)], None, {}
        case ast.Name() | ast.Attribute():
            inputs, base, named = [ast.Argument(None, expr, None, span=expr.span)], None, {}
        case _:
            expressions.report.add("E2402", expr.span, text=expr.span.text)
            return None
    found = [_model(each.value, expressions) for each in inputs]
    if None in found or (named and base is None):
        return None
    return Wish(tuple(found), base, expr.span, {})


def tokens(expr: ast.Expr, expressions: "Expressions") -> dict[str, TokenWish] | None:
    """The map of the option `tokens:`; None, and reported, when anything in it is wrong."""
    if not isinstance(expr, ast.Map):
        value = expressions.value(expr)
        if not isinstance(value, Unknown):
            expressions.report.add("E2403", expr.span, got=describe(value))
        return None
    found: dict[str, TokenWish] = {}
    sound = True
    for entry in expr.entries:
        made = _token(entry.value, expressions)
        sound &= made is not None
        if entry.key.value in found:
            expressions.report.add(
                "E0306", entry.key.span, found[entry.key.value].span, name=entry.key.value
            )
            sound = False
        found[entry.key.value] = made
    return found if sound else None


def _token(expr: ast.Expr, expressions: "Expressions") -> TokenWish | None:
    if isinstance(expr, ast.Name) and expr.id == "zero":
        return TokenWish(None, None, False, expr.span)
    if isinstance(expr, ast.Call) and isinstance(expr.function, ast.Name):
        plain = [each.value for each in expr.arguments if each.name is None]
        named = {each.name.id: each.value for each in expr.arguments if each.name is not None}
        known = {"zero": 0, "from": 1, "token": 2}
        force: Any = False
        if "force" in named:
            force = expressions.value(named.pop("force"))
        records = any(each.record is not None for each in expr.arguments)
        word = expr.function.id
        if known.get(word) == len(plain) and isinstance(force, bool) and not (named or records):
            model = _model(plain[0], expressions) if plain else None
            which = None
            if word == "token":
                value = expressions.value(plain[1])
                number = exactly(value)
                which = value if isinstance(value, str) else number
                if number is not None:
                    which = int(number) if number.denominator == 1 and number >= 0 else None
                if which is None:
                    expressions.report.add("E2403", plain[1].span, got=describe(value))
                    return None
            if plain and model is None:
                return None
            return TokenWish(model, which, force, expr.span)
    expressions.report.add("E2403", expr.span, got=f"`{expr.span.text}`")
    return None


def source(expr: ast.Expr, expressions: "Expressions") -> Term | None:
    """A model, or the adapter of `lora("SOURCE")`, whose tokenizer or template is meant; None, and
    reported, for anything else."""
    match expr:
        case ast.Call(ast.Name("lora")):
            return adapters.named(expr, expressions)
    return expressions.model(expr)


def rows(expr: ast.Expr, expressions: "Expressions") -> int | None:
    """The whole number of `pad_vocab:`; None, and reported, for anything else."""
    value = expressions.value(expr)
    number = exactly(value)
    if number is not None and number.denominator == 1 and number >= 1:
        return int(number)
    if value is not UNKNOWN:
        got = expr.span.text if number is not None else describe(value)
        expressions.report.add("E2404", expr.span, got=got)
    return None


def _model(expr: ast.Expr, expressions: "Expressions") -> Input | None:
    term = source(expr, expressions)
    return None if term is None else Input(term, expr.span)
