"""The mass of an expression is exact, whatever it is made of."""

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mergelang.check import check
from mergelang.check.schedule import ONE, ZERO, Constant, at
from mergelang.errors import RecipeError
from mergelang.source import Source
from tests.checkpoints import write_zoo

MODELS = ("base", "chat", "math")
HEAD = "".join(f'model {name} = "{name}"\n' for name in MODELS)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_zoo(tmp_path_factory.mktemp("zoo"))


def program(text, folder=".", sources=False):
    return check(Source("x.merge", HEAD + text), folder=folder, sources=sources)


def mass(expression):
    """The mass of an expression, a number."""
    found = program(f"let x = {expression}").terms["x"].mass
    assert isinstance(found, Constant)
    return found.value


def codes(text, folder=".", sources=False):
    with pytest.raises(RecipeError) as caught:
        program(text, folder, sources)
    return [each.code for each in caught.value.diagnostics if each.is_error]


numbers = st.decimals(-3, 3, places=2, allow_nan=False, allow_infinity=False)


@st.composite
def affine(draw, depth=3):
    """An affine expression as text, with its mass."""
    form = draw(st.sampled_from("msdpan" if depth else "m"))
    if form == "m":
        return draw(st.sampled_from(MODELS)), Fraction(1)
    left, a = draw(affine(depth=depth - 1))
    if form == "n":
        return f"-({left})", -a
    if form in "sd":
        number = draw(numbers)
        value = Fraction(str(number))
        written = f"({number})" if value < 0 else f"{number}"
        if form == "d" and value:
            return f"({left}) / {written}", a / value
        return draw(st.sampled_from([f"{written} * ({left})", f"({left}) * {written}"])), a * value
    right, b = draw(affine(depth=depth - 1))
    return (f"{left} + {right}", a + b) if form == "p" else (f"{left} - ({right})", a - b)


@given(affine())
@settings(max_examples=60, deadline=None)
def test_mass_of_any_affine_expression_is_exact(case):
    text, expected = case
    assert mass(text) == expected


@given(affine())
@settings(max_examples=40, deadline=None)
def test_only_mass_one_is_a_model_and_as_model_takes_any(case):
    text, expected = case
    if expected == 1:
        program(f'output "out" = {text}')
    else:
        assert codes(f'output "out" = {text}') == ["E0403" if expected == 0 else "E0402"]
    program(f'output "out" = as_model({text})')


def test_decimals_are_exact():
    assert mass("0.6 * base + 0.3 * chat + 0.1 * math") == 1
    assert mass("90% * base + 1e-1 * chat") == 1


def test_a_mean_of_task_vectors_is_a_task_vector():
    assert mass("mean(chat - base, math - base)") == 0
    assert mass("base + mean(chat - base, math - base)") == 1


def test_linear_has_the_mass_its_weights_give_it():
    assert mass("linear(chat { weight: 3 }, math { weight: 2 })") == 1
    assert mass("linear(chat { weight: 3 }, math { weight: 2 }, normalize: false)") == 5
    assert mass("linear(chat - base, math - base, weight: 2, normalize: false)") == 0


def test_a_schedule_and_its_rest_make_a_model(folder):
    for t in ("curve(0, 1, 0.3)", "match { mlp => 0.3, layers 1..3 => curve(0, 1), _ => 0.4 }"):
        text = f'let t = {t}\noutput "out" = t * chat + (1 - t) * math'
        for sources in (False, True):
            assert program(text, folder, sources).outputs[0].term.mass == ONE
        weighted = "linear(chat { weight: t }, math { weight: 1 - t }, normalize: false)"
        assert program(f'let t = {t}\noutput "out" = {weighted}').outputs[0].term.mass == ONE


def test_a_mass_that_is_wrong_at_one_layer_only_is_found(folder):
    text = 'let t = match {{ layers 2..3 => 0.5, _ => 0.4 }}\noutput "out" = t * chat + 0.6 * math'
    text = text.format()
    assert codes(text) == ["E0411"]
    assert codes(text, folder, sources=True) == ["E0411"]


def test_a_varying_mass_is_known_at_every_tensor(folder):
    text = "let t = curve(0, 1)\nlet x = t * chat"
    found = program(text, folder, sources=True).terms["x"]
    places = [found.inventory.place(f"model.layers.{i}.mlp.up_proj.weight") for i in range(4)]
    assert [at(found.mass, place) for place in places] == [Fraction(i, 3) for i in range(4)]


def test_a_schedule_that_is_the_same_everywhere_is_a_number(folder):
    text = "let x = match { mlp => 0.5, _ => 0.5 } * (chat - base)\nlet y = curve(2, 2) * math"
    terms = program(text, folder, sources=True).terms
    assert terms["x"].mass == ZERO
    assert terms["y"].mass == Constant(Fraction(2))


def test_one_wrong_sum_is_told_once_however_often_it_is_used():
    assert codes('let s = chat + math\noutput "a" = s\noutput "b" = mean(s, chat)') == ["E0402"]
