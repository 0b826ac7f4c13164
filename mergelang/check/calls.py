"""Calls against signatures: inputs of the right number and mass, options, the term they make."""

from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from mergelang.check import mass as masses
from mergelang.check.adapters import lora
from mergelang.check.apart import check_apart
from mergelang.check.modules import check_graft
from mergelang.check.options import Options, universal
from mergelang.check.program import Term
from mergelang.check.retokenize import retokenize
from mergelang.check.schedule import ONE, ZERO, Curve, Schedule
from mergelang.check.statistics import check_statistics
from mergelang.check.suggest import counted, nearest
from mergelang.check.terms import Input
from mergelang.check.value import UNKNOWN, Number, Unknown, Value, describe, exactly
from mergelang.check.wish import vocabulary
from mergelang.lang import ast
from mergelang.ops import signature as sig
from mergelang.ops.registry import operators

if TYPE_CHECKING:
    from mergelang.check.expressions import Expressions

FORMS = ("curve", "as_model", "retokenize", "graft", "lora", "from", "union", "token", "file")
"""Calls that are part of the language rather than operators."""


@dataclass
class _Arguments:
    """The arguments of a call: the inputs, the named ones; whether anything is wrong with them."""

    inputs: list[ast.Argument] = field(default_factory=list)
    named: dict[str, ast.Argument] = field(default_factory=dict)
    sound: bool = True


class Calls:
    """Checks the calls of one file."""

    def __init__(self, expressions: "Expressions"):
        self._expressions = expressions
        self._report = expressions.report
        self._options = Options(expressions)

    def call(self, call: ast.Call) -> Value:
        """The value of a call; UNKNOWN when anything in it is wrong."""
        function = call.function
        if isinstance(function, ast.Attribute):
            self._report.add("E0301", function.span, name=function.span.text, known=None)
            return self._look_inside(call)
        match function.id:
            case "curve":
                return self._curve(call)
            case "as_model":
                return self._as_model(call)
            case "lora":
                found = self._arguments(call)
                if not found.sound:
                    return UNKNOWN
                return lora(call, found.inputs, found.named, self._expressions)
            case "retokenize":
                return self._retokenize(call)
            case "graft":
                return check_graft(call, self._expressions, self._expressions.modules)
            case "from":
                self._report.add("E0315", call.span)
                return self._look_inside(call)
            case "union" | "token" | "file" as name:
                self._report.add("E2411", call.span, name=name)
                return self._look_inside(call)
            case name if name in operators():
                return self._operator(call, operators()[name].signature)
        known = self._expressions.scope.bindings.get(function.id)
        suggestion = nearest(function.id, (*operators(), *FORMS[:4]))
        self._report.add(
            "E0301", function.span, name=function.id, suggestion=suggestion,
            bound=describe(known.value) if known and known.value is not None else None,
        )  # fmt: skip
        return self._look_inside(call)

    def _look_inside(self, call: ast.Call) -> Unknown:
        """Reports what is wrong in the inputs of a call that cannot be checked itself."""
        for argument in call.arguments:
            if argument.name is None:
                self._expressions.value(argument.value)
        return UNKNOWN

    def _curve(self, call: ast.Call) -> Value:
        if not call.arguments:
            self._report.add("E0502", call.span)
            return UNKNOWN
        points: list[Fraction] = []
        for argument in call.arguments:
            if argument.name is not None or argument.record is not None:
                self._report.add("E0503", argument.span, got="an option")
                return UNKNOWN
            value = self._expressions.value(argument.value)
            point = exactly(value)
            if point is None:
                if not isinstance(value, Unknown):
                    self._report.add("E0503", argument.span, got=describe(value))
                return UNKNOWN
            points.append(point)
        return Number(Curve(tuple(points)))

    def _as_model(self, call: ast.Call) -> Value:
        arguments = self._arguments(call)
        if len(arguments.inputs) != 1 or arguments.named:
            count = len(call.arguments)
            got = "is none" if not count else f"are {count}" if count > 1 else "is an option"
            self._report.add("E0316", call.span, got=got)
            return self._look_inside(call)
        one = arguments.inputs[0].value
        term = self._expressions.term(one)
        if term is None:
            return UNKNOWN
        return self._expressions.terms.as_model(Input(term, one.span), call.span)

    def _retokenize(self, call: ast.Call) -> Value:
        arguments = self._arguments(call)
        to = arguments.named.pop("to", None)
        if len(arguments.inputs) != 1 or to is None or arguments.named or not arguments.sound:
            if arguments.sound:
                self._report.add("E2412", call.span)
            return self._look_inside(call)
        one = arguments.inputs[0]
        if one.record is not None:
            self._report.add("E2412", one.record.span)
        term = self._expressions.model(one.value)
        wish = vocabulary(to.value, self._expressions)
        vocabularies, made = self._expressions.terms.vocabularies, None
        if term is not None and wish is not None and one.record is None:
            given = Input(term, one.value.span)
            made = retokenize(given, wish, vocabularies, self._report, call.span)
        if term is not None and made is None:
            vocabularies.refuse(term)
        return made or UNKNOWN

    def _arguments(self, call: ast.Call) -> _Arguments:
        found = _Arguments()
        for argument in call.arguments:
            if argument.name is None:
                if found.named:
                    last = next(reversed(found.named.values()))
                    self._report.add("E0311", argument.span, last.span)
                    found.sound = False
                found.inputs.append(argument)
                continue
            name = argument.name.id
            if name in found.named:
                self._report.add(
                    "E0306", argument.name.span, found.named[name].name.span, name=name
                )
                found.sound = False
                continue
            if argument.record is not None:
                self._report.add("E0314", argument.record.span, name=name)
                found.sound = False
            found.named[name] = argument
        return found

    def _operator(self, call: ast.Call, signature: sig.Signature) -> Value:
        arguments = self._arguments(call)
        sound = arguments.sound & self._count(call, signature, arguments)
        inputs = []
        for argument in arguments.inputs:
            term = self._expressions.term(argument.value)
            if term is not None:
                inputs.append(Input(term, argument.value.span))
        complete = len(inputs) == len(arguments.inputs)
        base = self._base(signature, arguments)
        complete &= base is not UNKNOWN
        options = self._options.check(call, signature, arguments.inputs, arguments.named)
        policy = self._policies(signature, arguments)
        if not (sound and complete) or options is None or policy is None:
            return UNKNOWN
        if signature.named:
            if base is None and not signature.named[0].optional:
                self._no_base(call, signature)
                return UNKNOWN
            inputs += [base or inputs[0]]
            base = None
        mass = self._mass(call, signature, inputs, base, options)
        plain = inputs[: len(inputs) - len(signature.named)]
        if mass is None or not check_apart(self._report, signature, plain, options):
            return UNKNOWN
        config = policy.pop("config", None)
        terms = self._expressions.terms
        donor = len(inputs) - 1 if signature.named else 0
        if signature.arranges:
            return terms.arrangement(
                signature.name, inputs, options, mass, call.span, donor=config or inputs[donor]
            )
        made = terms.operator(
            signature.name, inputs, options, mass, call.span,
            base=base, policy=policy, config=config, donor=donor,
        )  # fmt: skip
        sound = check_statistics(self._report, signature, inputs, options, made.inventory)
        return made if sound else UNKNOWN

    def _count(self, call: ast.Call, signature: sig.Signature, arguments: _Arguments) -> bool:
        count = len(arguments.inputs)
        most = signature.most
        if count >= signature.least and (most is None or count <= most):
            return True
        exact = most == signature.least
        wanted = counted(signature.least if count < signature.least else most, "input")
        size = "" if exact else "at least " if count < signature.least else "at most "
        place = call.function.span if count < signature.least else arguments.inputs[most].span
        self._report.add(
            "E0302" if count < signature.least else "E0303", place,
            operator=signature.name, wanted=size + wanted,
            got="is none" if not count else "is 1" if count == 1 else f"are {count}",
        )  # fmt: skip
        return False

    def _base(self, signature: sig.Signature, arguments: _Arguments) -> Input | Unknown | None:
        if not signature.takes_base or signature.option("base"):
            return None
        argument = arguments.named.pop("base", None)
        if argument is None:
            return None
        term = self._expressions.model(argument.value)
        return UNKNOWN if term is None else Input(term, argument.value.span)

    def _policies(
        self, signature: sig.Signature, arguments: _Arguments
    ) -> dict[str, Input | str] | None:
        """`missing:`, `mismatch:` and `config:` of the call; None when one is wrong."""
        found: dict[str, Input | str] = {}
        sound = True
        for name in universal(signature):
            argument = arguments.named.get(name)
            if argument is None:
                continue
            value = argument.value
            match value:
                case ast.Name("skip") if name == "missing":
                    found[name] = "skip"
                    continue
                case ast.Call(ast.Name("from"), (ast.Argument(None, inner, None),)):
                    term = self._expressions.model(inner)
                    if term is not None:
                        found[name] = Input(term, inner.span)
                        continue
                case _:
                    allowed = "`skip` or `from(x)`" if name == "missing" else "`from(x)`"
                    text = value.id if isinstance(value, ast.Name) else "x"
                    known = self._expressions.scope.bindings.get(text)
                    example = text if known and isinstance(known.value, Term) else "x"
                    self._report.add(
                        "E0317", value.span, option=name, allowed=allowed, example=example
                    )
            sound = False
        return found if sound else None

    def _mass(
        self, call: ast.Call, signature: sig.Signature, inputs: list[Input], base: Input | None,
        options: dict[str, Any],
    ) -> Schedule | None:  # fmt: skip
        """The mass of the result; None, and reported, when the inputs are not of the right kind."""
        wanted, common = self._expressions.wanted, self._expressions.common_mass
        if signature.task_vectors and not (signature.points and base is None):
            found = self._task_vectors(call, signature, inputs, base)
            if found is None or signature.mass is None or not signature.points:
                return found
            # The result has the mass of the base; the weights may sum to 0 as without one.
            return self._formula(call, signature, [ONE] * len(inputs), options)
        alike: list[Input] = []
        sound = True
        kinds = [each.kind for each in signature.inputs]
        for index, each in enumerate(inputs):
            kind = kinds[min(index, len(kinds) - 1)]
            if kind is sig.Model:
                sound &= wanted.model(each.term, each.span)
            elif kind is sig.Delta:
                sound &= wanted.delta(each.term, each.span)
            else:
                alike.append(each)
        if not sound:
            return None
        shared = common(alike, "E0407") if alike else None
        if alike and shared is None:
            return None
        if signature.mass is not None:
            return self._formula(call, signature, [each.term.mass for each in inputs], options)
        if signature.kind is sig.Model:
            return ONE
        if signature.kind is sig.Delta:
            return ZERO
        return shared if shared is not None else inputs[0].term.mass

    def _formula(
        self, call: ast.Call, signature: sig.Signature, inputs: list[Schedule],
        options: dict[str, Any],
    ) -> Schedule | None:  # fmt: skip
        try:
            return masses.formula(signature.mass, inputs, options)
        except ZeroDivisionError:
            self._report.add("E0415", call.span, operator=signature.name)
        except TypeError:
            self._report.add("E0416", call.span, operator=signature.name)
        return None

    def _no_base(self, call: ast.Call, signature: sig.Signature) -> None:
        known = self._expressions.scope.bindings.get("base")
        is_model = known is not None and isinstance(known.value, Term)
        self._report.add(
            "E0418", call.function.span, operator=signature.name,
            base="base" if is_model else None, name=None if is_model else "name",
        )  # fmt: skip

    def _task_vectors(
        self, call: ast.Call, signature: sig.Signature, inputs: list[Input], base: Input | None
    ) -> Schedule | None:
        """Models with a base, or task vectors without: never both."""
        wanted = self._expressions.wanted
        settled = [masses.settle(each.term.mass, each.term.inventory) for each in inputs]
        deltas = [i for i, mass in enumerate(settled) if mass == ZERO]
        models = [i for i, mass in enumerate(settled) if mass == ONE]
        name = signature.name
        if base is not None and deltas:
            delta = inputs[deltas[0]]
            self._report.add(
                "E0406", delta.span, base.span, text=delta.text, base=base.text, operator=name,
                every=f"{base.text} + {name}(...)" if not models else None,
                mixed=f"{base.text} + ({delta.text})" if models else None,
            )  # fmt: skip
            return None
        if base is None and models:
            model = inputs[models[0]]
            if deltas:
                delta = inputs[deltas[0]]
                self._report.add(
                    "E0405", model.span, delta.span, model=model.text, delta=delta.text,
                    operator=name,
                )  # fmt: skip
            else:
                self._no_base(call, signature)
            return None
        check = wanted.delta if base is None else wanted.model
        fits = [check(each.term, each.span) for each in inputs]
        return ZERO if all(fits) else None
