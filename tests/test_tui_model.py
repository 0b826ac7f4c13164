"""The pages of a model and of lineage."""

import time

import pytest
from textual.widgets import Input, OptionList

from mergelang.api import load
from mergelang.tui.table import GAP, Column, Line, Table
from tests.checkpoints import write_model
from tests.views import drive, said, until, write_models


@pytest.fixture
def recipe(tmp_path):
    return write_models(tmp_path)


@pytest.fixture
def model(recipe):
    return str(recipe.parent / "models" / "chat")


def table(view) -> Table:
    return view.page.query_one(Table)


def name(view) -> str:
    return table(view).rows[table(view).chosen].shown[0]


def test_a_model_is_a_table_of_its_tensors(model):
    async def script(view, pilot):
        await until(pilot, lambda: table(view).count == 39)
        assert "39 tensors" in said(view, "model-title")
        assert name(view) == "model.embed_tokens.weight"
        await pilot.press("down", "down")
        assert name(view) == "model.layers.0.mlp.down_proj.weight"
        await until(pilot, lambda: "deviation" in said(view, "tensor-text"))
        await pilot.press("end")
        assert name(view) == "lm_head.weight"

    drive(script, model=model)


def test_tensors_are_filtered_by_words_of_their_name(model):
    async def script(view, pilot):
        await until(pilot, lambda: table(view).count == 39)
        await pilot.press("slash", *"mlp 3")
        await until(pilot, lambda: table(view).count == 3)
        view.page.query_one("#filter", Input).value = "layers.1.*proj"
        await until(pilot, lambda: table(view).count == 7)
        await pilot.press("enter", "escape")
        assert isinstance(view.focused, Table)
        await pilot.press("slash", "escape")
        await until(pilot, lambda: table(view).count == 39)

    drive(script, model=model)


def test_tensors_are_sorted_by_key_and_by_click(model):
    async def script(view, pilot):
        await until(pilot, lambda: table(view).count == 39)
        await pilot.press("s")
        assert table(view).sorted_by == (0, False)
        order = [table(view).rows[each].shown[0] for each in table(view)._order]
        assert order[0] == "lm_head.weight"
        before = sum(table(view)._widths[:3]) + 3 * GAP
        for turned in (False, True):
            await pilot.click(Table, offset=(before + 2, 0))
            assert table(view).sorted_by == (3, turned)
        assert table(view).rows[table(view)._order[0]].shown[3] == "512 B"

    drive(script, model=model, size=(170, 40))


def test_what_has_no_value_yet_stands_last_whichever_way_it_is_sorted(model):
    async def script(view, pilot):
        await until(pilot, lambda: table(view).count == 39)
        view.page.model = None  # What is shown now is no model's.
        values = (("a", None), ("b", 2.0), ("c", 1.0))
        rows = [Line((name, ""), (name, value)) for name, value in values]
        shown = table(view)
        shown.show((Column("tensor"), Column("norm", True)), rows)
        shown.sort(1)
        assert shown._order == [2, 1, 0]
        shown.sort(1)
        assert shown._order == [1, 2, 0]

    drive(script, model=model)


def test_the_models_of_the_recipe_are_offered_first_wherever_they_are(tmp_path):
    write_model(tmp_path / "elsewhere" / "b")
    write_model(tmp_path / "here" / "a")
    write_model(tmp_path / "here" / "z")
    recipe = tmp_path / "here" / "x.merge"
    recipe.write_text('model z = "z"\nmodel b = "../elsewhere/b"\noutput "out" = mean(z, b)\n')

    async def script(view, pilot):
        await until(pilot, lambda: view.seen is not None)
        await pilot.press("f6", "o")
        await until(pilot, lambda: view.screen.query(OptionList))
        offered = view.screen.query_one(OptionList)
        shown = [str(offered.get_option_at_index(i).prompt) for i in range(offered.option_count)]
        assert shown == ["z", str(tmp_path / "elsewhere" / "b"), "a"]

    drive(script, recipe)


def test_thirty_thousand_tensors_are_no_trouble(model):
    async def script(view, pilot):
        await until(pilot, lambda: table(view).count == 39)
        view.page.model = None  # What is shown now is no model's.
        rows = [Line((f"layers.{i}.w", "F32"), (i, "F32")) for i in range(30_000)]
        shown = table(view)
        start = time.process_time()
        shown.show((Column("tensor"), Column("dtype")), rows)
        shown.choose(29_999)
        shown.sort(0)
        shown.sort(0)
        shown.filter("999")
        for line in range(shown.size.height):
            shown.render_line(line)
        assert time.process_time() - start < 2, "it takes a tenth of that where nothing else runs"
        assert shown.count == sum("999" in str(i) for i in range(30_000)) and not shown.children

    drive(script, model=model)


def test_a_model_is_compared_with_another_tensor_by_tensor(recipe, model):
    async def script(view, pilot):
        await until(pilot, lambda: table(view).count == 39)
        await pilot.press("v")
        await until(pilot, lambda: view.screen.query(OptionList))
        view.screen.query_one(Input).value = "models/math"
        await pilot.press("enter")
        await until(pilot, lambda: "base of both" in str(view.screen.query(".window").first()
                                                         .border_title))
        view.screen.query_one(Input).value = "models/base"
        await pilot.press("enter")
        await until(pilot, lambda: len(view.page._sums) == 39)
        await until(pilot, lambda: "norm of the difference" in said(view, "map-text"))
        await pilot.press("m")
        await until(pilot, lambda: "cosine" in said(view, "map-text"))
        await pilot.press("m")
        await until(pilot, lambda: "signs conflict" in said(view, "map-text"))
        assert "self_attn.q_proj" in said(view, "map-text")
        await pilot.press("t", "m")
        assert table(view).columns[1].title == "difference"
        await until(pilot, lambda: "cosine" in said(view, "tensor-text"))

    drive(script, recipe, model=model, size=(120, 40))


def test_a_model_that_is_not_there_is_told(tmp_path):
    async def script(view, pilot):
        await until(pilot, lambda: any("E06" in each.message for each in view._notifications))
        assert "no model is open" in said(view, "model-title")

    drive(script, model=str(tmp_path / "none"))


def test_a_model_is_picked_from_a_list(recipe, monkeypatch):
    monkeypatch.chdir(recipe.parent)

    async def script(view, pilot):
        await pilot.press("f6", "o")
        await until(pilot, lambda: view.screen.query(OptionList))
        await until(pilot, lambda: view.screen.query_one(OptionList).option_count == 3)
        await pilot.press(*"mat", "enter")
        await until(pilot, lambda: view.model is not None)
        assert view.model.folder.name == "math"

    drive(script, recipe)


# Lineage


@pytest.fixture
def merged(recipe):
    """A merge of merges, and the folder it is in."""
    load(recipe).run(processes=False)
    second = recipe.with_name("second.merge")
    second.write_text(
        'model a = "out/blend"\nmodel b = "out/steered"\noutput "out/last" = mean(a, b)\n'
    )
    load(second).run(processes=False)
    return recipe.parent / "out" / "last"


def test_lineage_is_a_tree_with_the_recipe_of_each_ancestor(recipe, merged):
    async def script(view, pilot):
        await pilot.press("f6", "f7")
        await until(pilot, lambda: table(view).count == 0)
        view.page.open_at(str(merged))
        await until(pilot, lambda: table(view).count > 4)
        lines = [row.shown[0] for row in table(view).rows]
        assert lines[0] == "out/last" and lines[1] == "├─ out/blend"
        assert any(line == "│  ├─ models/chat" for line in lines)
        await until(pilot, lambda: "mean(a, b)" in said(view, "ancestor-text"))
        await pilot.press("down")
        await until(pilot, lambda: "let blend = ties(" in said(view, "ancestor-text"))
        await pilot.press("down")
        await until(pilot, lambda: "no recipe of it is known" in said(view, "ancestor-text"))

    drive(script, recipe)


def test_two_recipes_are_compared(recipe, merged):
    async def script(view, pilot):
        await pilot.press("f7")
        view.page.open_at(str(merged))
        await until(pilot, lambda: table(view).count)
        await pilot.press("v")
        await until(pilot, lambda: view.screen.query(OptionList))
        view.screen.query_one(Input).value = "out/blend"
        await pilot.press("enter")
        await until(pilot, lambda: "+++ out/last" in said(view, "ancestor-text"))
        text = said(view, "ancestor-text")
        assert '+output "out/last" = mean(a, b)' in text and "-let blend = ties(" in text

    drive(script, recipe)


def test_what_no_run_has_written_has_no_lineage(recipe, model):
    async def script(view, pilot):
        await pilot.press("f7")
        view.page.open_at(model)
        await until(pilot, lambda: "E2102" in said(view, "lineage-title"))

    drive(script, recipe)


def test_a_bare_file_is_a_model_too(tmp_path):
    write_model(tmp_path / "m", seed=1)
    file = tmp_path / "m" / "model.safetensors"

    async def script(view, pilot):
        await until(pilot, lambda: table(view).count == 39)

    drive(script, model=str(file))
