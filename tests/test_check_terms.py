"""A right recipe becomes the terms that its text says."""

from fractions import Fraction
from pathlib import Path
from time import process_time

import pytest

from mergelang.check import check
from mergelang.check.schedule import ONE, ZERO, Arms, Constant, Curve
from mergelang.errors import RecipeError
from mergelang.source import Source
from tests.checkpoints import write_zoo

HEAD = "".join(f'model {name} = "{name}"\n' for name in ("base", "chat", "math"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_zoo(tmp_path_factory.mktemp("zoo"))


@pytest.fixture
def program(folder):
    def checked(text, sources=True, **settings):
        source = Source("x.merge", HEAD + text)
        return check(source, folder=folder, settings=settings, sources=sources)

    return checked


@pytest.fixture
def term(program):
    def checked(expression, before=""):
        return program(f"{before}\nlet x = {expression}").terms["x"]

    return checked


def number(text):
    return Constant(Fraction(text))


def test_task_vector_methods_with_a_base_only_see_task_vectors(term):
    x = term("ties(chat { weight: 0.5 }, math, base: base, density: 0.3)")
    assert x.op == "from_base" and x.name == "x" and x.mass == ONE
    base, delta = x.inputs
    assert base.name == "base" and delta.op == "ties" and delta.mass == ZERO
    assert [each.op for each in delta.inputs] == ["sub", "sub"]
    assert [each.inputs[0].name for each in delta.inputs] == ["chat", "math"]
    assert all(each.inputs[1] is base for each in delta.inputs)
    assert delta.options["weight"] == (number("0.5"), number(1))
    assert delta.options["density"] == (number("0.3"), number("0.3"))


def test_task_vector_methods_take_task_vectors_without_a_base(term):
    x = term("ties(chat - base, math - base, density: 0.3)")
    assert x.op == "ties" and x.mass == ZERO
    assert [each.op for each in x.inputs] == ["sub", "sub"]


def test_the_donor_is_the_base_else_the_first_input_or_as_said(term):
    assert term("ties(chat, math, base: base, density: 0.3)").donor.name == "base"
    assert term("mean(chat, math)").donor.name == "chat"
    assert term("mean(chat, math, config: from(math))").donor.name == "math"
    assert term("0.5 * (chat - base) + math").donor.name == "math"
    assert term("chat - base").donor.name == "chat"


def test_a_name_used_twice_is_one_term(term):
    x = term("slerp(soup, soup, t: 0.5)", before="let soup = mean(chat, math)")
    assert x.inputs[0] is x.inputs[1]
    assert x.inputs[0].name == "soup"


def test_the_same_folder_under_two_names_is_opened_once(program):
    found = program('model again = "./chat"\nlet x = mean(chat, again)')
    assert len(found.checkpoints) == 3


def test_defaults_are_filled_in_for_what_a_match_leaves_open(term):
    x = term("linear(chat { weight: match { mlp => 0.7, @attn => curve(0, 1) } }, math)")
    weight, other = x.options["weight"]
    assert isinstance(weight, Arms) and weight.default == ONE
    assert [value for _, value in weight.arms] == [number("0.7"), Curve((Fraction(0), Fraction(1)))]
    assert other == ONE
    assert x.options["normalize"] is True


def test_slices_and_stacks_have_the_layers_they_say(term):
    x = term("stack(chat[..3], math[1..4])")
    assert x.inventory.layering.count == 6
    assert [each.inventory.layering.count for each in x.inputs] == [3, 3]
    assert x.inputs[1].options == {"low": 1, "high": 4}
    assert x.layout.origins["model.layers.3.mlp.up_proj.weight"].input == 1


def test_layers_are_counted_in_the_expression_that_is_sliced(program):
    program("let x = stack(chat[..3], math[1..4])\nlet y = x[4..6]")
    with pytest.raises(RecipeError) as caught:
        program("let x = stack(chat[..3], math[1..4])\nlet y = x[4..7]")
    assert "`x` has 6 layers" in str(caught.value)


def test_a_match_takes_each_tensor_from_its_arm(term):
    x = term("match { @embed | @head => wide, _ => chat }", before='model wide = "wide"')
    assert x.op == "match" and x.mass == ONE
    assert x.inventory["lm_head.weight"].shape == (40, 8)
    assert [each.name for each in x.inputs] == ["wide", "chat"]


def test_models_that_agree_share_one_table_of_tensors(term):
    x = term("mean(mean(chat, math), slerp(base, math, t: 0.5))")
    assert x.inventory is x.inputs[0].inventory is x.inputs[0].inputs[0].inventory


def test_missing_tensors_are_left_out_with_a_reason_when_the_call_says_so(term):
    x = term("mean(more, chat, missing: skip)", before='model more = "more"')
    assert "extra.one" not in x.inventory
    assert x.dropped == {"missing in some inputs": ("extra.one", "extra.two")}
    assert x.policy == {"missing": "skip"}


def test_missing_tensors_are_taken_from_the_model_that_the_call_says(term):
    before = 'model more = "more"\nmodel headless = "headless"'
    x = term("mean(chat, more, missing: from(more))", before)
    assert x.inventory["extra.one"].shape == (8,) and not x.dropped
    assert x.policy["missing"].name == "more"
    y = term("ties(more, headless, base: base, density: 0.3, missing: from(base))", before)
    assert "lm_head.weight" in y.inventory and "extra.one" not in y.inventory
    delta = y.inputs[1]
    assert "lm_head.weight" not in delta.inventory
    assert list(y.inventory) == list(y.inputs[0].inventory)
    assert [names for names in y.dropped.values()] == [("extra.one", "extra.two")]
    assert not delta.dropped


def test_tensors_of_other_shape_are_taken_from_the_model_that_the_call_says(term):
    x = term("mean(chat, wide, mismatch: from(wide))", before='model wide = "wide"')
    assert x.inventory["lm_head.weight"].shape == (40, 8)
    assert x.inventory["model.norm.weight"].shape == (8,)


def test_without_sources_there_are_terms_but_no_tensors(tmp_path):
    text = HEAD + 'let x = stack(chat[..3], math[90..])\noutput "out" = mean(x, x)'
    program = check(Source("x.merge", text), folder=tmp_path, sources=False)
    assert program.outputs[0].term.inventory is None
    assert program.terms["x"].layout is None and not program.checkpoints


def test_outputs_have_absolute_paths_and_complete_options(program, folder):
    first, second = program(
        'output "out/a" = chat { dtype: bfloat16, shards: 2GiB }\n'
        'output "out/b" = mean(chat, math, base)'
    ).outputs
    assert first.path == str(folder / "out" / "a") and first.text == "out/a"
    assert first.options == {"dtype": "BF16", "shards": 2 << 30}
    assert second.options == {"dtype": None, "shards": 5 * 10**9}


def test_a_folder_that_an_earlier_run_wrote_may_be_replaced(program, folder):
    old = folder / "old"
    old.mkdir(exist_ok=True)
    (old / "model.safetensors").write_text("")
    (old / "mergelang.json").write_text('{"files": {"model.safetensors": 0}}')
    program('output "old" = mean(chat, math, base)')
    (old / "notes.txt").write_text("mine")
    with pytest.raises(RecipeError, match=r"notes\.txt"):
        program('output "old" = mean(chat, math, base)')


def test_params_have_the_value_that_is_set(program):
    text = "param t = 0.4 { min: 0, max: 1 }\nlet x = slerp(chat, math, t: t / 2)"
    assert program(text).terms["x"].options["t"] == number("0.2")
    found = program(text, t="50%")
    assert found.terms["x"].options["t"] == number("0.25")
    assert (found.params["t"].value, found.params["t"].default) == (Fraction(1, 2), Fraction(2, 5))
    assert program(text, t=1).terms["x"].options["t"] == number("0.5")


def test_params_may_be_switches_and_words(program):
    text = 'param flat = true\nparam how = "l1"\nlet x = linear(chat, math, normalize: flat)\n'
    text += "let y = dare(chat, math, base: base, density: 0.5, rescale: how)"
    found = program(text, flat="false", how="none")
    assert found.terms["x"].options["normalize"] is False
    assert found.terms["y"].inputs[1].options["rescale"] == "none"


def test_a_used_recipe_keeps_its_seed_and_its_params(folder):
    inner = folder / "inner.merge"
    inner.write_text(
        'seed 7\nparam t = 0.3\nmodel chat = "chat"\nmodel math = "math"\n'
        'let blend = slerp(chat, math, t: t)\noutput "inner" = blend\n'
    )
    text = 'seed 1\nuse "inner.merge" as house\nparam t = 0.9\n'
    text += 'model base = "base"\noutput "out" = slerp(house.blend, base, t: t + 0 * house.t)'
    program = check(Source("x.merge", text), folder=folder, settings={"t": "0.5"})
    term = program.outputs[0].term
    blend = term.inputs[0]
    assert (term.seed, blend.seed) == (1, 7)
    assert term.options["t"] == number("0.5") and blend.options["t"] == number("0.3")
    assert [output.text for output in program.outputs] == ["out"]


def test_a_file_used_twice_is_read_once(folder):
    (folder / "leaf.merge").write_text('model chat = "chat"\n')
    (folder / "mid.merge").write_text('use "leaf.merge" as leaf\nlet x = leaf.chat\n')
    text = 'use "leaf.merge" as a\nuse "./mid.merge" as b\nlet y = mean(a.chat, b.x)'
    y = check(Source("x.merge", text), folder=folder).terms["y"]
    assert y.inputs[0] is y.inputs[1]


def test_a_missing_model_is_told_at_its_place_and_nothing_else_is(program):
    with pytest.raises(RecipeError) as caught:
        program('model gone = "gone"\nlet x = mean(gone, chat)[..2]\noutput "out" = mean(x, x)')
    (error,) = caught.value.diagnostics
    assert error.code.startswith("E06") and error.span.text == '"gone"'


def test_large_models_are_checked_fast(folder):
    """A recipe over two models of 30,000 tensors: no step looks at each tensor for each other."""
    from mergelang.check.report import Report
    from mergelang.check.schedule import Arithmetic
    from mergelang.check.terms import Input, Terms
    from mergelang.models.reference import parse_reference
    from mergelang.source import Span
    from mergelang.tensors import Inventory, Layering, TensorType

    def inventory():
        kind = TensorType("BF16", (8, 8))
        names = (f"model.layers.{i}.experts.{j}.w" for i in range(60) for j in range(500))
        return Inventory(dict.fromkeys(names, kind), Layering("model.layers.", 60))

    span = Span(Source("x", "x"), 0, 1)
    terms = Terms(Report(), 0)
    reference = parse_reference("chat", Path(folder))
    a, b = (Input(terms.source(reference, inventory(), span), span) for _ in range(2))
    start = process_time()
    t = Curve((Fraction(0), Fraction(1)))
    left = terms.scale(t, a, span)
    right = terms.scale(Arithmetic("-", ONE, t), b, span)
    x = terms.sum("+", Input(left, span), Input(right, span), span)
    assert x.mass == ONE
    assert process_time() - start < 1


def test_long_recipes_are_checked_fast(folder):
    calls = (
        "linear(base {{ weight: 0.{j} }}, chat {{ weight: 0.5 }})",
        "dare(chat {{ density: match {{ mlp & !@norm => 0.{j}, layers 1..3 => curve(0.2, 0.7), "
        "_ => 0.5 }} }}, x{i} {{ density: 0.{j} }}, base: base)",
        "x{i} + 0.{j} * (chat - base)",
        "match {{ @attn => slerp(x{i}, chat, t: 0.{j}), _ => x{i} }}",
    )  # fmt: skip
    lines = ['model base = "base"', 'model chat = "chat"', "let x0 = mean(base, chat)"]
    for i in range(296):
        lines.append(f"let x{i + 1} = {calls[i % 4].format(i=i, j=i % 9 + 1)}")
    text = "\n".join([*lines, 'output "out" = x296'])
    check(Source("x", 'model base = "base"\noutput "out" = base'), folder=folder)
    start = process_time()
    check(Source("x", text), folder=folder)
    assert process_time() - start < 3
