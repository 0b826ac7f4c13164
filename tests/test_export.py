"""A recipe becomes a mergekit file that means the same, or is told what does not fit.

The same: what import makes of the file is the recipe again, tree by tree. That import itself is
right, tests/test_import.py and tests/test_import_parameters.py hold.
"""

import re
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from mergelang import api
from mergelang.api import Recipe
from mergelang.errors import RecipeError, UsageError
from mergelang.interop import import_yaml
from mergelang.lang import ast, parse
from mergelang.source import Source
from tests.checkpoints import write_import_zoo

FILES = sorted((Path(__file__).parent / "yaml").glob("*.merge"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return write_import_zoo(tmp_path_factory.mktemp("zoo"))


def statements(text: str) -> list[ast.Statement]:
    """The statements of a recipe, models by name, without the names of outputs."""
    tree, problems = parse(Source("x.merge", text))
    assert not problems
    models = [each for each in tree.statements if isinstance(each, ast.Model)]
    others = [
        replace(each, path=ast.String("out", span=each.span))
        if isinstance(each, ast.Output) else each
        for each in tree.statements
        if each not in models
    ]  # fmt: skip
    return [*sorted(models, key=lambda model: model.name.id), *others]


def exported(text: str, folder: Path, output: str | None = None, **settings: str) -> str:
    return api.export(Recipe(Source("x.merge", text), folder, settings), output)[0]


def imported(text: str, folder: Path, stem: str = "x") -> str:
    found, notes = import_yaml(Source(f"{stem}.yml", text), folder)
    assert not notes
    return found


NOT_AGAIN = {
    "mega", "multi-all-named", "switches", "switches-in-slices", "filters-that-name-all",
    "filters-that-leave-some", "filters-in-slices",
}  # fmt: skip
"""The last merge has a name, or there are two last ones; a `match` over two calls does not fit, and
one over a single call is only that call."""


AGAIN = [path for path in FILES if path.stem not in NOT_AGAIN]


@pytest.mark.parametrize("path", AGAIN, ids=lambda path: path.stem)
def test_what_was_imported_comes_back_the_same(path, folder):
    text = path.read_text()
    assert statements(imported(exported(text, folder), folder, path.stem)) == statements(text)


MODELS = 'model base = "base"\nmodel chat = "hf:org/chat@abc"\nmodel math = "math"\n'


def merged(expression: str, folder: Path, output: str = "merged", **settings: str) -> list[dict]:
    """The documents of an output."""
    text = f'{MODELS}param t = 0.25\nlet unused = t * chat\n{expression}\noutput "out" = {output}\n'
    return list(yaml.safe_load_all(exported(text, folder, **settings)))


def test_a_sum_of_models_is_a_linear_merge_that_does_not_normalise(folder):
    (made,) = merged("let merged = base + t * (math - base)", folder)
    assert made == {
        "merge_method": "linear", "base_model": "base", "parameters": {"normalize": False},
        "models": [
            {"model": "base", "parameters": {"weight": 0.75}},
            {"model": "math", "parameters": {"weight": 0.25}},
        ],
    }  # fmt: skip


def test_a_match_with_one_arm_is_what_the_arm_says_since_it_names_every_tensor(folder):
    call = 'slerp(base, math, t: match { "*norm*" => 0.25, _ => 0.5 })'
    assert merged(f'let merged = match {{ "*norm*" | "*m*" => {call} }}', folder) == merged(
        f"let merged = {call}", folder
    )


def test_params_stand_for_their_values(folder):
    (made,) = merged("let merged = slerp(base, math, t: 2 * t)", folder, t="30%")
    assert made["parameters"] == {"t": 0.6}


def test_our_defaults_are_written_where_mergekit_has_others(folder):
    (made,) = merged("let merged = ties(chat, math { density: 50% }, base: base)", folder)
    assert made["models"] == [
        {"model": "org/chat@abc", "parameters": {"weight": 1, "density": 0.2}},
        {"model": "math", "parameters": {"weight": 1, "density": 0.5}},
    ]


def test_an_expression_within_another_is_a_document_with_a_name(folder):
    step, made = merged("let merged = slerp(mean(chat, math), base, t: 0.5)", folder)
    assert step["name"] == "step" and step["merge_method"] == "linear"
    assert made["base_model"] == "step" and made["models"] == [{"model": "base"}]


def test_steps_are_kept_in_float32_and_only_the_output_is_rounded(folder):
    step, made = merged(
        "let soup = mean(chat, math)\nlet merged = slerp(soup, base, t: 0.5)", folder,
        "merged { dtype: bf16 }",
    )  # fmt: skip
    assert step["dtype"] == made["dtype"] == "float32"
    assert made["out_dtype"] == "bfloat16"


def test_a_step_is_not_called_as_a_model_is(folder):
    text = 'let math_2 = 0.5 * math + 0.5 * base\nlet merged = slerp(math_2, math, t: 0.1)'
    step, made = merged(text, folder)
    text = text.replace("math_2", "math_too")
    assert [step["name"], made["base_model"]] == ["math_2", "math_2"]
    step, made = list(yaml.safe_load_all(exported(
        'model m = "soup"\nlet soup = mean(m, m)\noutput "x" = slerp(soup, m, t: 0.1)\n', folder
    )))  # fmt: skip
    assert step["name"] == made["base_model"] == "soup_2"


def test_a_stack_of_copies_and_merges_copies_from_steps(folder):
    step, made = merged(
        "let merged = stack(base[..3], slerp(chat[0..2], math[2..4], t: 0.3))", folder
    )
    assert step["slices"][0]["sources"][1] == {"model": "math", "layer_range": [2, 4]}
    assert made["base_model"] == "base"
    assert [each["sources"] for each in made["slices"]] == [
        [{"model": "base", "layer_range": [0, 3]}], [{"model": "step", "layer_range": [0, 2]}],
    ]  # fmt: skip


WRONG = {
    "E1130": {
        "an operator": "tsv(chat, math, base: base)",
        "task vectors without a base": "base + ties(chat - base, math - base)",
        "a match between methods": "match { mlp => chat, _ => slerp(chat, math, t: 0.5) }",
        "an option": "dare(chat, base: base, density: 0.5, rescale: l1, draw: 3)",
        "a policy": "linear(chat, math, missing: skip)",
        "a schedule in a sum": "base + curve(0, 1) * (chat - base)",
        "a computed schedule": "slerp(chat, math, t: 0.5 * curve(0, 1))",
    },
    "E1131": {
        "our default": "dare(chat, base: base, density: 0.5)",
        "our word": "della(chat, base: base, density: 0.5, rescale: inverse)",
        "our precision": "sce(chat, math, base: base)",
    },
    "E1132": {
        "a word": "slerp(chat, math, t: match { mlp => 0.1, _ => 0.2 })",
        "a role": "slerp(chat, math, t: match { @norm => 0.1, _ => 0.2 })",
        "the end of a name": 'slerp(chat, math, t: match { "*bias" => 0.1, _ => 0.2 })',
        "all but": 'slerp(chat, math, t: match { !"*mlp*" => 0.1, _ => 0.2 })',
    },
    "E1133": {"an open slice": "stack(chat[..2], math[2..])"},
    "E1134": {
        "another's config": "ties(chat, math, base: base, config: from(math))",
        "a config of no input": "linear(chat, math, config: from(base))",
    },
}


@pytest.mark.parametrize(
    "code, expression", [(code, each) for code, all_ in WRONG.items() for each in all_.values()]
)
def test_what_does_not_fit_is_told_at_its_place(code, expression, folder):
    with pytest.raises(RecipeError) as caught:
        merged(f"let merged = {expression}", folder)
    found = [each for each in caught.value.diagnostics if each.is_error]
    assert [each.code for each in found] == [code]
    assert found[0].span.text in expression


def test_each_step_that_does_not_fit_is_told(folder):
    with pytest.raises(RecipeError) as caught:
        merged(
            "let one = tsv(chat, math, base: base)\nlet two = pcb(chat, math, base: base)\n"
            "let merged = mean(one, two)", folder,
        )  # fmt: skip
    assert [each.span.text for each in caught.value.diagnostics] == ["tsv", "pcb"]


def test_seed_and_shards_are_options_of_its_command_line(folder):
    text = f'seed 3\n{MODELS}output "out" = mean(base, chat, math) {{ shards: 2GB }}\n'
    _, notes = api.export(Recipe(Source("x.merge", text), folder))
    assert [each.code for each in notes] == ["W1131", "W1132"]
    assert all("--" in str(each) for each in notes)


def test_one_output_is_exported_at_a_time(folder):
    text = f'{MODELS}output "one" = mean(base, chat)\noutput "two" = math\n'
    with pytest.raises(UsageError, match="E1017"):
        exported(text, folder)
    assert yaml.safe_load(exported(text, folder, "two"))["models"] == [{"model": "math"}]
    with pytest.raises(UsageError, match="E1005"):
        exported(text, folder, "three")


def test_a_wrong_recipe_is_told_before_anything_is_written(folder):
    with pytest.raises(RecipeError, match="E0402"):
        merged("let merged = chat + math", folder)


def test_what_it_says_of_a_code_is_true_of_its_example(folder):
    shown = re.compile(r"^wrong:(.*?)^right:(.*)", re.MULTILINE | re.DOTALL)
    from mergelang.wording import KINDS

    for code in ("E1131", "E1132", "E1133"):
        wrong, right = shown.search(KINDS[code].explain).groups()
        for text, told in ((wrong, True), (right, False)):
            line = text.strip()
            if not line.startswith("let"):
                line = f"let x = linear(a {{ {line} }}, b)"
            names = "".join(f'model {each} = "{each}"\n' for each in ("a", "b", "base"))
            recipe = Recipe(Source("x.merge", f'{names}{line}\noutput "out" = x\n'), folder)
            if told:
                with pytest.raises(RecipeError, match=code):
                    api.export(recipe)
            else:
                api.export(recipe)
