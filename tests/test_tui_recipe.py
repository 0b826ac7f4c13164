"""The page of the text: typing, mistakes, completion, documentation, saving."""

import pytest
from textual.widgets import OptionList

from mergelang.tui.editor import Editor
from tests.views import BLEND, checked, drive, said, screen, until, write_models


@pytest.fixture
def recipe(tmp_path):
    return write_models(tmp_path)


def editor(view) -> Editor:
    return view.query_one(Editor)


def at(view, text: str) -> None:
    """Puts the cursor behind the first place of a text."""
    editor(view).go_to(view.text.index(text) + len(text))


def test_the_text_is_shown_with_its_words_in_colours(recipe):
    async def script(view, pilot):
        assert any("let blend = ties(" in line for line in screen(view))
        kinds = {kind for row in editor(view)._highlights.values() for _, _, kind in row}
        assert kinds >= {"keyword", "given", "call", "option", "string", "number", "comment"}
        assert said(view, "problems-title") == "nothing is wrong"

    drive(script, recipe)


def test_a_mistake_is_told_as_one_types_and_goes_when_it_is_mended(recipe):
    async def script(view, pilot):
        at(view, "let steered = blen")
        await pilot.press("x")
        await until(pilot, lambda: view.look.errors)
        assert said(view, "problems-title").startswith("1 error")
        await until(pilot, lambda: "blenxd" in "".join(screen(view)[-6:]))
        row = editor(view)._highlights[view.text[: view.text.index("blenxd")].count("\n")]
        assert (14, 20, "error") in row
        await pilot.press("backspace")
        await until(pilot, lambda: not view.look.errors)
        assert said(view, "problems-title") == "nothing is wrong"

    drive(script, recipe)


def test_f8_goes_from_mistake_to_mistake_and_round(recipe):
    recipe.write_text(BLEND.replace("chat - base", "chatt - base").replace("= blend {", "= blnd {"))

    async def script(view, pilot):
        for name in ("chatt", "blnd", "chatt"):
            await pilot.press("f8")
            assert editor(view).selected_text == name

    drive(script, recipe)


def test_a_click_on_a_mistake_goes_there(recipe):
    recipe.write_text(BLEND.replace("chat - base", "chatt - base"))

    async def script(view, pilot):
        await pilot.click("#problems-list", offset=(4, 0))
        await until(pilot, lambda: editor(view).selected_text == "chatt")

    drive(script, recipe)


def test_completion_offers_names_operators_and_options(recipe):
    async def script(view, pilot):
        at(view, "let steered = ")
        await pilot.press("b", "l")
        shown = view.query_one("#completions", OptionList)
        await until(pilot, lambda: shown.display)
        await pilot.press("enter")
        assert "let steered = blendblend" in view.text
        at(view, "  density: 0.5,")
        await pilot.press("enter", "l", "a")
        await until(pilot, lambda: shown.display)
        assert str(shown.get_option_at_index(0).prompt).startswith("lambda:")
        await pilot.press("tab")
        assert "\n  lambda: " in view.text
        await pilot.press("escape")
        assert not shown.display

    drive(script, recipe)


def test_the_list_of_completions_is_walked_with_arrows(recipe):
    async def script(view, pilot):
        at(view, "base: base,\n  ")
        await pilot.press("ctrl+@")
        shown = view.query_one("#completions", OptionList)
        await until(pilot, lambda: shown.display)
        assert str(shown.get_option_at_index(0).prompt).startswith("weight:")
        await pilot.press("down", "down", "up", "enter")
        assert not shown.display and "base: base,\n  normalize: density: 0.5" in view.text

    drive(script, recipe)


def test_a_new_line_is_indented_as_the_one_above(recipe):
    async def script(view, pilot):
        at(view, "let blend = ties(")
        await pilot.press("enter", "x", "enter", "y")
        assert "ties(\n  x\n  y\n  chat" in view.text

    drive(script, recipe)


def test_folders_complete_the_path_of_a_model(recipe):
    async def script(view, pilot):
        editor(view).move_cursor(editor(view).document.end)
        await pilot.press(*"model x = ", '"', *"mod")
        shown = view.query_one("#completions", OptionList)
        await until(pilot, lambda: shown.display)
        await pilot.press("enter")
        await until(pilot, lambda: shown.option_count == 3)
        await pilot.press("down", "enter", '"')
        assert view.text.endswith('model x = "models/chat"')

    drive(script, recipe)


def test_what_is_said_about_the_word_at_the_cursor(recipe):
    async def script(view, pilot):
        at(view, "let blend = ti")
        await until(pilot, lambda: "ties(*deltas, base:" in said(view, "about-text"))
        at(view, "density: 0.5,\n)\nlet ste")
        await until(pilot, lambda: "let steered = blend + t * (chat" in said(view, "about-text"))
        assert "a model" in said(view, "about-text")

    drive(script, recipe, size=(160, 50))


def test_the_mouse_shows_the_documentation_of_a_word(recipe):
    async def script(view, pilot):
        row = view.text[: view.text.index("ties(")].count("\n")
        await pilot.hover(Editor, offset=(editor(view).gutter_width + 13, row))
        await until(pilot, lambda: "ties(*deltas" in said(view, "about-text"))

    drive(script, recipe, size=(160, 50))


def test_in_a_small_terminal_a_key_shows_the_documentation(recipe):
    async def script(view, pilot):
        assert not view.query_one("#about").display
        at(view, "let blend = ti")
        await pilot.press("f9")
        await until(pilot, lambda: any("Trims each task vector" in line for line in screen(view)))
        panel = view.query_one("#about")
        # In lines of its own width: they are not broken once more.
        assert max(map(len, said(view, "about-text").splitlines())) <= panel.columns
        await pilot.press("f9")
        await until(pilot, lambda: not view.query_one("#about").display)

    drive(script, recipe)


def test_the_text_is_saved_and_formatted_on_demand(recipe):
    async def script(view, pilot):
        at(view, "let steered =")
        await pilot.press("space", "space")
        assert view.is_changed and " •" in screen(view)[0]
        await checked(view, pilot)
        await pilot.press("ctrl+t")
        await until(pilot, lambda: "let steered = blend" in view.text)
        await pilot.press("ctrl+s")
        assert not view.is_changed
        assert recipe.read_text() == BLEND

    drive(script, recipe)


def test_a_new_recipe_is_saved_under_a_name_that_is_free(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recipe.merge").write_text("seed 1\n")

    async def script(view, pilot):
        await pilot.press("ctrl+s")
        await until(pilot, lambda: (tmp_path / "recipe2.merge").is_file())

    drive(script)
    assert (tmp_path / "recipe.merge").read_text() == "seed 1\n"
    assert 'output "out/merged"' in (tmp_path / "recipe2.merge").read_text()


def test_a_file_of_mergekit_is_opened_as_a_recipe_of_its_own(tmp_path):
    write_models(tmp_path)
    (tmp_path / "config.yml").write_text(
        "merge_method: linear\ndtype: bfloat16\nmodels:\n"
        "  - {model: models/chat, parameters: {weight: 0.5}}\n"
        "  - {model: models/math, parameters: {weight: 0.5}}\n"
    )

    async def script(view, pilot):
        assert view.is_changed and view.path == tmp_path / "config.merge"
        await pilot.press("ctrl+s")

    drive(script, tmp_path / "config.yml")
    assert "linear(" in (tmp_path / "config.merge").read_text()


def test_the_cursor_leads_to_the_graph_and_back(recipe):
    async def script(view, pilot):
        at(view, "let blend = ti")
        await pilot.press("ctrl+g")
        await until(pilot, lambda: view.page.id == "graph")
        assert view.page.box.name == "blend"
        await pilot.press("enter")
        await until(pilot, lambda: view.page.id == "recipe")
        assert editor(view).selected_text.startswith("ties(")

    drive(script, recipe)


def test_another_recipe_is_opened_from_a_list(recipe):
    other = recipe.with_name("other.merge")
    other.write_text("seed 7\n")

    async def script(view, pilot):
        await pilot.press("ctrl+o", *"oth")
        await until(pilot, lambda: view.screen.query(OptionList).first().option_count == 1)
        await pilot.press("enter")
        await until(pilot, lambda: view.path == other and view.text == "seed 7\n")

    drive(script, recipe)
