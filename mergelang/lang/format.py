"""The tree back to text: one way to write each recipe, with all its comments.

Formatting keeps the meaning (`parse(format(tree))` equals the tree) and is idempotent. A comment on
a line of its own stays before what follows it, one at the end of a line behind what it stood
behind; one in the middle of an expression moves in front of it.
"""

from collections.abc import Sequence
from typing import Any

from mergelang.lang import ast
from mergelang.lang.pretty import HARD, LINE, SOFT, Doc, Group, Nest, only_broken, render

WIDTH = 88
"""Columns of a line, where that can be had."""

_SUM, _PRODUCT, _UNARY, _POSTFIX = 1, 2, 3, 4
_BINDS = {"+": _SUM, "-": _SUM, "*": _PRODUCT, "/": _PRODUCT}


def format(recipe: ast.Recipe) -> str:
    """The recipe's text, formatted. The recipe is one that parsed without mistakes."""
    return _Formatter(recipe).text()


class _Formatter:
    """Takes each comment once, innermost item first."""

    def __init__(self, recipe: ast.Recipe):
        self._recipe = recipe
        self._source = recipe.source
        self._comments = list(recipe.comments)

    def text(self) -> str:
        blocks: list[tuple[int, int, str]] = []  # start and end in the source, text
        for statement in self._recipe.statements:
            doc = _statement(self, statement)
            inside = self._take(statement.span.start, statement.span.end)
            after = self._take(statement.span.end, self._line_end(statement.span.end))
            lines = [comment.text for comment in inside]
            behind = "".join(f"  {comment.text}" for comment in after)
            lines.append(render(doc, WIDTH) + behind)
            blocks.append((statement.span.start, statement.span.end, "\n".join(lines)))
        for comment in self._comments:
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
        start, end = region
        parts: list[Doc] = []
        forced = False
        for index, (node, doc) in enumerate(zip(nodes, docs, strict=True)):
            before = self._take(start, node.span.end)
            following = nodes[index + 1].span.start if index + 1 < len(nodes) else end
            line_end = min(self._line_end(node.span.end), following)
            behind = self._take(node.span.end, line_end)
            parts += [(comment.text, HARD) for comment in before]
            last = index + 1 == len(nodes)
            parts += [doc, only_broken(",") if last else ","]
            parts += [f"  {comment.text}" for comment in behind]
            parts.append("" if last else LINE)
            forced = forced or bool(before or behind)
            start = node.span.end
        left = self._take(start, end)
        for comment in left:
            parts += [HARD if parts else "", comment.text]
        if not parts:
            return opening + closing
        edge = LINE if pad else SOFT
        if forced or left:
            edge = HARD
        return Group((opening, Nest((edge, *parts)), edge, closing))

    def _take(self, start: int, end: int) -> list[ast.Comment]:
        taken = [each for each in self._comments if start <= each.span.start < end]
        if taken:
            self._comments = [each for each in self._comments if each not in taken]
        return taken

    def _line_end(self, offset: int) -> int:
        end = self._source.text.find("\n", offset)
        return len(self._source.text) if end < 0 else end


def _statement(formatter: _Formatter, statement: ast.Statement) -> Doc:
    def value(expr: ast.Expr) -> Doc:
        return _bare(formatter, expr)

    match statement:
        case ast.Edition(number):
            return f"mergelang {number}"
        case ast.Seed(number):
            return f"seed {number}"
        case ast.Use(path, name):
            return f"use {_string(path.value)} as {name.id}"
        case ast.Model(name, source):
            return f"model {name.id} = {_string(source.value)}"
        case ast.Let(name, expr):
            return (f"let {name.id} = ", value(expr))
        case ast.Param(name, expr, record):
            return (f"param {name.id} = ", value(expr), _record(formatter, record))
        case ast.Output(path, expr, record):
            head = f"output {_string(path.value)} = "
            return (head, value(expr), _record(formatter, record))


def _bare(formatter: _Formatter, expr: ast.Expr) -> Doc:
    """An expression outside of brackets: a sum that is too long for its line gets some."""
    if not isinstance(expr, ast.Binary):
        return _expr(formatter, expr)
    doc = _chain(formatter, expr, _BINDS[expr.op])
    return Group((only_broken("("), Nest((SOFT, doc)), SOFT, only_broken(")")))


def _expr(formatter: _Formatter, expr: ast.Expr, binding: int = 0) -> Doc:
    """An expression where one that binds at least as tightly as `binding` is wanted."""

    def inner(each: ast.Expr, least: int = 0) -> Doc:
        return _expr(formatter, each, least)

    match expr:
        case ast.Number():
            return expr.span.text
        case ast.String(value):
            return _string(value)
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
            return _wrap((op, inner(operand, _UNARY)), binding > _UNARY)
        case ast.Binary(op):
            return _wrap(Group(_chain(formatter, expr, _BINDS[op])), binding > _BINDS[op])
        case ast.List(items):
            docs = [inner(each) for each in items]
            return _bracketed(formatter, "[", items, docs, expr.span.start, expr, "]", False)
        case ast.Map(entries):
            return _entries(formatter, expr, entries)
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


def _chain(formatter: _Formatter, expr: ast.Expr, level: int) -> Doc:
    """`a + b - c`: operands of one precedence, whose lines break together."""
    if not isinstance(expr, ast.Binary) or _BINDS[expr.op] != level:
        return _expr(formatter, expr, level)
    right = _expr(formatter, expr.right, level + 1)
    return (_chain(formatter, expr.left, level), LINE, f"{expr.op} ", right)


def _wrap(doc: Doc, parentheses: bool) -> Doc:
    return Group(("(", Nest((SOFT, doc)), SOFT, ")")) if parentheses else doc


def _argument(formatter: _Formatter, argument: ast.Argument) -> Doc:
    name = f"{argument.name.id}: " if argument.name else ""
    return (name, _expr(formatter, argument.value), _record(formatter, argument.record))


def _record(formatter: _Formatter, record: ast.Record | None) -> Doc:
    return "" if record is None else (" ", _entries(formatter, record, record.entries))


def _entries(
    formatter: _Formatter, node: ast.Record | ast.Map, entries: tuple[ast.Entry, ...]
) -> Doc:
    docs = []
    for entry in entries:
        key = entry.key.id if isinstance(entry.key, ast.Name) else _string(entry.key.value)
        docs.append((f"{key}: ", _expr(formatter, entry.value)))
    return _bracketed(formatter, "{", entries, docs, node.span.start, node, "}", True)


def _bracketed(
    formatter: _Formatter, opening: str, nodes: Sequence[Any], docs: Sequence[Doc], start: int,
    whole: ast.Node, closing: str, pad: bool,
) -> Doc:  # fmt: skip
    return formatter.items(opening, nodes, docs, (start, whole.span.end), closing, pad)


def _range(cut: ast.Range) -> str:
    low = "" if cut.low is None else str(cut.low)
    high = "" if cut.high is None else str(cut.high)
    return f"{low}..{high}"


def _string(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + escaped.replace("\n", "\\n").replace("\t", "\\t") + '"'


def _pattern(pattern: ast.Pattern, binding: int = 0) -> str:
    """`|` binds at 1, `&` at 2, `!` at 3."""
    match pattern:
        case ast.Word(value):
            return value
        case ast.Glob(value):
            return _string(value)
        case ast.Role(value):
            return f"@{value}"
        case ast.Layers(cut):
            return f"layers {_range(cut)}"
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
