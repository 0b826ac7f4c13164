"""The names of one file: what they stand for, where they were given, whether anything uses them."""

import re
from dataclasses import dataclass, field

from mergelang.check.report import Report
from mergelang.check.suggest import listed, nearest
from mergelang.check.value import UNKNOWN, File, Value, describe
from mergelang.lang import ast
from mergelang.ops.registry import operators
from mergelang.source import Source, Span

NAMING = ast.Use | ast.Param | ast.Model | ast.Let
"""Statements that give a name."""

WORDS = {ast.Use: "used recipe", ast.Param: "param", ast.Model: "model", ast.Let: "expression"}


@dataclass
class Binding:
    """A name of a file: `what` it is, `value` is None until it is checked."""

    name: str
    what: str
    span: Span
    value: Value | None = None
    used: bool = False


@dataclass
class Scope:
    """The names of one file."""

    source: Source
    report: Report
    bindings: dict[str, Binding] = field(default_factory=dict)
    current: str | None = None
    """The name that is being given."""
    _early: set[str] = field(default_factory=set)

    def declare(self, statements: tuple[ast.Statement, ...]) -> set[int]:
        """Takes in all names at once; gives the ids of the statements that name a taken name."""
        repeated = set()
        for statement in statements:
            if not isinstance(statement, NAMING):
                continue
            name = statement.name
            known = self.bindings.get(name.id)
            if known is not None:
                self.report.add("E0202", name.span, known.span, name=name.id)
                repeated.add(id(statement))
                continue
            what = WORDS[type(statement)]
            self.bindings[name.id] = Binding(name.id, what, name.span)
        return repeated

    def bind(self, name: ast.Name, value: Value) -> None:
        self.bindings[name.id].value = value

    def look_up(self, name: ast.Name) -> Value:
        """What a name stands for; UNKNOWN, and reported, where it stands for nothing."""
        binding = self.bindings.get(name.id)
        if binding is None:
            if not self._lost(self.source, name.id):
                operator = name.id if name.id in operators() else None
                suggestion = None if operator else nearest(name.id, self.bindings)
                self.report.add(
                    "E0201", name.span, name=name.id, suggestion=suggestion, operator=operator,
                    known=None if operator or suggestion else listed(self.bindings) or None,
                )  # fmt: skip
            return UNKNOWN
        binding.used = True
        if binding.value is None and name.id in self._early:
            return UNKNOWN
        if binding.value is None:
            itself = name.id == self.current
            self.report.add(
                "E0203", name.span, binding.span, name=name.id,
                itself=name.id if itself else None, other=None if itself else name.id,
            )  # fmt: skip
            # Told once; its value comes when its statement is checked.
            self._early.add(name.id)
            return UNKNOWN
        return binding.value

    def look_inside(self, attribute: ast.Attribute, house: Value) -> Value:
        """What `house.blend` stands for, where `house` is no model."""
        inner = attribute.value
        if house is UNKNOWN:
            return UNKNOWN
        if not isinstance(house, File):
            given = [self.bindings[inner.id].span] if isinstance(inner, ast.Name) else []
            self.report.add(
                "E0208", attribute.span, *given, text=inner.span.text, got=describe(house)
            )
            return UNKNOWN
        name = attribute.name.id
        if name not in house.names:
            if not self._lost(house.source, name):
                suggestion = nearest(name, house.names)
                self.report.add(
                    "E0207", attribute.name.span, name=name, path=house.path,
                    suggestion=suggestion and f"{inner.span.text}.{suggestion}",
                    known=listed(house.names) or None if suggestion is None else None,
                )  # fmt: skip
            return UNKNOWN
        return house.names[name]

    def mark_used(self, node: object) -> None:
        """Marks every name that stands anywhere in a part of the tree."""
        if isinstance(node, ast.Name):
            if node.id in self.bindings:
                self.bindings[node.id].used = True
        elif isinstance(node, tuple):
            for each in node:
                self.mark_used(each)
        elif isinstance(node, ast.Node):
            for key, each in vars(node).items():
                # Keys of records, names of options and of operators are no uses.
                if key not in ("span", "name", "key", "function"):
                    self.mark_used(each)

    def _lost(self, source: Source, name: str) -> bool:
        """Whether the name is given in a statement that could not be read: that is one mistake."""
        if source not in self.report.broken:
            return False
        name = re.escape(name)
        given = rf"^\s*(?:(?:let|model|param)\s+{name}\b|use\b.*\bas\s+{name}\b)"
        return re.search(given, source.text, re.MULTILINE) is not None
