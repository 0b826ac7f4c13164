"""The parameters of an imported recipe are those that mergekit uses, at every tensor.

The reference here is written from mergekit's documented behaviour: the first level that has a value
wins, a filter is a piece of the name of the input's tensor (of the result's for parameters of the
merge), a gradient is linear over the layers of its slice and its only layer takes the end.
"""

from fractions import Fraction
from pathlib import Path

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from mergelang import api
from mergelang.api import Recipe
from mergelang.check import check
from mergelang.check.schedule import at
from mergelang.interop import import_yaml
from mergelang.source import Source
from mergelang.tensors import Inventory, Layering, TensorType
from tests.checkpoints import llama_shapes

LAYERS = 4
PREFIX = Layering("model.layers.", LAYERS)
NAMES = list(llama_shapes(layers=LAYERS))

number = st.sampled_from([0.125, 0.25, 0.5, "1e-1", 1, 0.75])
value = st.one_of(number, st.lists(number, min_size=1, max_size=4))
filter_ = st.sampled_from(
    ["mlp", "self_attn", "layers.1.", "layers.3.", "q_proj", "norm", "embed", "lm_head", "*", "["]
)
condition = st.fixed_dictionaries({"value": value}, optional={"filter": filter_})
setting = st.one_of(value, st.lists(condition, min_size=1, max_size=3), condition)
level = st.one_of(st.none(), setting)


def slices(draw) -> list[tuple[int, int]]:
    """Ranges of consecutive slices of a model with four layers."""
    cuts = sorted(draw(st.sets(st.integers(1, LAYERS - 1), max_size=3)))
    return list(zip([0, *cuts], [*cuts, LAYERS], strict=True))


@st.composite
def configurations(draw):
    """A file of one merge with a parameter of the inputs and one of the call, at all levels."""
    method, inner, outer = draw(
        st.sampled_from([("linear", "weight", None), ("slerp", None, "t"),
                         ("dare_ties", "density", "lambda"), ("task_arithmetic", "weight", None)])
    )  # fmt: skip
    parameter = inner or outer
    models = ["base", "chat"] if method == "slerp" else ["chat", "math", "base"]

    def parameters(given, *, of_input=False):
        name = inner if of_input else draw(st.sampled_from(sorted(filter(None, (inner, outer)))))
        return {} if given is None or name is None else {"parameters": {name: given}}

    whole = draw(st.booleans())
    made: dict = {"merge_method": method, "base_model": "base"}
    if whole:
        made["models"] = [
            {"model": name, **({} if name == "base" and method != "linear" else
                               parameters(draw(level), of_input=True))}
            for name in models
        ]  # fmt: skip
    else:
        made["slices"] = [
            {
                "sources": [
                    {"model": name, "layer_range": list(ends),
                     **({} if name == "base" and method != "linear" else
                        parameters(draw(level), of_input=True))}
                    for name in models
                ],
                **parameters(draw(level)),
            }
            for ends in slices(draw)
        ]  # fmt: skip
    last = {name: draw(value) for name in (inner, outer) if name}
    if method == "dare_ties":
        last["weight"] = 1
    made["parameters"] = last
    return made, parameter


def chosen(setting, name: str, t: Fraction):
    """What one level says at a tensor; None for nothing."""
    if isinstance(setting, dict):
        setting = [setting]
    if not isinstance(setting, list):
        return Fraction(str(setting))
    if isinstance(setting[0], dict):
        for each in setting:
            text = each.get("filter")
            if text is None or text == "*" or text in name:
                return chosen(each["value"], name, t)
        return None
    points = [Fraction(str(each)) for each in setting]
    place = t * (len(points) - 1)
    left = int(place)
    right = min(left + 1, len(points) - 1)
    return points[left] + (place - left) * (points[right] - points[left])


def reference(made: dict, parameter: str, model: str | None, name: str) -> Fraction:
    """The value that mergekit takes for a tensor of the result; of a model, or of the call."""
    layer, _ = PREFIX.split(name)
    levels, t = [], Fraction(0)
    pieces = made.get("slices")
    if pieces is None:
        if layer is not None:
            t = Fraction(layer, LAYERS - 1)
        levels += [each for each in made["models"] if each["model"] == model]
    else:
        ends = [each["sources"][0]["layer_range"] for each in pieces]
        before = name == "model.embed_tokens.weight"
        which = 0 if before else len(pieces) - 1
        if layer is not None:
            which = next(i for i, (low, high) in enumerate(ends) if low <= layer < high)
            low, high = ends[which]
            t = Fraction(layer - low, high - low - 1) if high - low > 1 else Fraction(1)
        levels += [each for each in pieces[which]["sources"] if each["model"] == model]
        levels.append(pieces[which])
    for each in [*levels, made]:
        said = each.get("parameters", {})
        if parameter in said and (found := chosen(said[parameter], name, t)) is not None:
            return found
    raise AssertionError("the last level always has a value")


def calls(term) -> list:
    """The merges of a recipe in the order of its pieces."""
    if term.op == "stack":
        return [each for inner in term.inputs for each in calls(inner)]
    while not term.options:
        term = next(each for each in term.inputs if each.op not in ("source", "slice"))
    return [term]


def value_in(term, parameter: str, index: int | None, name: str, ends: tuple[int, int]) -> Fraction:
    """The value of our recipe at a tensor of the result, in the piece with layers `ends`."""
    layer, rest = PREFIX.split(name)
    low, high = ends
    inventory = Inventory({name: TensorType("F32", (1,))}, Layering("model.layers.", high - low))
    local = name if layer is None else PREFIX.join(layer - low, rest)
    option = term.options[parameter]
    return at(option if index is None else option[index], inventory.place(local))


def text_of(made: dict) -> str:
    return yaml.safe_dump(made, sort_keys=False)


@settings(max_examples=60, deadline=None)
@given(configurations())
def test_every_tensor_gets_the_value_that_mergekit_gives_it(configuration):
    made, parameter = configuration
    text, _ = import_yaml(Source("x.yml", text_of(made)), Path("/nowhere"))
    program = check(Source("x.merge", text), folder=Path("/nowhere"), sources=False)
    terms = calls(program.outputs[0].term)
    pieces = made.get("slices") or [{"sources": [{"layer_range": [0, LAYERS]}]}]
    ranges = [tuple(each["sources"][0]["layer_range"]) for each in pieces]
    for name in NAMES:
        layer = PREFIX.split(name)[0]
        for which, (term, (low, high)) in enumerate(zip(terms, ranges, strict=True)):
            if layer is None:
                first, last = which == 0, which == len(ranges) - 1
                if not (first if "embed" in name else last):
                    continue
            elif not low <= layer < high:
                continue
            if parameter == "t":
                inputs = [(None, None)]
            else:
                models = ["chat", "math", *(["base"] if made["merge_method"] == "linear" else [])]
                inputs = list(enumerate(models))
            for index, model in inputs:
                found = value_in(term, parameter, index, name, (low, high))
                assert found == reference(made, parameter, model, name), (name, model, text)


@settings(max_examples=60, deadline=None)
@given(configurations())
def test_what_is_exported_is_imported_as_the_same_recipe(configuration):
    from tests.test_export import statements

    text, _ = import_yaml(Source("x.yml", text_of(configuration[0])), Path("/nowhere"))
    again = api.export(Recipe(Source("x.merge", text), Path("/nowhere")))[0]
    assert statements(import_yaml(Source("x.yml", again), Path("/nowhere"))[0]) == statements(text)
