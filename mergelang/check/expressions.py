"""Expressions to values: names looked up, numbers computed, algebra on models, slices, `match`."""

from collections.abc import Callable, Sequence

from mergelang.check import mass as masses
from mergelang.check.calls import Calls
from mergelang.check.modules import Modules
from mergelang.check.numbers import divides_by_zero
from mergelang.check.patterns import check_pattern
from mergelang.check.program import Term
from mergelang.check.report import Report
from mergelang.check.schedule import ONE, ZERO, Arms, Constant, arithmetic, more_parts
from mergelang.check.scope import Scope
from mergelang.check.suggest import counted, show
from mergelang.check.terms import NEGATIVE, Input, Terms
from mergelang.check.value import UNKNOWN, File, Number, Opened, Unknown, Value, describe
from mergelang.check.wanted import Wanted
from mergelang.lang import ast
from mergelang.ops.layout import several

PARTS = 300
"""How many parts a schedule may have, counted as if everything that it names were written out."""


class Expressions:
    """Evaluates the expressions of one file. A wrong one is reported once and is UNKNOWN after."""

    def __init__(
        self, report: Report, scope: Scope, terms: Terms, wanted: Wanted,
        modules: Modules, open_source: Callable[..., Opened | None],
    ):  # fmt: skip
        self.report = report
        self.scope = scope
        self.terms = terms
        self.wanted = wanted
        self.open_source = open_source
        self.modules = modules
        self._calls = Calls(self)

    def value(self, expr: ast.Expr) -> Value:
        """What an expression is."""
        match expr:
            case ast.Number(value, unit):
                return Number(Constant(value), size=unit not in ("", "%"))
            case ast.String(value) | ast.Bool(value):
                return value
            case ast.Name():
                return self.scope.look_up(expr)
            case ast.Attribute():
                return self._attribute(expr)
            case ast.Unary(_, operand):
                return self._small(expr, self._negative(expr, operand))
            case ast.Binary():
                return self._small(expr, self._binary(expr))
            case ast.Slice():
                return self._slice(expr)
            case ast.Match():
                return self._small(expr, self._match(expr))
            case ast.Call():
                return self._calls.call(expr)
            case ast.List(items):
                values = tuple(self.value(item) for item in items)
                return UNKNOWN if UNKNOWN in values else values
            case ast.Map(entries):
                return {entry.key.value: self.value(entry.value) for entry in entries}
            case ast.Range():
                self.report.add("E0401", expr.span, wanted="a value", got="a range")
        return UNKNOWN

    def _attribute(self, expr: ast.Attribute) -> Value:
        """A name of a `use`d file, or a module of a model."""
        inner = self.value(expr.value)
        if isinstance(inner, Term):
            return self.modules.view(Input(inner, expr.value.span), expr.name, expr.span)
        return self.scope.look_inside(expr, inner)

    def term(self, expr: ast.Expr) -> Term | None:
        """A model-valued expression of whatever mass; None, and reported, if it is none."""
        value = self.value(expr)
        if isinstance(value, Term):
            return value
        self.unfit(expr, value, "a model")
        return None

    def model(self, expr: ast.Expr) -> Term | None:
        """A model-valued expression of mass 1; None, and reported, if it is none."""
        term = self.term(expr)
        return term if term is not None and self.wanted.model(term, expr.span) else None

    def number(self, expr: ast.Expr) -> Number | None:
        """A number or a schedule that has a value at every tensor."""
        value = self.value(expr)
        if isinstance(value, Number) and not value.size:
            return self.closed(value)
        self.unfit(expr, value, "a number")
        return None

    def closed(self, value: Number) -> Number | None:
        """The number, unless it leaves tensors without a value, which is reported."""
        if value.open is None:
            return value
        self.report.add("E0501", value.open.span)
        return None

    def _small(self, expr: ast.Expr, value: Value) -> Value:
        """The value, unless it is a schedule with too many parts to look through, which is told."""
        if isinstance(value, Number) and more_parts(value.schedule, PARTS):
            self.report.add("E0512", expr.span, most=PARTS)
            return UNKNOWN
        return value

    def unfit(self, expr: ast.Expr, value: Value, wanted: str) -> None:
        """Reports a value of the wrong kind, unless it is wrong already."""
        if isinstance(value, Unknown):
            return
        if isinstance(value, File) and isinstance(expr, ast.Name):
            terms = [each for each, inner in value.names.items() if isinstance(inner, Term)]
            name = next(iter(terms or value.names), "name")
            self.report.add("E0209", expr.span, name=expr.id, example=f"{expr.id}.{name}")
            return
        named = expr.span.text if isinstance(value, str) and "a model" in wanted else None
        self.report.add("E0401", expr.span, wanted=wanted, got=describe(value), source=named)

    def _negative(self, expr: ast.Unary, operand: ast.Expr) -> Value:
        value = self.value(operand)
        match value:
            case Term():
                return self.terms.scale(NEGATIVE, Input(value, operand.span), expr.span)
            case Number(schedule, size=False):
                if self.closed(value) is None:
                    return UNKNOWN
                return Number(arithmetic("-", ZERO, schedule))
        self.unfit(operand, value, "a number or a model")
        return UNKNOWN

    def _binary(self, expr: ast.Binary) -> Value:
        left, right = self.value(expr.left), self.value(expr.right)
        for side, value in ((expr.left, left), (expr.right, right)):
            if isinstance(value, Unknown):
                continue
            if not isinstance(value, Term) and not (isinstance(value, Number) and not value.size):
                self.unfit(side, value, "a number or a model")
                return UNKNOWN
            if isinstance(value, Number) and self.closed(value) is None:
                return UNKNOWN
        if isinstance(left, Unknown) or isinstance(right, Unknown):
            return UNKNOWN
        if expr.op == "/" and isinstance(right, Number) and divides_by_zero(right.schedule):
            self.report.add("E0414", expr.right.span, text=expr.right.span.text)
            return UNKNOWN
        match left, expr.op, right:
            case Number(), _, Number():
                return Number(arithmetic(expr.op, left.schedule, right.schedule))
            case Term(), "+" | "-", Term():
                inputs = Input(left, expr.left.span), Input(right, expr.right.span)
                return self.terms.sum(expr.op, *inputs, expr.span)
            case Term(), "*", Number():
                return self.terms.scale(right.schedule, Input(left, expr.left.span), expr.span)
            case Number(), "*", Term():
                return self.terms.scale(left.schedule, Input(right, expr.right.span), expr.span)
            case Term(), "/", Number():
                by = arithmetic("/", ONE, right.schedule)
                return self.terms.scale(by, Input(left, expr.left.span), expr.span)
        self._impossible(expr, left, right)
        return UNKNOWN

    def _impossible(self, expr: ast.Binary, left: Value, right: Value) -> None:
        texts = {"left": expr.left.span.text, "right": expr.right.span.text}
        if isinstance(left, Term) and isinstance(right, Term):
            code = "E0408"
        elif expr.op == "/":
            code = "E0410"
        else:
            code = "E0409"
        self.report.add(
            code, expr.span, op=expr.op, **texts, lefts=describe(left), rights=describe(right)
        )

    def _slice(self, expr: ast.Slice) -> Value:
        one = self.term(expr.value)
        low, high = expr.range.low or 0, expr.range.high
        place = expr.range.span
        if high is not None and high <= low:
            first, end = (high, low) if high < low else (low, low + 1)
            if one is not None and one.inventory is not None and one.inventory.layering.count:
                end = min(end, one.inventory.layering.count)
                first = min(first, end - 1)
            self.report.add("E0505", place, text=place.text, suggestion=f"{first}..{end}")
            return UNKNOWN
        if one is None:
            return UNKNOWN
        if one.inventory is not None and one.inventory.sparse:
            self.report.add("E2207", expr.value.span, text=expr.value.span.text)
            return UNKNOWN
        if one.inventory is not None:
            count = one.inventory.layering.count
            if not count:
                self.report.add("E0506", expr.value.span, text=expr.value.span.text)
                return UNKNOWN
            if one.inventory.layering.others:
                facts = {"text": expr.value.span.text, "range": place.text}
                self.report.add(
                    "E2301", expr.value.span, **facts, **several(one.inventory.layering)
                )
                return UNKNOWN
            if low >= count or (high is not None and high > count):
                self.report.add(
                    "E0504", place, text=expr.value.span.text, layers=counted(count, "layer"),
                    last=count - 1, suggestion=f"{low}..{count}" if low < count else None,
                    all=f"0..{count}" if low >= count else None,
                )  # fmt: skip
                return UNKNOWN
        mass = masses.settle(one.mass, one.inventory)
        if not isinstance(mass, Constant):
            self.wanted.model(one, expr.value.span)
            return UNKNOWN
        return self.terms.slice(Input(one, expr.value.span), low, high, mass, expr.span)

    def _match(self, expr: ast.Match) -> Value:
        sound = True
        closing: ast.Arm | None = None
        for arm in expr.arms:
            if closing is not None:
                self.report.add("E0507", arm.span, closing.pattern.span)
                sound = False
                break
            sound &= check_pattern(arm.pattern, self.report)
            if isinstance(arm.pattern, ast.Anything):
                closing = arm
        values = [self.value(arm.value) for arm in expr.arms]
        first = next((value for value in values if not isinstance(value, Unknown)), None)
        for arm, value in zip(expr.arms, values, strict=True):
            if isinstance(value, Unknown):
                sound = False
            elif not isinstance(value, Term | Number) or getattr(value, "size", False):
                self.unfit(arm.value, value, "a number or a model")
                return UNKNOWN
            elif isinstance(value, Term) is not isinstance(first, Term):
                other = expr.arms[values.index(first)]
                self.report.add(
                    "E0413", arm.value.span, other.value.span,
                    got=describe(value), first=describe(first),
                )  # fmt: skip
                return UNKNOWN
        if not sound:
            return UNKNOWN
        if isinstance(first, Term):
            arms = [Input(v, a.value.span) for v, a in zip(values, expr.arms, strict=True)]
            return self._match_of_models(expr, arms)
        return _match_of_numbers(expr, values, closing)

    def _match_of_models(self, expr: ast.Match, arms: Sequence[Input]) -> Value:
        mass = self.common_mass(arms, "E0412")
        if mass is None:
            return UNKNOWN
        patterns = tuple(arm.pattern for arm in expr.arms)
        return self.terms.match(patterns, arms, mass, expr.span)

    def common_mass(self, inputs: Sequence[Input], code: str) -> masses.Schedule | None:
        """The one mass of all inputs; None, and reported under `code`, when they differ."""
        first = inputs[0]
        for each in inputs[1:]:
            both = (first.term.mass, each.term.mass)
            if masses.common(both, first.term.inventory) is None:
                odd = next((one for one in (first, each) if not _plain(one.term)), None)
                if odd is not None:
                    self.wanted.model(odd.term, odd.span)
                    return None
                self.report.add(
                    code, each.span, first.span, other=each.text, first=first.text,
                    mass=show(each.term.mass.value), wanted=show(first.term.mass.value),
                )  # fmt: skip
                return None
        return masses.settle(first.term.mass, first.term.inventory)


def _match_of_numbers(
    expr: ast.Match, values: Sequence[Number], closing: ast.Arm | None
) -> Number:
    pairs = list(zip(expr.arms, values, strict=True))
    default = None
    unclosed = next((value.open for value in values if value.open), None)
    if closing is not None:
        default = pairs.pop()[1].schedule
        if not pairs:
            return values[-1]
    else:
        unclosed = expr
    arms = tuple((arm.pattern, value.schedule) for arm, value in pairs)
    return Number(Arms(arms, default), open=unclosed)


def _plain(term: Term) -> bool:
    """Whether a term is a model or a task vector, at every tensor."""
    return term.mass in (ONE, ZERO)
