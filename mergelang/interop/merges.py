"""One merge of models, or of slices of them, as a call: inputs, base, parameters by precedence."""

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from types import MappingProxyType

from mergelang.interop.config import Input, Merge, Module, Part
from mergelang.interop.methods import CALL, NEEDED, NUMBER, PARAMETERS, TUNED, Method, Parameter
from mergelang.interop.names import Model
from mergelang.interop.nodes import Reader, listed, nearest
from mergelang.interop.settings import Piece, Settings, check_kinds, named, schedule, switches

NOTHING: Mapping[str, str] = MappingProxyType({})

RAW = (".safetensors", ".pt", ".pth", ".bin", ".ckpt")
"""Endings of single files. mergekit-pytorch, which takes these, knows no layers."""


class Piecework:
    """Writes the calls of merges; reports what mergekit would not take, at its place."""

    def __init__(self, reader: Reader, name: Callable[[Model], str]):
        self._reader, self._name = reader, name

    # What is wrong whatever is merged

    def check(self, merge: Merge) -> None:
        """Reports unknown parameters, and known ones at a level that has none."""
        self._level(merge, merge.settings)
        for module in merge.modules:
            self._level(merge, module.settings)
            for part in module.parts:
                base = part.base or merge.base
                self._level(merge, part.settings)
                for each in part.inputs:
                    self._level(merge, each.settings, of=each, is_base=each.model == base)

    def _level(
        self, merge: Merge, settings: Settings, of: Input | None = None, is_base: bool = False
    ) -> None:
        method = merge.method
        for name, setting in settings.items():
            parameter = method.parameter(name)
            facts = {"name": name, "method": method.name}
            if parameter is None and name in PARAMETERS:
                self._reader.add("W1101", setting.key, **facts)
            elif parameter is None:
                known = [each.name for each in method.parameters]
                near = nearest(name, known) or nearest(name, PARAMETERS)
                self._reader.add(
                    "E1120", setting.key, suggestion=near,
                    known=None if near else listed(known) or "none", **facts,
                )  # fmt: skip
            if parameter is None:
                continue
            check_kinds(self._reader, parameter, setting)
            if of is None or not parameter.option:
                continue
            if parameter.scope == CALL:
                self._reader.add("E1122", setting.key, **facts)
            elif parameter.scope == TUNED and is_base and method.base != "input":
                why = f"`{method.name}` takes the base as it is"
                self._reader.add("W1103", setting.key, what=f"`{name}` of the base", why=why)

    # Calls

    def donor(self, merge: Merge, part: Part) -> Model:
        """The model whose config the call of a part takes unless told otherwise."""
        base = part.base or merge.base
        return base if base and merge.method.base != "input" else part.inputs[0].model

    def part(
        self, merge: Merge, module: Module, part: Part, offset: int, *, config: bool,
        pinned: Mapping[str, str] = NOTHING,
    ) -> str:  # fmt: skip
        """The expression of one part, whose layers begin at `offset` of the result's.

        With `config` it says whose config it takes, where that is not the donor's. `pinned` are
        values of parameters that our operators take once: where they depend on the tensor, there is
        a call for each value.
        """
        method = merge.method
        base = part.base or merge.base
        inputs = self._inputs(merge, part, base)
        if inputs is None:
            return ""
        levels = (part.settings, module.settings, merge.settings)
        length = _length(inputs[0])
        flat = inputs[0].model.path.lower().endswith(RAW)
        for parameter in method.parameters:
            if parameter.kind is NUMBER or not parameter.option or parameter.name in pinned:
                continue
            piece = Piece(length, offset, flat)
            rows = switches(self._reader, parameter, levels, piece)
            calls = [
                f"{pattern} => "
                + self.part(merge, module, part, offset, config=config,
                            pinned={**pinned, parameter.name: word})
                for pattern, word in rows
            ]  # fmt: skip
            if calls:
                return f"match {{ {', '.join(calls)} }}"
        tuned = [each for each in inputs if method.base == "input" or each.model != base]
        origin = next((each for each in inputs if each not in tuned), None)
        options = self._options(merge, levels, Piece(length, offset, flat), pinned)
        texts = []
        for each in tuned:
            piece = Piece(length, (each.layers or (0, 0))[0], flat)
            texts.append(self._expr(each) + self._record(method, each, levels, piece))
        if not tuned and origin is not None:
            return self._expr(origin)
        if origin is not None and method.first:
            texts.insert(0, self._expr(origin))
        elif origin is not None:
            texts.append(f"base: {self._expr(origin)}")
        texts += [f"{name}: {value}" for name, value in options.items()]
        donor = self.donor(merge, part)
        if config and merge.base is not None and merge.base != donor:
            texts.append(f"config: from({self._name(merge.base)})")
        if method.name == "passthrough":
            return self._passthrough(method, tuned[0], levels, texts, Piece(length, offset, flat))
        call = f"{method.operator}({', '.join(texts)})"
        if method.name == "linear" and options.get("normalize") == "false":
            call = call if self._one(tuned, method, levels) else f"as_model({call})"
        pattern = self._named(method, tuned, levels, Piece(length, offset, flat))
        return f"match {{ {pattern} => {call} }}" if pattern else call

    def _named(
        self, method: Method, inputs: Sequence[Input], levels: Sequence[Settings], piece: Piece
    ) -> str | None:
        """A pattern of the tensors for which filters give a value to all parameters that need one;
        None for all. A `match` without an arm for others is an error where there are some."""
        found: dict[str | None, None] = {}
        for parameter in method.parameters:
            if parameter.scope == CALL:
                found[named(self._reader, parameter, levels, piece)] = None
                continue
            for each in inputs:
                own = Piece(piece.layers, (each.layers or (0, 0))[0], piece.flat)
                found[named(self._reader, parameter, (each.settings, *levels), own)] = None
        patterns = list(filter(None, found))
        several = len(patterns) > 1
        return " & ".join(f"({each})" if several else each for each in patterns) or None

    def _inputs(self, merge: Merge, part: Part, base: Model | None) -> list[Input] | None:
        """The inputs with the base among them; None, and reported, when they do not fit."""
        inputs, method = list(part.inputs), merge.method
        seen: dict[Model, Input] = {}
        for each in inputs:
            if each.model in seen:
                self._reader.add(
                    "E1124", each.node, seen[each.model].node, model=str(each.model)
                )
                return None
            seen[each.model] = each
        if not inputs:
            return None
        if base is None and method.base == "required":
            self._reader.add("E1123", part.node, what=f"`{method.name}`")
            return None
        if base is not None and base not in seen:
            if inputs[0].layers is None:
                inputs.append(Input(base, part.node, {}))
            elif method.base != "input":
                self._reader.add("E1125", part.node, base=str(base), method=method.name)
                return None
        apart = base is not None and method.base != "input"
        count = len(inputs) - apart
        if count < method.least or (method.most is not None and count > method.most):
            self._reader.add(
                "E1126", part.node, method=method.name, wanted=_wanted(method, apart),
                got="is 1" if count == 1 else f"are {count}",
                added=str(base) if base and not apart and base not in seen else None,
            )  # fmt: skip
            return None
        return inputs

    def _expr(self, one: Input) -> str:
        name = self._name(one.model)
        return f"{name}[{one.layers[0]}..{one.layers[1]}]" if one.layers else name

    def _options(
        self, merge: Merge, levels: Sequence[Settings], piece: Piece, pinned: Mapping[str, str]
    ) -> dict[str, str]:
        """The options of the call: what is given, and mergekit's defaults that are not ours."""
        found = {}
        for parameter in merge.method.parameters:
            if parameter.scope != CALL or not parameter.option:
                continue
            value = pinned.get(parameter.name) or schedule(
                self._reader, parameter, levels, piece, merge.node, f"`{merge.method.name}`"
            )
            value = value or _written(parameter)
            if value is not None:
                found[parameter.option] = value
        for parameter in merge.method.parameters:
            if parameter.counts_with and parameter.counts_with not in found.items():
                found.pop(parameter.option, None)
        return found | dict(merge.method.fixed)

    def _record(
        self, method: Method, one: Input, levels: Sequence[Settings], piece: Piece
    ) -> str:
        entries = []
        for parameter in method.parameters:
            if parameter.scope == CALL or method.name == "passthrough":
                continue
            value = schedule(
                self._reader, parameter, (one.settings, *levels), piece, one.node,
                f"`{one.model}`",
            )  # fmt: skip
            value = value or _written(parameter)
            if value is not None:
                entries.append(f"{parameter.option}: {value}")
        return f" {{ {', '.join(entries)} }}" if entries else ""

    def _passthrough(
        self, method: Method, one: Input, levels: Sequence[Settings], texts: list[str],
        piece: Piece,
    ) -> str:  # fmt: skip
        scale = method.parameters[0]
        first = (one.layers or (0, 0))[0]
        value = schedule(
            self._reader, scale, (one.settings, *levels), Piece(piece.layers, first, piece.flat),
            one.node, f"`{one.model}`",
        )  # fmt: skip
        if value is not None:
            texts.insert(1, f"scale: {value}")
        return texts[0] if len(texts) == 1 else f"passthrough({', '.join(texts)})"

    def _one(self, inputs: Sequence[Input], method: Method, levels: Sequence[Settings]) -> bool:
        """Whether the weights of a sum are plain numbers that add up to one."""
        weight = method.parameter("weight")
        values = [
            schedule(
                self._reader, weight, (each.settings, *levels), Piece(), each.node,
                f"`{each.model}`",
            )
            for each in inputs
        ]
        try:
            return sum(map(Fraction, values)) == 1
        except (TypeError, ValueError):
            return False


def _written(parameter: Parameter) -> str | None:
    """mergekit's default, where it has to be written out."""
    default = parameter.default
    if default is NEEDED:
        return None
    text = parameter.words[default] if isinstance(default, bool) else str(default)
    return None if default == parameter.ours or text == parameter.ours else text


def _length(one: Input) -> int | None:
    return one.layers[1] - one.layers[0] if one.layers else None


def _wanted(method: Method, apart: bool) -> str:
    least = "" if method.least == method.most else "at least "
    models = f"{least}{method.least} model{'s' if method.least > 1 else ''}"
    return f"{models} besides the base" if apart else models
