"""What the view finds in a text: graph, plan and diagnostics, as the commands have them."""

import shutil

import pytest
from huggingface_hub import constants

from mergelang.api import load
from mergelang.source import Source
from mergelang.tui.look import look
from tests.checkpoints import write_model
from tests.hub import serving
from tests.views import write_models


@pytest.fixture
def recipe(tmp_path):
    return write_models(tmp_path)


def looked(recipe):
    return look(Source(str(recipe), recipe.read_text()), recipe, recipe.parent, {})


def codes(found):
    return [each.code for each in found]


def test_the_plan_is_that_of_the_command_with_its_warnings(recipe):
    for name, licence in (("chat", "mit"), ("math", "apache-2.0")):
        card = f"---\nlicense: {licence}\n---\n"
        (recipe.parent / "models" / name / "README.md").write_text(card)
    found, planned = looked(recipe), load(recipe).plan()
    assert str(found.plan) == str(planned)
    assert codes(found.diagnostics) == codes(planned.graph.program.warnings) == ["W2131"] * 2


def test_what_the_store_holds_is_in_the_plan(recipe):
    recipe.write_text(
        'model base = "models/base"\nmodel chat = "models/chat"\nmodel math = "models/math"\n'
        'output "out" = base + tsv(chat - base, math - base)\n'
    )
    load(recipe).run(cache="all", processes=False)
    shutil.rmtree(recipe.parent / "out")
    assert "values from the store" in str(looked(recipe).plan)


def test_a_recipe_whose_models_are_not_there_has_a_graph(recipe):
    shutil.rmtree(recipe.parent / "models")
    found = looked(recipe)
    assert set(codes(found.errors)) == {"E0605"} and found.plan is None
    assert [box.name or box.text for box in found.seen.picture.boxes][-1] == "out/steered"


def test_a_text_that_is_wrong_has_none(recipe):
    recipe.write_text("let x = nothing\n")
    found = looked(recipe)
    assert found.errors and found.seen is None


def test_a_hub_that_is_away_leaves_the_graph_and_takes_the_plan(tmp_path, monkeypatch):
    write_model(tmp_path / "model")
    recipe = tmp_path / "x.merge"
    recipe.write_text('model a = "hf:org/name"\nmodel b = "model"\noutput "out" = mean(a, b)\n')
    with serving() as hub:
        monkeypatch.setattr(constants, "ENDPOINT", hub.endpoint)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        hub.down = True
        found = looked(recipe)
    assert found.seen is not None and found.plan is None and not found.errors
    assert codes(found.unplanned) == ["W2220"]
