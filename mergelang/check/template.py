"""The option `chat_template:` of an output."""

from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from mergelang.check.program import Term
from mergelang.check.suggest import listed, nearest
from mergelang.check.value import Unknown, describe
from mergelang.check.vocabularies import Vocabularies, tokens_of
from mergelang.check.wish import source
from mergelang.errors import InputError
from mergelang.lang import ast
from mergelang.models.chat import FORMATS, template_of
from mergelang.models.reference import local_path
from mergelang.source import Span

if TYPE_CHECKING:
    from mergelang.check.expressions import Expressions

Reader = Callable[[Path], str]
"""Gives the text of a file that a recipe names. Raises OSError, UnicodeDecodeError."""

AUTO = "auto"
"""Stands for a template until the models of the output are known."""


def chat_template(
    expr: ast.Expr, expressions: "Expressions", folder: Path, read: Reader
) -> str | None:
    """The template's text, or the word `auto`; None, and reported, where there is none."""
    report = expressions.report
    match expr:
        case ast.Name("auto"):
            return AUTO
        case ast.Call(ast.Name("from"), (ast.Argument(None, inner, None),)):
            return _taken(inner, expressions)
        case ast.Call(ast.Name("file"), (ast.Argument(None, ast.String(text), None),)):
            span = expr.arguments[0].value.span
            return _read(text, span, expressions, lambda: read(local_path(text, folder)))
        case ast.String(text):
            pass
        case _:
            value = expressions.value(expr)
            if not isinstance(value, str):
                if not isinstance(value, Unknown):
                    report.add("E2414", expr.span, got=describe(value))
                return None
            text = value
    if text == AUTO:
        return AUTO
    if "{" in text:
        return text
    if text.lower() in FORMATS:
        return FORMATS[text.lower()].template
    suggestion = nearest(text, FORMATS)
    known = None if suggestion else listed(FORMATS)
    file = text if text.endswith(".jinja") else None
    report.add("E2415", expr.span, text=text, suggestion=suggestion, known=known, file=file)
    return None


def _taken(expr: ast.Expr, expressions: "Expressions") -> str | None:
    term = source(expr, expressions)
    if term is None:
        return None
    if term.inventory is None:
        return ""
    vocabularies = expressions.terms.vocabularies
    found = template_of(vocabularies.checkpoint(vocabularies.donor(term)).sidecars)
    if found is None:
        expressions.report.add("E2416", expr.span, text=expr.span.text)
    return found


def _read(
    text: str, span: Span, expressions: "Expressions", read: Callable[[], str]
) -> str | None:
    try:
        found = read()
    except InputError as error:
        expressions.report.extend([error.at(span)])
        return None
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
    except UnicodeDecodeError:
        reason = "it is not a UTF-8 text"
    else:
        if found.strip():
            return found
        reason = "it is empty"
    expressions.report.add("E2417", span, path=text, reason=reason)
    return None


def settled(
    template: str | None, term: Term, span: Span, expressions: "Expressions"
) -> str | None:
    """The template of an output of this term; warns where the vocabulary lacks its tokens.

    `auto` is the template that most of its models have, of several the first one's.
    """
    if not template or term.inventory is None:
        return None
    report, vocabularies = expressions.report, expressions.terms.vocabularies
    if template == AUTO:
        found = Counter(_templates(term, vocabularies))
        if not found:
            report.add("W2402", span)
            return None
        return found.most_common(1)[0][0]
    words = next(iter(vocabularies.tables(term).values()), None)
    known = tokens_of(words)
    if known is None:
        report.add("E2418", span)
        return None
    chosen = next((each for each in FORMATS.items() if each[1].template == template), None)
    if chosen is not None:
        name, format = chosen
        lacking = [token for token in format.tokens if token not in known]
        if lacking:
            report.add("W2401", span, name=name, tokens=listed(lacking), first=lacking[0])
    return template


def _templates(term: Term, vocabularies: Vocabularies) -> Iterable[str]:
    for each in vocabularies.sources(term):
        found = template_of(vocabularies.checkpoint(each).sidecars)
        if found:
            yield found.strip()
