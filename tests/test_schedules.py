"""Numbers that vary over a model: what they are at each tensor."""

from fractions import Fraction

import pytest

from mergelang.check.schedule import Arithmetic, Arms, Constant, Curve, arithmetic, at, matches
from mergelang.lang import ast
from mergelang.source import Source, Span
from mergelang.tensors import Place

SPAN = Span(Source("x", "x"), 0, 1)
Q_PROJ = Place("model.layers.2.self_attn.q_proj.weight", 2, 5, frozenset({"attn"}))
EMBED = Place("model.embed_tokens.weight", None, 5, frozenset({"embed"}))


def node(kind, *values):
    return kind(*values, span=SPAN)


def layer(number, layers):
    return Place(f"model.layers.{number}.mlp.up_proj.weight", number, layers)


def test_a_curve_is_piecewise_linear_over_the_layers():
    curve = Curve((Fraction(0), Fraction(1), Fraction(0)))
    values = [at(curve, layer(i, 5)) for i in range(5)]
    assert values == [0, Fraction(1, 2), 1, Fraction(1, 2), 0]


def test_a_curve_takes_its_first_point_outside_the_layers_and_in_a_model_of_one():
    curve = Curve((Fraction(2), Fraction(3)))
    assert at(curve, EMBED) == 2
    assert at(curve, layer(0, 1)) == 2


def test_the_first_arm_that_matches_wins():
    arms = Arms(
        (
            (node(ast.Word, "q_proj"), Constant(Fraction(1))),
            (node(ast.Role, "attn"), Constant(Fraction(2))),
        )
    )
    assert at(arms, Q_PROJ) == 1
    assert at(arms, EMBED) is None
    assert at(Arms(arms.arms, Constant(Fraction(9))), EMBED) == 9


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        (node(ast.Word, "q_proj"), True),
        (node(ast.Word, "q_pro"), False),
        (node(ast.Word, "layers"), True),
        (node(ast.Glob, "*.q_proj.*"), True),
        (node(ast.Glob, "q_proj"), False),
        (node(ast.Role, "mlp"), False),
        (node(ast.Layers, node(ast.Range, 0, 2)), False),
        (node(ast.Layers, node(ast.Range, 2, None)), True),
        (node(ast.Layers, node(ast.Range, None, 3)), True),
        (node(ast.Not, node(ast.Word, "mlp")), True),
        (node(ast.And, node(ast.Word, "q_proj"), node(ast.Role, "mlp")), False),
        (node(ast.Or, node(ast.Word, "q_proj"), node(ast.Role, "mlp")), True),
        (node(ast.Anything), True),
    ],
    ids=str,
)
def test_a_pattern_names_a_tensor_or_does_not(pattern, expected):
    assert matches(pattern, Q_PROJ) is expected


def test_arithmetic_is_done_at_each_tensor_and_at_once_between_numbers():
    rest = arithmetic("-", Constant(Fraction(1)), Curve((Fraction(0), Fraction(1))))
    assert [at(rest, layer(i, 3)) for i in range(3)] == [1, Fraction(1, 2), 0]
    assert arithmetic("*", Constant(Fraction(2)), Constant(Fraction(3))) == Constant(Fraction(6))
    assert isinstance(rest, Arithmetic)
