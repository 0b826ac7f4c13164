"""Options of a call and of its inputs' records, against the operator's signature."""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from mergelang.check.numbers import filled, out_of_range
from mergelang.check.schedule import Constant
from mergelang.check.suggest import listed, nearest, show
from mergelang.check.value import Number, Unknown, describe, exactly
from mergelang.lang import ast
from mergelang.ops import signature as sig

if TYPE_CHECKING:
    from mergelang.check.expressions import Expressions

WRONG = object()
"""The value of an option that has been reported."""

WANTED = {
    sig.Number: "a number",
    sig.Integer: "a whole number",
    sig.Boolean: "`true` or `false`",
    sig.Text: "a string",
    sig.Texts: "a list of strings",
    sig.Statistics: "the path of a file, a string",
}


class Options:
    """Checks and completes options."""

    def __init__(self, expressions: "Expressions"):
        self._expressions = expressions
        self._report = expressions.report

    def check(
        self, call: ast.Call, signature: sig.Signature, inputs: Sequence[ast.Argument],
        named: Mapping[str, ast.Argument],
    ) -> dict[str, Any] | None:  # fmt: skip
        """All options with their values or defaults; None, and reported, when one is wrong."""
        given = {
            name: self._given(argument.name, argument.value, signature)
            for name, argument in named.items()
            if name not in universal(signature)
        }
        records = [self._record(argument, signature) for argument in inputs]
        values: dict[str, Any] = {}
        for option in signature.options:
            one = given.get(option.name, _default(option))
            if not option.each:
                values[option.name] = one
                if one is sig.REQUIRED:
                    self._missing(option, signature, call.function)
            else:
                each = tuple(record.get(option.name, one) for record in records)
                values[option.name] = each
                lacking = [a for a, v in zip(inputs, each, strict=True) if v is sig.REQUIRED]
                if lacking and len(lacking) == len(inputs):
                    self._missing(option, signature, call.function)
                elif lacking:
                    self._missing(option, signature, lacking[0].value, record=True)
        sound = WRONG not in given.values() and not any(
            WRONG in record.values() for record in records
        )
        for name, (other, wanted) in signature.needs.items():
            counts = values[other] == wanted or values[name] == signature.option(name).default
            if sound and not counts:
                self._report.add(
                    "E0321", named[name].span, option=name, other=other,
                    value=str(wanted).lower(), operator=signature.name,
                )  # fmt: skip
                sound = False
        if not sound or any(_lacks(value) for value in values.values()):
            return None
        return values

    def _missing(
        self, option: sig.Option, signature: sig.Signature, place: ast.Expr, record: bool = False
    ) -> None:
        example = _example(option.kind)
        self._report.add(
            "E0304", place.span, option=option.name, operator=signature.name, kind=option.kind,
            call=None if record else f"{option.name}: {example}",
            record=f"{place.span.text} {{ {option.name}: {example} }}" if record else None,
            each=f"x {{ {option.name}: {example} }}" if option.each and not record else None,
        )  # fmt: skip

    def _given(self, name: ast.Name, expr: ast.Expr, signature: sig.Signature) -> Any:
        """The value of an option given in the call."""
        option = signature.option(name.id)
        if option is None:
            self._unknown(name, signature, record=False)
            return WRONG
        return self.value(expr, option, signature)

    def _record(self, argument: ast.Argument, signature: sig.Signature) -> dict[str, Any]:
        """The options in the record of one input; with a WRONG among them when one is."""
        if argument.record is None:
            return {}
        if not any(option.each for option in signature.options):
            self._report.add(
                "E0309", argument.record.span, operator=signature.name,
                known=listed(option.name for option in signature.options) or None,
                bare=None if signature.options else "",
            )  # fmt: skip
            return {"": WRONG}
        found: dict[str, Any] = {}
        places: dict[str, ast.Name] = {}
        for entry in argument.record.entries:
            name = entry.key.id if isinstance(entry.key, ast.Name) else entry.key.value
            option = signature.option(name)
            if name in places:
                self._report.add("E0306", entry.key.span, places[name].span, name=name)
                found[name] = WRONG
            elif option is None or not option.each:
                self._unknown(entry.key, signature, record=True)
                found[name] = WRONG
            else:
                found[name] = self.value(entry.value, option, signature)
            places[name] = entry.key
        return found

    def _unknown(
        self, key: ast.Name | ast.String, signature: sig.Signature, *, record: bool
    ) -> None:
        name = key.id if isinstance(key, ast.Name) else key.value
        operator = signature.name
        of_call = [option.name for option in signature.options]
        if not record:
            if signature.takes_base:
                of_call.append("base")
            of_call += universal(signature)
        else:
            others = {option.name for option in signature.options if not option.each}
            others |= {"base"} if signature.takes_base else set()
            if name in others or name in universal(signature):
                self._report.add("E0310", key.span, name=name, operator=operator)
                return
            of_call = [option.name for option in signature.options if option.each]
        suggestion = nearest(name, of_call)
        if name == "base" and not record and not signature.takes_base:
            self._report.add("E0319", key.span, operator=operator)
            return
        self._report.add(
            "E0305", key.span, name=name, operator=operator, suggestion=suggestion,
            known=None if suggestion else listed(of_call) or None,
        )  # fmt: skip

    def value(self, expr: ast.Expr, option: sig.Option, signature: sig.Signature) -> Any:
        """An option's value by its kind: a Schedule, int, bool, str, tuple of str; or WRONG."""
        kind = option.kind
        if isinstance(kind, sig.Choice):
            return self._word(expr, option, kind)
        value = self._expressions.value(expr)
        if isinstance(value, Unknown):
            return WRONG
        fits = {
            sig.Number: lambda: self._number(expr, value, option, signature),
            sig.Integer: lambda: self._integer(expr, value, option, signature),
            sig.Boolean: lambda: value if isinstance(value, bool) else None,
            sig.Text: lambda: value if isinstance(value, str) else None,
            sig.Texts: lambda: _texts(value),
            sig.Statistics: lambda: self._statistics(expr, value),
        }
        result = fits[type(kind)]()
        if result is not None:
            return result
        self._report.add(
            "E0307", expr.span, option=option.name, operator=signature.name,
            wanted=WANTED[type(kind)], got=describe(value),
        )  # fmt: skip
        return WRONG

    def _statistics(self, expr: ast.Expr, value: Any) -> Any:
        if not isinstance(value, str):
            return None
        return self._expressions.open_source(value, expr.span) or WRONG

    def _word(self, expr: ast.Expr, option: sig.Option, kind: sig.Choice) -> Any:
        known = listed(kind.words, last="or")
        text = None
        if isinstance(expr, ast.Name):
            if expr.id in kind.words:
                return expr.id
            binding = self._expressions.scope.bindings.get(expr.id)
            if binding is None:
                text = expr.id
        if text is None:
            value = self._expressions.value(expr)
            if isinstance(value, Unknown):
                return WRONG
            if value in kind.words and not isinstance(expr, ast.String):
                return value
            text = value if isinstance(value, str) else None
        if text is None:
            self._report.add(
                "E0307", expr.span, option=option.name, operator=None, wanted=known,
                got=describe(value),
            )  # fmt: skip
            return WRONG
        said = expr.span.text if isinstance(expr, ast.String) else text  # quotes may be all of it
        self._report.add(
            "E0313", expr.span, text=said, option=option.name, known=known,
            suggestion=nearest(text, kind.words),
        )  # fmt: skip
        return WRONG

    def _number(
        self, expr: ast.Expr, value: Any, option: sig.Option, signature: sig.Signature
    ) -> Any:
        if not isinstance(value, Number) or value.size:
            return None
        wrong = out_of_range(expr, value, option.kind)
        if wrong is not None:
            self._out_of_range(*wrong, option, signature)
            return WRONG
        if value.open is None:
            return value.schedule
        if option.default is sig.REQUIRED or option.default is None:
            return WRONG if self._expressions.closed(value) is None else None
        return filled(value.schedule, _default(option))

    def _integer(
        self, expr: ast.Expr, value: Any, option: sig.Option, signature: sig.Signature
    ) -> Any:
        if isinstance(value, Number) and exactly(value) is None and not value.size:
            self._report.add("E0510", expr.span, option=option.name)
            return WRONG
        number = exactly(value)
        if number is None:
            return None
        if number.denominator != 1:
            self._report.add(
                "E0307", expr.span, option=option.name, operator=signature.name,
                wanted="a whole number", got=show(number),
            )  # fmt: skip
            return WRONG
        if not option.kind.holds(int(number)):
            self._out_of_range(expr.span, number, option, signature)
            return WRONG
        return int(number)

    def _out_of_range(
        self, span: Any, value: Fraction, option: sig.Option, signature: sig.Signature
    ) -> None:
        self._report.add(
            "E0308", span, option=option.name, operator=signature.name, value=show(value),
            kind=option.kind,
        )  # fmt: skip


def universal(signature: sig.Signature) -> tuple[str, ...]:
    """The options that every call takes besides those of its operator."""
    names = ("config",) if signature.arranges else ("missing", "mismatch", "config")
    return tuple(name for name in names if signature.option(name) is None)


def _default(option: sig.Option) -> Any:
    default = option.default
    if isinstance(option.kind, sig.Number) and isinstance(default, int | float | Fraction):
        return Constant(Fraction(str(default)))
    return default


def _lacks(value: Any) -> bool:
    return value is sig.REQUIRED or (
        isinstance(value, tuple) and any(each is sig.REQUIRED for each in value)
    )


def _texts(value: Any) -> tuple[str, ...] | None:
    if isinstance(value, tuple) and all(isinstance(each, str) for each in value):
        return value
    return None


def _example(kind: sig.Kind) -> str:
    match kind:
        case sig.Number(low, high):
            return "0.5" if kind.holds(0.5) else f"{high if low is None else low:g}"
        case sig.Integer(low):
            return str(low if low is not None else 1)
        case sig.Boolean():
            return "true"
        case sig.Choice(words):
            return words[0]
        case sig.Texts():
            return '["..."]'
    return '"..."'
