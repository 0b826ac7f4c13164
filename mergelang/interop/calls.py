"""One call of a recipe as one merge of mergekit: its method, models or slices, and parameters."""

from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

from mergelang.interop.methods import CALL, METHODS, NEEDED, Method, Parameter
from mergelang.interop.values import Flow, Numbers, Unfit, plain, plain_number
from mergelang.lang import ast

OPERATORS: dict[str, Method] = {each.operator: each for each in METHODS.values()}
"""Mergekit's methods by our operators."""

_NAMED = ("base", "config")

_EXPERT = {
    "prompts": "positive_prompts", "avoid": "negative_prompts", "noise": "noise_scale",
    "residual_scale": "residual_scale",
}  # fmt: skip
_ARCHITECTURES = {
    "mixtral": "mixtral", "deepseek": "deepseek", "qwen2_moe": "qwen moe", "qwen3_moe": "qwen3 moe",
}
"""What mergekit-moe calls options of an expert, and architectures."""


class Calls:
    """Writes the calls of one recipe; `reference` says what YAML calls an input."""

    def __init__(self, numbers: Numbers, reference: Callable[[ast.Expr], str]):
        self._numbers, self._reference = numbers, reference

    def merge(self, call: ast.Call) -> dict[str, Any]:
        """The document of a call."""
        method = self._method(call)
        if self.sliced_method(call) is not None:
            made = self.slice(call, 0)
            base = self.donor(method, [made], self.config(call))
            # What the only slice says, the merge says.
            settings = made.pop("parameters", None)
            made.pop("base_model", None)
            whole = {"merge_method": method.name, "slices": [made]}
            whole |= {"base_model": base} if base else {}
            return whole | ({"parameters": settings} if settings else {})
        inputs, base, settings = self._parts(call, method, None, 0)
        models = [{"model": name, **rest} for name, _, rest in inputs]
        made: dict[str, Any] = {"merge_method": method.name}
        if base is not None:
            made["base_model"] = base
            if method.first:
                models = models[1:]
        else:
            donor = self._donor(method, [each["model"] for each in models], self.config(call))
            made |= {"base_model": donor} if donor else {}
        made["models"] = models
        return made | ({"parameters": settings} if settings else {})

    def sum(self, expr: ast.Expr) -> dict[str, Any]:
        """A sum of models with plain weights, as `linear` that does not normalise."""
        weights: dict[str, Fraction] = {}
        self._collect(expr, Fraction(1), weights)
        kept = {name: weight for name, weight in weights.items() if weight}
        models = [
            {"model": name, "parameters": {"weight": plain_number(weight)}}
            for name, weight in kept.items()
        ]
        return {
            "merge_method": "linear", "base_model": next(iter(kept)), "models": models,
            "parameters": {"normalize": False},
        }  # fmt: skip

    def _collect(self, expr: ast.Expr, factor: Fraction, weights: dict[str, Fraction]) -> None:
        match expr:
            case ast.Unary("-", operand):
                return self._collect(operand, -factor, weights)
            case ast.Binary("+" | "-" as op, left, right):
                self._collect(left, factor, weights)
                return self._collect(right, -factor if op == "-" else factor, weights)
            case ast.Binary("*" | "/" as op, left, right):
                a, b = self._numbers.fraction(left), self._numbers.fraction(right)
                if a is not None and op == "*":
                    return self._collect(right, factor * a, weights)
                if b:
                    return self._collect(left, factor * b if op == "*" else factor / b, weights)
                raise Unfit("E1130", expr.span, what="a weight that varies in a sum")
        name = self._reference(expr)
        weights[name] = weights.get(name, Fraction(0)) + factor

    def mixture(self, call: ast.Call) -> dict[str, Any]:
        """A configuration of mergekit-moe."""
        experts, constant = [], []
        named = {each.name.id: each.value for each in call.arguments if each.name}
        for argument in call.arguments:
            if argument.name is None:
                expert: dict[str, Any] = {"source_model": self._reference(argument.value)}
                shared = False
                for entry in argument.record.entries if argument.record else ():
                    match entry.key.id:
                        case "shared":
                            shared = entry.value == ast.Bool(True, span=entry.value.span)
                        case "prompts" | "avoid" as key:
                            texts = [each.value for each in entry.value.items]
                            expert[_EXPERT[key]] = texts
                        case key:
                            expert[_EXPERT[key]] = plain_number(plain(entry.value))
                (constant if shared else experts).append(expert)
        base = named.pop("base", call.arguments[0].value)
        gate, top_k = named.pop("gate"), named.pop("top_k", None)
        pool, architecture = named.pop("pool", None), named.pop("architecture", None)
        named.pop("allow_identical", None)  # an option of its command line
        if named:
            name, value = next(iter(named.items()))
            raise Unfit("E1130", value.span, what=f"`{name}` of `moe`")
        mode = "hidden_avg" if pool is not None and pool.id == "mean" else gate.id
        made = {
            "base_model": self._reference(base),
            "gate_mode": "uniform_random" if mode == "uniform" else mode,
        }
        if top_k is not None:
            made["experts_per_token"] = int(plain(top_k))
        if architecture is not None and architecture.id != "auto":
            made["architecture"] = _ARCHITECTURES[architecture.id]
        made["experts"] = experts
        return made | ({"shared_experts": constant} if constant else {})

    # Slices

    def sliced_method(self, piece: ast.Expr) -> Method | None:
        """The method of a call whose inputs are all slices of one length."""
        if not isinstance(piece, ast.Call) or not isinstance(piece.function, ast.Name):
            return None
        method = OPERATORS.get(piece.function.id)
        inputs = [
            each.value for each in piece.arguments if each.name is None or each.name.id == "base"
        ]
        slices = [each for each in inputs if isinstance(each, ast.Slice) and each.range.high]
        lengths = {each.range.high - (each.range.low or 0) for each in slices}
        whole = len(slices) == len(inputs) and len(lengths) == 1
        return method if whole else None

    def slice(self, piece: ast.Expr, offset: int) -> dict[str, Any]:
        """An item of `slices`, whose layers begin at `offset` of the result."""
        if isinstance(piece, ast.Slice):
            return {"sources": [self.source(piece)]}
        method = self._method(piece)
        inputs, base, settings = self._parts(piece, method, self.length(piece), offset)
        sources = [
            {"model": name, "layer_range": layers, **rest} for name, layers, rest in inputs
        ]
        made: dict[str, Any] = {"sources": sources}
        if base is not None:
            made["base_model"] = base
        return made | ({"parameters": settings} if settings else {})

    def source(self, piece: ast.Slice) -> dict[str, Any]:
        """A source that is copied."""
        if piece.range.high is None:
            raise Unfit("E1133", piece.range.span, text=piece.range.span.text)
        layers = Flow([piece.range.low or 0, piece.range.high])
        return {"model": self._reference(piece.value), "layer_range": layers}

    def length(self, piece: ast.Expr) -> int:
        """How many layers a piece has. Raises Unfit where only the model knows."""
        match piece:
            case ast.Slice(_, ast.Range(low, high)) if high is not None:
                return high - (low or 0)
            case ast.Call(ast.Name("stack")):
                return sum(self.length(each.value) for each in piece.arguments if not each.name)
            case ast.Call() if piece.arguments:
                return self.length(piece.arguments[0].value)
        raise Unfit("E1133", piece.span, text=piece.span.text)

    def donor(
        self, method: Method, slices: list[dict[str, Any]], config: ast.Expr | None
    ) -> str | None:
        """The `base_model` of a merge of slices; those that say the same say it no more."""
        bases = {piece.get("base_model") for piece in slices}
        first = slices[0].get("base_model")
        if method.base == "input" or None in bases:
            names = [each["model"] for each in slices[0]["sources"]]
            return self._donor(method, names, config, sliced=True)
        if config is not None:
            first = self._reference(config)
        for piece in slices:
            if piece["base_model"] == first:
                del piece["base_model"]
        return first

    def _donor(
        self, method: Method, models: list[str], config: ast.Expr | None, sliced: bool = False
    ) -> str | None:
        """The `base_model` that makes mergekit take the config that the recipe takes."""
        if method.base == "optional":
            if config is not None and self._reference(config) != models[0]:
                raise Unfit("E1134", config.span, method=method.name)
            return None
        wanted = models[0] if config is None else self._reference(config)
        if wanted not in models and not sliced:
            raise Unfit("E1134", config.span, method=method.name)
        return wanted

    # Parts of a call

    def config(self, call: ast.Call) -> ast.Expr | None:
        """The model of `config: from(x)`."""
        for each in call.arguments:
            if each.name and each.name.id == "config" and isinstance(each.value, ast.Call):
                return each.value.arguments[0].value
        return None

    def _method(self, call: ast.Call) -> Method:
        name = call.function.id if isinstance(call.function, ast.Name) else ""
        if name == "mean":
            return METHODS["linear"]
        if name not in OPERATORS:
            raise Unfit("E1130", call.function.span, what=f"`{call.function.span.text}`")
        return OPERATORS[name]

    def _parts(
        self, call: ast.Call, method: Method, length: int | None, offset: int
    ) -> tuple[list[tuple[str, Flow, dict[str, Any]]], str | None, dict[str, Any]]:
        """Inputs (name, layers, parameters), the base if it is a role, parameters of the call."""
        plain_inputs = [each for each in call.arguments if each.name is None]
        named = {each.name.id: each for each in call.arguments if each.name}
        origin = named.get("base")
        if method.base == "required" and not method.first and origin is None:
            raise Unfit("E1130", call.function.span, what=f"`{call.function.id}` of task vectors")
        every, settings = self._settings(call, method, named, offset, length)
        inputs = []
        for each in plain_inputs:
            name, layers = self._input(each.value, length)
            given = dict(every)
            for entry in each.record.entries if each.record else ():
                given[entry.key.id] = entry.value
            options = self._record(method, given, layers, length)
            inputs.append((name, layers, {"parameters": options} if options else {}))
        base = None
        if origin is not None:
            base, layers = self._input(origin.value, length)
            if length is not None:
                inputs.append((base, layers, {}))
        elif method.first:
            base = inputs[0][0]
        if base is not None and "config" in named:
            config = self.config(call)
            if config is not None and self._reference(config) != base:
                raise Unfit("E1134", config.span, method=method.name)
        return inputs, base, settings

    def _input(self, expr: ast.Expr, length: int | None) -> tuple[str, Flow]:
        if length is not None and isinstance(expr, ast.Slice):
            made = self.source(expr)
            return made["model"], made["layer_range"]
        return self._reference(expr), Flow()

    def _settings(
        self, call: ast.Call, method: Method, named: Mapping[str, ast.Argument], first: int,
        length: int | None,
    ) -> tuple[dict[str, ast.Expr], dict[str, Any]]:  # fmt: skip
        """What the call says for every input, and its parameters: given, or by our default where
        that is not mergekit's."""
        every: dict[str, ast.Expr] = {}
        found: dict[str, Any] = {}
        options = {each.option: each for each in method.parameters if each.option}
        fixed = dict(method.fixed)
        for name, value in fixed.items():
            given = self._numbers.fraction(named[name].value) if name in named else None
            if given != Fraction(value):
                place = named[name].value if name in named else call.function
                text = place.span.text if name in named else "0"
                raise Unfit(
                    "E1131", place.span, option=name, value=text, known=f"`{name}: {value}`",
                    operator=None if name in named else method.operator,
                )  # fmt: skip
        for name, argument in named.items():
            if name in _NAMED or name in fixed:
                continue
            if name not in options:
                what = f"`{name}` of `{call.function.span.text}`"
                raise Unfit("E1130", argument.span, what=what)
            parameter = options[name]
            if parameter.scope != CALL:
                every[name] = argument.value
                continue
            found[parameter.name] = self._option(parameter, argument.value, first, length)
        for parameter in method.parameters:
            absent = parameter.scope == CALL and parameter.name not in found
            if absent and parameter.ours is not NEEDED and parameter.option:
                value = self._default(parameter, call)
                if value is not None:
                    found[parameter.name] = value
        return every, found

    def _default(self, parameter: Parameter, call: ast.Call) -> Any:
        """Our default, where it is not mergekit's."""
        if parameter.ours == parameter.default:
            return None
        if parameter.ours in parameter.words:
            ours = parameter.ours == parameter.words[1]
            return None if ours == parameter.default else ours
        if parameter.words != ("false", "true"):
            raise Unfit(
                "E1131", call.function.span, operator=call.function.span.text,
                option=parameter.option, value=parameter.ours,
                known=" or ".join(f"`{parameter.option}: {word}`" for word in parameter.words),
            )  # fmt: skip
        return _number(parameter.ours)

    def _option(
        self, parameter: Parameter, expr: ast.Expr, first: int, length: int | None
    ) -> Any:
        if parameter.words == ("false", "true"):
            return self._numbers.parameter(expr, first, length)
        if isinstance(expr, ast.Name) and expr.id in parameter.words:
            return expr.id == parameter.words[1]
        raise Unfit(
            "E1131", expr.span, operator=None, option=parameter.option, value=expr.span.text,
            known=" or ".join(f"`{parameter.option}: {word}`" for word in parameter.words),
        )  # fmt: skip

    def _record(
        self, method: Method, given: Mapping[str, ast.Expr], layers: Flow, length: int | None
    ) -> dict[str, Any]:
        """The parameters of one input."""
        found: dict[str, Any] = {}
        first = layers[0] if layers else 0
        for parameter in method.parameters:
            if parameter.scope == CALL or not parameter.option:
                continue
            if parameter.option in given:
                value = given[parameter.option]
                found[parameter.name] = self._option(parameter, value, first, length)
            elif parameter.ours not in (NEEDED, parameter.default):
                found[parameter.name] = _number(parameter.ours)
        options = [each.option for each in method.parameters if each.scope != CALL]
        for name, value in given.items():
            if name not in options:
                raise Unfit("E1130", value.span, what=f"`{name}` of an input")
        return found


def _number(default: Any) -> Any:
    if isinstance(default, bool):
        return default
    return plain_number(Fraction(str(default)))
