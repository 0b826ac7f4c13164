"""The tree back to text: one way to write each recipe, with all its comments.

Formatting keeps the meaning (`parse(format(tree))` equals the tree) and is idempotent. Comments
stay in their order: one on a line of its own before what follows it, one at the end of a line
behind what it stood behind; one in the middle of an operand or item moves before or behind it.
"""

from collections.abc import Sequence
from typing import Any

from mergelang.lang import ast
from mergelang.lang.comments import Beside, Comments
from mergelang.lang.pretty import BREAK, HARD, LINE, SOFT, Doc, Group, Nest, only_broken, render

WIDTH = 88
"""Columns of a line, where that can be had."""

_SUM, _PRODUCT, _UNARY, _POSTFIX = 1, 2, 3, 4
_BINDS = {"+": _SUM, "-": _SUM, "*": _PRODUCT, "/": _PRODUCT}


def format(recipe: ast.Recipe) -> str:
    """The recipe's text, formatted. The recipe is one that parsed without mistakes."""
    return _Formatter(recipe).text()


def canonical(recipe: ast.Recipe) -> str:
    """The recipe's text without comments, a blank line between statements of different kinds.

    However a recipe is laid out and commented, this text is the same.
    """
    out, last = [], None
    for statement in recipe.statements:
        out.append("\n" if last not in (None, type(statement)) else "")
        out.append(format(ast.Recipe(recipe.source, (statement,))))
        last = type(statement)
    return "".join(out)


class _Formatter:
    """Writes one recipe; the innermost items take their comments first."""

    def __init__(self, recipe: ast.Recipe):
        self._recipe = recipe
        self._source = recipe.source
        self.comments = Comments(recipe)

    def text(self) -> str:
        blocks: list[tuple[int, int, str]] = []  # start and end in the source, text
        for statement in self._recipe.statements:
            span = statement.span
            doc = _statement(self, statement)
            line_end = self._source.text.find("\n", span.end)
            end = len(self._source.text) if line_end < 0 else line_end
            (beside,), _ = self.comments.around([statement], span.start, end)
            text = render((*_before(beside), doc, *_behind(beside)), WIDTH)
            blocks.append((span.start, span.end, text))
        for comment in self.comments.take(0, len(self._source.text)):
            blocks.append((comment.span.start, comment.span.end, comment.text))
        blocks.sort()
        out, last = "", None
        for start, end, text in blocks:
            if last is not None:
                blank = self._source.text.count("\n", last, start) > 1
                out += "\n\n" if blank else "\n"
            out += text
            last = max(end, last or 0)
        return out + "\n" if out else ""

    def items(
        self, opening: str, nodes: Sequence[Any], docs: Sequence[Doc], region: tuple[int, int],
        closing: str, pad: bool,
    ) -> Doc:  # fmt: skip
        """A bracketed list, with the comments of its region of the source."""
        beside, left = self.comments.around(nodes, *region)
        parts: list[Doc] = []
        for index, (each, doc) in enumerate(zip(beside, docs, strict=True)):
            last = index + 1 == len(nodes)
            comma = only_broken(",") if last else ","
            parts += [*_before(each), doc, comma, *_behind(each), "" if last else LINE]
        for comment in left:
            parts += [HARD if parts else BREAK, comment.text]
        if not parts:
            return opening + closing
        edge = LINE if pad else SOFT
        return Group((opening, Nest((edge, *parts)), edge, closing))


def _before(beside: Beside) -> list[Doc]:
    """The comments before an item, each on a line of its own."""
    return [(comment.text, HARD) for comment in beside.before]


def _behind(beside: Beside) -> list[Doc]:
    """The comments behind an item: the first on its line, others below it."""
    first, *more = beside.behind or [None]
    return [] if first is None else [f"  {first.text}", BREAK, *((HARD, c.text) for c in more)]


def _statement(formatter: _Formatter, statement: ast.Statement) -> Doc:
    def value(expr: ast.Expr, record: ast.Record | None = None) -> Doc:
        end = record.span.start if record else statement.span.end
        close = formatter.comments.closing(expr.span.end, end)
        return _bare(formatter, expr, statement.span.start, close)

    match statement:
        case ast.Edition(number):
            return f"mergelang {number}"
        case ast.Seed(number):
            return f"seed {number}"
        case ast.Use(path, name):
            return f"use {quoted(path.value)} as {name.id}"
        case ast.Model(name, source):
            return f"model {name.id} = {quoted(source.value)}"
        case ast.Let(name, expr):
            return (f"let {name.id} = ", value(expr))
        case ast.Param(name, expr, record):
            return (f"param {name.id} = ", value(expr, record), _record(formatter, statement))
        case ast.Output(path, expr, record):
            head = f"output {quoted(path.value)} = "
            return (head, value(expr, record), _record(formatter, statement))


def _bare(formatter: _Formatter, expr: ast.Expr, start: int, end: int) -> Doc:
    """An expression outside of brackets: a sum that is too long for its line gets some."""
    if not isinstance(expr, ast.Binary):
        return _expr(formatter, expr)
    doc = _chain(formatter, expr, start, end)
    return Group((only_broken("("), Nest((SOFT, doc)), SOFT, only_broken(")")))


def _expr(formatter: _Formatter, expr: ast.Expr, binding: int = 0) -> Doc:
    """An expression where one that binds at least as tightly as `binding` is wanted."""

    def inner(each: ast.Expr, least: int = 0) -> Doc:
        return _expr(formatter, each, least)

    match expr:
        case ast.Number():
            return expr.span.text
        case ast.String(value):
            return quoted(value)
        case ast.Bool(value):
            return "true" if value else "false"
        case ast.Name(name):
            return name
        case ast.Range():
            return _range(expr)
        case ast.Attribute(value, name):
            return (inner(value, _POSTFIX), ".", name.id)
        case ast.Slice(value, cut):
            return (inner(value, _POSTFIX), "[", _range(cut), "]")
        case ast.Unary(op, operand):
            doc = (op, inner(operand, _UNARY))
            return _wrap(doc) if binding > _UNARY else doc
        case ast.Binary(op):
            if binding <= _BINDS[op]:
                return Group(_chain(formatter, expr))
            close = formatter.comments.closing(expr.span.end, len(expr.span.source.text))
            return _wrap(_chain(formatter, expr, end=close))
        case ast.List(items):
            docs = [inner(each) for each in items]
            return _bracketed(formatter, "[", items, docs, expr.span.start, expr, "]", False)
        case ast.Map(entries):
            return _entries(formatter, expr, entries, expr.span.start)
        case ast.Match(arms):
            docs = [(_pattern(arm.pattern), " => ", inner(arm.value)) for arm in arms]
            return _bracketed(formatter, "match {", arms, docs, expr.span.start, expr, "}", True)
        case ast.Call(function, arguments):
            docs = [_argument(formatter, each) for each in arguments]
            start = function.span.end
            return (
                inner(function),
                _bracketed(formatter, "(", arguments, docs, start, expr, ")", False),
            )
    raise TypeError(f"no expression: {expr!r}")


def _chain(
    formatter: _Formatter, expr: ast.Binary, start: int | None = None, end: int | None = None
) -> Doc:
    """`a + b - c`: operands of one precedence, whose lines break together.

    `start`, `end`: of the region for comments, where parentheses give it lines of its own.
    """
    level = _BINDS[expr.op]
    signs, operands = [], [expr]
    while isinstance(operands[0], ast.Binary) and _BINDS[operands[0].op] == level:
        left, right = operands[0].left, operands[0].right
        signs.insert(0, f"{operands[0].op} ")
        operands[:1] = [left, right]
    docs = [_expr(formatter, each, level + bool(i)) for i, each in enumerate(operands)]
    beside, left = formatter.comments.around(operands, start, end)
    parts: list[Doc] = []
    for sign, each, doc in zip(["", *signs], beside, docs, strict=True):
        parts += [LINE if sign else "", *_before(each), sign, doc, *_behind(each)]
    return (*parts, *((HARD, comment.text) for comment in left))


def _wrap(doc: Doc) -> Doc:
    return Group(("(", Nest((SOFT, doc)), SOFT, ")"))


def _argument(formatter: _Formatter, argument: ast.Argument) -> Doc:
    name = f"{argument.name.id}: " if argument.name else ""
    return (name, _expr(formatter, argument.value), _record(formatter, argument))


def _record(formatter: _Formatter, owner: ast.Argument | ast.Param | ast.Output) -> Doc:
    """The record of an argument or a statement, with what the value left of its comments."""
    if owner.record is None:
        return ""
    start = formatter.comments.first_taken(owner.value.span.start, owner.record.span.start)
    return (" ", _entries(formatter, owner.record, owner.record.entries, start))


def _entries(
    formatter: _Formatter, node: ast.Record | ast.Map, entries: tuple[ast.Entry, ...], start: int
) -> Doc:
    docs = []
    for entry in entries:
        key = entry.key.id if isinstance(entry.key, ast.Name) else quoted(entry.key.value)
        docs.append((f"{key}: ", _expr(formatter, entry.value)))
    return _bracketed(formatter, "{", entries, docs, start, node, "}", True)


def _bracketed(
    formatter: _Formatter, opening: str, nodes: Sequence[Any], docs: Sequence[Doc], start: int,
    whole: ast.Node, closing: str, pad: bool,
) -> Doc:  # fmt: skip
    return formatter.items(opening, nodes, docs, (start, whole.span.end - 1), closing, pad)


def _range(cut: ast.Range) -> str:
    low = "" if cut.low is None else str(cut.low)
    high = "" if cut.high is None else str(cut.high)
    return f"{low}..{high}"


def quoted(value: str) -> str:
    """A string literal."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + escaped.replace("\n", "\\n").replace("\t", "\\t") + '"'


def _pattern(pattern: ast.Pattern, binding: int = 0) -> str:
    """`|` binds at 1, `&` at 2, `!` at 3."""
    match pattern:
        case ast.Word(value):
            return value
        case ast.Glob(value):
            return quoted(value)
        case ast.Role(value):
            return f"@{value}"
        case ast.Layers(cut, module):
            return f"layers{f'({module})' if module else ''} {_range(cut)}"
        case ast.Anything():
            return "_"
        case ast.Not(operand):
            return f"!{_pattern(operand, 3)}"
        case ast.And(left, right):
            text = f"{_pattern(left, 2)} & {_pattern(right, 3)}"
            return f"({text})" if binding > 2 else text
        case ast.Or(left, right):
            text = f"{_pattern(left, 1)} | {_pattern(right, 2)}"
            return f"({text})" if binding > 1 else text
