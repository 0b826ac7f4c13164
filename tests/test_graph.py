"""The graph of a program: what folds into what, what is shared, what a random mask depends on."""

from fractions import Fraction

import networkx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from mergelang.check.schedule import ONE, ZERO, Arms, Constant, Curve, at
from mergelang.graph.build import build, lower
from mergelang.graph.node import Graph, Interner, assemble, postorder
from mergelang.graph.passes import PASSES, fold_constants
from mergelang.graph.verify import BrokenGraph, verify
from mergelang.lang import ast
from mergelang.tensors import Inventory, Layering, Place, TensorType
from tests.terms import SPAN, add, as_model, call, match, program, scale, source, sub, with_base

BASE, CHAT, MATH = source("./base"), source("./chat"), source("./math")

HALF = Constant(Fraction(1, 2))
MLP = Place("model.layers.1.mlp.up_proj.weight", 1, 3)
NORM = Place("model.norm.weight", None, 3)


def only(graph: Graph):
    ((_, node),) = graph.outputs
    return node


def parts(node) -> list[tuple[str, Fraction]]:
    """The inputs of a sum with their constant coefficients."""
    assert node.op == "affine"
    return [
        (name_of(each), by.value)
        for each, by in zip(node.inputs, node["coefficients"], strict=True)
    ]


def name_of(node) -> str:
    return node["reference"].text if node.op == "source" else node.op


def drops(graph: Graph) -> list[bytes]:
    """The keys that the `drop`s of a graph see."""
    return [node.inputs[0].key for node in graph.nodes if node.op in ("drop", "dare")]


# Folding


def test_a_weighted_mean_is_one_node():
    node = only(build(program(add(scale("0.6", CHAT), scale("0.4", MATH)))))
    assert parts(node) == [("./chat", Fraction(3, 5)), ("./math", Fraction(2, 5))]
    assert node["points"] == (True, True)
    assert node.mass == ONE


def test_a_task_vector_of_its_own_base_cancels_before_it_is_scaled():
    code = add(BASE, scale("0.8", sub(CHAT, BASE)))
    node = only(build(program(add(BASE, scale("0.5", sub(code, BASE))))))
    assert parts(node) == [("./base", Fraction(3, 5)), ("./chat", Fraction(2, 5))]


def test_an_input_that_counts_for_nothing_is_left_out():
    node = only(build(program(add(CHAT, scale(0, sub(MATH, BASE))))))
    assert node.op == "source" and node["reference"].text == "./chat"


def test_nothing_at_all_keeps_the_shape_of_one_input():
    node = only(build(program(sub(CHAT, CHAT))))
    assert parts(node) == [("./chat", Fraction(0))]
    assert node.mass == ZERO


def test_a_delta_beside_its_base_is_told_from_a_point():
    node = only(build(program(with_base("ties", CHAT, MATH, base=BASE, weight=(ONE, ONE)))))
    assert parts(node) == [("./base", 1), ("ties", 1)]
    assert node["points"] == (True, False)


def test_nothing_folds_through_an_operator_a_slice_or_a_match():
    inner = scale("0.5", add(CHAT, MATH))
    patterns = (ast.Anything(span=SPAN),)
    for opaque in (
        call("linear", inner, BASE),
        call("slice", inner, low=0, high=2),
        call("match", inner, patterns=patterns),
    ):
        node = only(build(program(scale(2, opaque))))
        assert parts(node) == [(opaque.op, 2)]


def test_coefficients_that_vary_are_added_and_multiplied_at_each_tensor():
    curve = Curve((Fraction(0), Fraction(1)))
    arms = Arms(((ast.Word("mlp", span=SPAN), curve),), HALF)
    node = only(build(program(add(BASE, scale(2, scale(arms, sub(CHAT, BASE)))))))
    base, chat = node["coefficients"]
    assert [name_of(each) for each in node.inputs] == ["./base", "./chat"]
    assert (at(base, MLP), at(chat, MLP)) == (0, 1)
    assert (at(base, NORM), at(chat, NORM)) == (0, 1)
    assert at(chat, Place("model.layers.2.mlp.up_proj.weight", 2, 3)) == 2


def test_schedules_that_are_one_number_everywhere_become_it():
    flat = Curve((Fraction(1, 2),) * 3)
    arms = Arms(((ast.Word("mlp", span=SPAN), flat), (ast.Anything(span=SPAN), HALF)))
    graph = fold_constants(lower(program(call("slerp", CHAT, MATH, t=arms))))
    assert dict(only(graph).attrs) == {"t": HALF}


def test_arms_that_leave_tensors_out_stay_as_they_are():
    arms = Arms(((ast.Word("mlp", span=SPAN), HALF),))
    graph = build(program(call("slerp", CHAT, MATH, t=arms)))
    assert dict(only(graph).attrs) == {"t": arms}


def test_a_schedule_is_not_moved_to_where_layers_are_counted_differently():
    def model(layers: int):
        names = [f"model.layers.{i}.w" for i in range(layers)]
        tensors = {name: TensorType("F32", (2,)) for name in names}
        return Inventory(tensors, Layering("model.layers.", layers))

    curve = Curve((Fraction(0), Fraction(1)))
    inner = scale(curve, source("./chat", inventory=model(2)), inventory=model(2))
    node = only(build(program(scale(2, inner, inventory=model(4)))))
    assert parts(node) == [("affine", 2)]


# Exactness, for whatever algebra


def only_in(word: str, by: Fraction) -> Arms:
    return Arms(((ast.Word(word, span=SPAN), Constant(by)),), ONE)


LEAVES = (BASE, CHAT, MATH, call("trim", sub(CHAT, BASE), density=HALF))
NUMBERS = some.fractions(-2, 2, max_denominator=8)
ALGEBRA = some.recursive(
    some.sampled_from(LEAVES),
    lambda inner: some.one_of(
        some.builds(add, inner, inner),
        some.builds(sub, inner, inner),
        some.builds(scale, NUMBERS, inner),
        some.builds(as_model, inner),
        some.builds(lambda a, b: match(mlp=a, _=b), inner, inner),
        some.builds(lambda by, one: scale(only_in("mlp", by), one), NUMBERS, inner),
    ),
    max_leaves=12,
)  # fmt: skip


def worth(node, place: Place, known: dict) -> Fraction:
    """A node's value at a tensor when each leaf is a number of its own."""
    if node not in known:
        if node.op == "affine":
            known[node] = sum(
                at(by, place) * worth(each, place, known)
                for each, by in zip(node.inputs, node["coefficients"], strict=True)
            )
        elif node.op == "match":
            known[node] = worth(node.inputs["mlp" not in place.name], place, known)
        elif node.op == "trim":
            known[node] = worth(node.inputs[0], place, known) ** 2 + 7
        else:
            known[node] = Fraction(len(node["reference"].text) + ord(node["reference"].text[2]))
    return known[node]


@settings(max_examples=150, deadline=None)
@given(ALGEBRA, ALGEBRA)
def test_passes_keep_the_exact_value_of_every_output(one, other):
    recipe = program(one, other)
    before = lower(recipe)
    after = build(recipe)
    for (_, old), (_, new) in zip(before.outputs, after.outputs, strict=True):
        for place in (MLP, NORM):
            assert worth(old, place, {}) == worth(new, place, {})


@settings(max_examples=100, deadline=None)
@given(ALGEBRA)
def test_after_folding_no_sum_stands_directly_under_a_sum_and_no_input_twice(term):
    for node in build(program(term)).nodes:
        if node.op == "affine":
            assert all(each.op != "affine" for each in node.inputs)
            assert len(set(node.inputs)) == len(node.inputs)


@settings(max_examples=100, deadline=None)
@given(ALGEBRA)
def test_operators_see_the_same_keys_before_and_after_passes(term):
    recipe = program(add(BASE, call("drop", sub(term, BASE), density=HALF, mass=ZERO)))
    assert drops(build(recipe)) == drops(lower(recipe))


# Sharing


def test_equal_expressions_are_one_node_wherever_they_stand():
    def delta():
        return call("trim", sub(source("./chat"), source("./base")), density=HALF)

    graph = build(program(add(BASE, delta()), add(CHAT, delta())))
    assert sum(node.op == "trim" for node in graph.nodes) == 1
    assert sum(node.op == "source" for node in graph.nodes) == 2


def test_expressions_that_become_equal_are_one_node():
    by = Curve((Fraction(1, 2), Fraction(1, 2)))
    graph = build(program(call("slerp", CHAT, MATH, t=by), call("slerp", CHAT, MATH, t=HALF)))
    (_, one), (_, other) = graph.outputs
    assert one is other


def test_calls_under_different_seeds_are_kept_apart():
    one = call("drop", sub(CHAT, BASE), density=HALF, seed=1)
    other = call("drop", sub(CHAT, BASE), density=HALF, seed=2)
    graph = build(program(add(BASE, one), add(BASE, other)))
    assert sorted(node.seed for node in graph.nodes if node.op == "drop") == [1, 2]


def test_what_no_output_needs_is_dropped():
    graph = build(program(CHAT, chat=CHAT, spare=add(MATH, sub(CHAT, BASE))))
    assert [name_of(node) for node in graph.nodes] == ["./chat"]
    assert list(graph.names.values()) == ["chat"]


# Keys


def test_renaming_changes_no_key():
    def keys(**names):
        return [node.key for node in build(program(call("linear", CHAT, MATH), **names)).nodes]

    assert keys() == keys(chat=CHAT) == keys(bot=CHAT, sums=MATH)


def test_numbers_change_no_key():
    def keys(number):
        tuned = add(BASE, scale(number, sub(CHAT, BASE)))
        dropped = call("drop", sub(tuned, BASE), density=Constant(Fraction(number)))
        return drops(build(program(add(BASE, dropped))))

    assert keys("0.5") == keys("0.25") == keys(1) == keys(0)


def test_structure_changes_keys():
    def key(term):
        return only(lower(program(term))).key

    distinct = [
        key(CHAT), key(MATH), key(add(CHAT, MATH)), key(sub(CHAT, MATH)), key(add(MATH, CHAT)),
        key(scale(2, CHAT)), key(call("slice", CHAT, low=0, high=2)),
        key(call("slice", CHAT, low=0, high=None)), key(call("slice", CHAT, low=1, high=2)),
        key(match(mlp=CHAT, _=MATH)), key(match(attn=CHAT, _=MATH)),
        key(call("linear", CHAT, MATH)), key(call("slerp", CHAT, MATH, t=HALF)),
        key(call("drop", CHAT, density=HALF)), key(call("drop", CHAT, density=HALF, draw=1)),
    ]  # fmt: skip
    assert len(set(distinct)) == len(distinct)


def test_a_model_declared_to_be_one_is_the_same_model():
    assert only(lower(program(as_model(CHAT)))).key == only(lower(program(CHAT))).key


def test_a_method_and_its_written_out_form_drop_the_same_elements():
    named = with_base("dare", CHAT, base=BASE, weight=(ONE,), density=(HALF,))
    written = add(BASE, call("drop", sub(CHAT, BASE), density=HALF))
    assert drops(build(program(named))) == drops(build(program(written)))


def test_a_base_with_a_delta_has_the_key_of_their_sum():
    named = with_base("ties", CHAT, MATH, base=BASE, weight=(ONE, ONE))
    written = add(BASE, call("ties", sub(CHAT, BASE), sub(MATH, BASE), weight=(ONE, ONE)))
    assert only(lower(program(named))).key == only(lower(program(written))).key


# Policies


def inventory(**shapes: tuple[int, ...]) -> Inventory:
    return Inventory({name: TensorType("F32", shape) for name, shape in shapes.items()})


def test_tensors_taken_from_elsewhere_come_from_there():
    one = source("./one", inventory=inventory(a=(2,), b=(2,), c=(2,)))
    two = source("./two", inventory=inventory(a=(2,), c=(3,)))
    policy = {"missing": one, "mismatch": two}
    both = inventory(a=(2,), b=(2,), c=(3,))
    node = only(build(program(call("linear", one, two, policy=policy, inventory=both))))
    assert node.op == "patch" and node["names"] == {"c"}
    assert node.inputs[1]["reference"].text == "./two"
    inner = node.inputs[0]
    assert inner.op == "patch" and inner["names"] == {"b"}
    assert inner.inputs[0].op == "linear"


def test_a_policy_that_nothing_needs_adds_nothing():
    one = source("./one", inventory=inventory(a=(2,)))
    two = source("./two", inventory=inventory(a=(2,)))
    call_ = call("linear", one, two, policy={"missing": one}, inventory=inventory(a=(2,)))
    assert only(build(program(call_))).op == "linear"


# The verifier


def broken(change) -> str:
    intern = Interner()
    graph = build(program(add(scale("0.5", CHAT), scale("0.5", MATH))))
    with pytest.raises(BrokenGraph) as caught:
        verify(change(graph, intern), "a pass", graph)
    return str(caught.value)


def with_root(graph: Graph, node) -> Graph:
    return assemble(graph.program, [(graph.outputs[0][0], node)], {})


def test_a_sum_without_a_coefficient_is_found():
    def change(graph, intern):
        node = only(graph)
        attrs = dict(node.attrs) | {"coefficients": node["coefficients"][:1]}
        return with_root(graph, intern.node("affine", node.inputs, attrs, node))

    assert broken(change) == (
        "graph after a pass: coefficients and points are not one for each input "
        "at affine(source, source)"
    )


def test_a_mass_that_changed_is_found():
    def change(graph, intern):
        node = only(graph)
        return with_root(graph, intern.affine([(each, ONE) for each in node.inputs], node))

    assert broken(change) == (
        "graph after a pass: the mass of an output changed at affine(source, source)"
    )


def test_nodes_that_are_loose_twice_there_or_out_of_order_are_found():
    def with_nodes(graph, *nodes):
        return Graph(graph.program, nodes, graph.outputs, {})

    def loose(graph, intern):
        made = intern.node("source", (), {"reference": 1}, only(graph))
        return with_nodes(graph, *graph.nodes, made)

    def twice(graph, intern):
        return with_nodes(graph, *graph.nodes, graph.nodes[0])

    def turned(graph, intern):
        return with_nodes(graph, *reversed(graph.nodes))

    def without(graph, intern):
        return with_nodes(graph, *graph.nodes[:-1])

    assert broken(loose) == "graph after a pass: it has loose nodes at source()"
    assert broken(twice) == "graph after a pass: a node stands in it twice"
    late = "an input does not stand before what uses it at affine(source, source)"
    assert broken(turned) == f"graph after a pass: {late}"
    gone = "an output or a name is not in it at affine(source, source)"
    assert broken(without) == f"graph after a pass: {gone}"


def test_a_cycle_is_found():
    def cycle(graph, intern):
        source, root = graph.nodes[0], only(graph)
        object.__setattr__(source, "inputs", (root,))
        return graph

    late = "an input does not stand before what uses it at source(affine)"
    assert broken(cycle) == f"graph after a pass: {late}"


def test_an_operator_with_too_few_inputs_is_found():
    def change(graph, intern):
        node = only(graph)
        return with_root(graph, intern.node("slerp", node.inputs[:1], {"t": HALF}, node))

    assert broken(change) == "graph after a pass: 1 inputs do not fit at slerp(source)"


def test_an_attribute_without_a_hash_is_found():
    def change(graph, intern):
        node = only(graph)
        made = type(node)("linear", node.inputs, (("weight", [1]),), b"", 0, node.term)
        return with_root(graph, made)

    assert broken(change) == (
        "graph after a pass: an attribute has no hash: unhashable type: 'list' "
        "at linear(source, source)"
    )


def test_every_pass_leaves_nodes_in_an_order_that_can_be_computed():
    graph = build(program(match(mlp=add(CHAT, sub(MATH, BASE)), _=BASE)))
    for each in PASSES:
        graph = each(graph)
        order = postorder((only(graph),), lambda node: node.inputs)
        assert set(order) == set(graph.nodes) == set(networkx.topological_sort(graph.dag))
        assert all(graph.dag.has_edge(each, node) for node in order for each in node.inputs)
