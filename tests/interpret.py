"""A second reading of the language for tests: recipes to float64 arrays, by `tests.reference`.

Walks the tree of a recipe and nothing else: no checker, graph, planner or engine. Whole models in
memory, one numpy operation after another, so it is slow, and plain. Knows the algebra, operators on
values, slices and `stack`, `match`, `curve`, `as_model`; no policies, params or `use`.
"""

import inspect
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors import safe_open

from mergelang.check.schedule import matches
from mergelang.lang import ast, parse
from mergelang.models.roles import roles_of
from mergelang.ops.expr import Context, draw_of, structure
from mergelang.ops.registry import operators
from mergelang.run.stream import Stream
from mergelang.source import Source
from mergelang.tensors import Place, TensorType
from tests import reference

LAYER = re.compile(r"(.*\blayers\.)(\d+)\.(.*)")


class Model(NamedTuple):
    """Tensors by name, and the structural key that random masks depend on."""

    tensors: Mapping[str, np.ndarray]
    key: bytes

    @property
    def layers(self) -> int:
        return len({found[2] for name in self.tensors if (found := LAYER.fullmatch(name))})

    def place(self, name: str) -> Place:
        found = LAYER.fullmatch(name)
        return Place(name, int(found[2]) if found else None, self.layers, roles_of(name))


Number = Callable[[Place], float]
"""A schedule: the number at a tensor."""


def interpret(text: str, folder: Path) -> dict[str, Mapping[str, np.ndarray]]:
    """The tensors of each output of a recipe, whose paths start from `folder`, in float64."""
    tree, problems = parse(Source("<test>", text))
    assert not problems, problems
    reader, outputs = _Reader(folder), {}
    for statement in tree.statements:
        match statement:
            case ast.Seed(value):
                reader.seed = value
            case ast.Model(name, source):
                key = structure("source", source.value)
                reader.names[name.id] = Model(read_model(folder / source.value), key)
            case ast.Let(name, value):
                reader.names[name.id] = reader.value(value)
            case ast.Output(path, value):
                outputs[path.value] = reader.value(value).tensors
            case _:
                raise NotImplementedError(statement)
    return outputs


def read_model(path: Path) -> dict[str, np.ndarray]:
    """The tensors of a folder or a file as safetensors reads them, widened to float64."""
    return {name: tensor.double().numpy() for name, tensor in read_tensors(path).items()}


def read_tensors(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a folder or a file as safetensors itself reads them."""
    found = {}
    for file in [path] if path.is_file() else sorted(path.glob("*.safetensors")):
        with safe_open(file, framework="pt") as opened:
            found |= {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    return found


class _Reader:
    def __init__(self, folder: Path):
        self.folder, self.seed = folder, 0
        self.names: dict[str, Any] = {}

    def value(self, expr: ast.Expr) -> Any:
        match expr:
            case ast.Number(value):
                return lambda place: float(value)
            case ast.Bool(value) | ast.String(value):
                return value
            case ast.Name(id):
                return self.names.get(id, id)  # a name of nothing is the word of a choice
            case ast.Unary(_, operand):
                return self._binary("*", lambda place: -1.0, self.value(operand))
            case ast.Binary(op, left, right):
                return self._binary(op, self.value(left), self.value(right))
            case ast.Slice(value, range):
                return _slice(self.value(value), range.low or 0, range.high)
            case ast.Match(arms):
                return self._match([(arm.pattern, self.value(arm.value)) for arm in arms])
            case ast.Call(ast.Name(name), arguments):
                return self._call(name, arguments)
        raise NotImplementedError(expr)

    def _binary(self, op: str, left: Any, right: Any) -> Any:
        compute = {"+": np.add, "-": np.subtract, "*": np.multiply, "/": np.divide}[op]
        models = [each for each in (left, right) if isinstance(each, Model)]
        if not models:
            return lambda place: float(compute(left(place), right(place)))

        def operand(value: Any, name: str) -> Any:
            if isinstance(value, Model):
                return value.tensors[name]
            return value(models[0].place(name))

        tensors = {
            name: compute(operand(left, name), operand(right, name)) for name in models[0].tensors
        }
        name = {"+": "add", "-": "sub"}.get(op, "scale")
        return Model(tensors, structure(name, *(each.key for each in models)))

    def _match(self, arms: list[tuple[ast.Pattern, Any]]) -> Any:
        def chosen(place: Place) -> Any:
            return next(value for pattern, value in arms if matches(pattern, place))

        models = [value for _, value in arms if isinstance(value, Model)]
        if not models:
            return lambda place: chosen(place)(place)
        first = models[0]
        tensors = {name: chosen(first.place(name)).tensors[name] for name in first.tensors}
        return Model(tensors, b"match")

    def _call(self, name: str, arguments: tuple[ast.Argument, ...]) -> Any:
        inputs = [self.value(each.value) for each in arguments if each.name is None]
        named = {each.name.id: self.value(each.value) for each in arguments if each.name}
        match name:
            case "curve":
                return _curve(inputs)
            case "as_model":
                return inputs[0]
            case "stack":
                return _stack(inputs)
        records = [
            {entry.key.id: self.value(entry.value) for entry in each.record.entries}
            if each.record else {}
            for each in arguments if each.name is None
        ]  # fmt: skip
        return self._operator(name, inputs, named, records)

    def _operator(
        self, name: str, inputs: list[Model], named: dict[str, Any], records: list[dict[str, Any]]
    ) -> Model:
        signature = operators()[name].signature
        base = named.pop("base", None) if signature.task_vectors else None
        if base is not None:
            inputs = [self._binary("-", each, base) for each in inputs]
        options = {}
        for option in signature.options:
            default = named.pop(option.name, option.default)
            options[option.name] = (
                [record.get(option.name, default) for record in records] if option.each else default
            )
        models = {each.name: named.pop(each.name, inputs[0]) for each in signature.named}
        assert not named, f"{name} knows no {named}"
        function = getattr(reference, name)
        whole = {
            option.name: int(_at(options[option.name], None))
            for option in signature.options
            if type(option.kind).__name__ == "Integer"
        }
        words = {**options, **whole}
        key = operators()[name].key([each.key for each in (*inputs, *models.values())], words)
        tensors = {}
        for tensor in inputs[0].tensors:
            place = inputs[0].place(tensor)
            given = {option: _at(value, place) for option, value in words.items()}
            given |= {each: model.tensors[tensor] for each, model in models.items()}
            if "lambda" in given:
                given["lambda_"] = given.pop("lambda")
            wanted = inspect.signature(function).parameters
            if "kept" in wanted:
                given["kept"] = self._kept(inputs, tensor)
            if "uniform" in wanted:
                given["uniform"] = self._uniform(inputs, tensor)
            if "depth" in wanted:
                given["depth"] = float(place.depth)
            tensors[tensor] = function(*(each.tensors[tensor] for each in inputs), **given)
        result = Model(tensors, key)
        return result if base is None else self._binary("+", base, result)

    def _kept(self, inputs: list[Model], tensor: str) -> Callable[[int, float, int], np.ndarray]:
        """The masks of one tensor, from the stream itself: its law has tests of its own."""

        def kept(index: int, density: float, draw: int) -> np.ndarray:
            one = inputs[index].tensors[tensor]
            mask = np.ones(one.size, dtype=bool)
            if density < 1 and one.size:
                key = structure("keep", inputs[index].key, str(draw))
                context = Context(self.seed, tensor, TensorType("F64", one.shape))
                stream = draw_of(context, key).stream(tensor)
                Stream(one.size).keep(stream, density, 0, one.size, mask)
            return mask.reshape(one.shape)

        return kept

    def _uniform(self, inputs: list[Model], tensor: str) -> Callable[[int, int], np.ndarray]:
        """The numbers that ranks are compared with, likewise."""

        def uniform(index: int, draw: int) -> np.ndarray:
            one = inputs[index].tensors[tensor]
            numbers = np.zeros(one.size)
            key = structure("uniform", inputs[index].key, str(draw))
            context = Context(self.seed, tensor, TensorType("F64", one.shape))
            Stream(one.size).uniform(draw_of(context, key).stream(tensor), 0, one.size, numbers)
            return numbers.reshape(one.shape)

        return uniform


def _at(value: Any, place: Place | None) -> Any:
    if isinstance(value, list):
        return [_at(each, place) for each in value]
    return value(place) if callable(value) else value


def _curve(points: list[Number]) -> Number:
    def at(place: Place) -> float:
        values = [point(place) for point in points]
        if place.layer is None or place.layers < 2:
            return values[0]
        return float(np.interp(place.layer / (place.layers - 1), _spread(len(values)), values))

    return at


def _spread(count: int) -> np.ndarray:
    return np.linspace(0, 1, count) if count > 1 else np.zeros(1)


def _slice(model: Model, low: int, high: int | None) -> Model:
    high = model.layers if high is None else high
    tensors = {}
    for name, tensor in model.tensors.items():
        found = LAYER.fullmatch(name)
        if not found:
            tensors[name] = tensor
        elif low <= int(found[2]) < high:
            tensors[f"{found[1]}{int(found[2]) - low}.{found[3]}"] = tensor
    return Model(tensors, structure("slice", model.key, f"{low}..{high}"))


def _stack(pieces: list[Model]) -> Model:
    tensors, above = {}, 0
    for piece in pieces:
        for name, tensor in piece.tensors.items():
            found = LAYER.fullmatch(name)
            if found:
                tensors[f"{found[1]}{int(found[2]) + above}.{found[3]}"] = tensor
            elif "embed" in roles_of(name):
                tensors.setdefault(name, tensor)
            else:
                tensors[name] = tensor
        above += piece.layers
    return Model(tensors, b"stack")
