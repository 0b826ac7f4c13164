"""The pages of graph and plan, and what lies around all pages: keys, help, palette, themes."""

import pytest
from textual.command import CommandPalette
from textual.widgets import Input, OptionList

from mergelang.tui.actions import ACTIONS, PAGES
from mergelang.tui.graph_pane import GraphPane
from mergelang.tui.screens import Going, Help, Told, Unsaved, help_text
from mergelang.tui.slider import Slider, track
from mergelang.tui.theme import LIGHT
from tests.test_tui_screens import half, told
from tests.views import BLEND, drive, leave_by, said, screen, until, write_models


@pytest.fixture
def recipe(tmp_path):
    return write_models(tmp_path)


# Around the pages


def test_every_page_has_a_key_and_a_place_to_click(recipe):
    async def script(view, pilot):
        for name, (key, title) in reversed(PAGES.items()):
            await pilot.press(key)
            assert view.page.id == name and view.query_one(f"#{name}").display
            x = screen(view)[0].index(title)
            await pilot.click("#heading", offset=(screen(view)[0].index("Recipe") + 1, 0))
            assert view.page.id == "recipe"
            await pilot.click("#heading", offset=(x + 1, 0))
            assert view.page.id == name

    drive(script, recipe)


def test_every_key_of_the_table_is_bound_and_every_action_is_there(recipe):
    async def script(view, pilot):
        bound = set(view._bindings.key_to_bindings)
        assert {key for each in ACTIONS for key in each.keys.split(",")} <= bound
        for each in ACTIONS:
            for page in each.pages:
                await view.action_go(page)
                assert callable(getattr(view.query_one(f"#{page}"), each.method))
            assert each.pages or hasattr(view, f"action_{each.method}")

    drive(script, recipe)


def test_what_one_key_calls_on_two_pages_has_one_label():
    labels = {(key, each.action): each.label for each in ACTIONS for key in each.keys.split(",")}
    for each in ACTIONS:
        for key in each.keys.split(","):
            assert labels[key, each.action] == each.label


def test_the_footer_has_the_few_keys_that_matter_here(recipe):
    async def script(view, pilot):
        await until(pilot, lambda: "f8 next" in screen(view)[-1])
        assert "zoom" not in screen(view)[-1]
        await pilot.press("f3")
        await until(pilot, lambda: "z zoom" in screen(view)[-1])
        assert "f8" not in screen(view)[-1]

    drive(script, recipe)


@pytest.mark.parametrize("page", PAGES)
def test_the_footer_of_every_page_fits_eighty_columns(page):
    keys = [each for each in ACTIONS if each.footer and (not each.pages or page in each.pages)]
    # Each with a blank before and behind it, as the footer has them.
    assert sum(len(f" {each.shown} {each.label} ") for each in keys) <= 80


def test_help_tells_the_keys_of_the_page_and_goes_away_again(recipe):
    async def script(view, pilot):
        await pilot.press("f3", "question_mark")
        await until(pilot, lambda: isinstance(view.screen, Help))
        await until(pilot, lambda: any("go to an input" in line for line in screen(view)))
        await pilot.press("escape")
        await until(pilot, lambda: not isinstance(view.screen, Help))

    drive(script, recipe)
    for each in ACTIONS:
        assert any(f"{each.shown:>7}  {each.text}\n" in str(help_text(page)) for page in PAGES)


def test_the_palette_finds_actions_of_other_pages_and_operators(recipe):
    async def script(view, pilot):
        await pilot.press("ctrl+p")
        await until(pilot, lambda: isinstance(view.screen, CommandPalette))
        await pilot.press(*"boxes, or lanes")
        await until(pilot, lambda: view.screen.query_one(OptionList).option_count)
        await pilot.press("enter")
        await until(pilot, lambda: view.page.id == "graph")
        await until(pilot, lambda: view.query_one(GraphPane).drawing.is_lanes)
        await pilot.press("ctrl+p")
        await until(pilot, lambda: isinstance(view.screen, CommandPalette))
        await pilot.press(*"operator dare_ties")
        await until(pilot, lambda: view.screen.query_one(OptionList).option_count)
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(view.screen, Told))
        await until(pilot, lambda: any("dare_ties(*deltas" in line for line in screen(view)))

    drive(script, recipe)


def test_light_and_dark(recipe):
    async def script(view, pilot):
        editor = view.query_one("#editor")
        assert (view.theme, editor.theme) == ("mergelang-dark", "mergelang-dark")
        await pilot.press("f10")
        await until(pilot, lambda: editor.theme == "mergelang-light")
        assert view.theme == "mergelang-light"

    drive(script, recipe)


def test_what_has_no_lineage_is_told_in_a_colour_of_the_theme(recipe):
    async def script(view, pilot):
        await pilot.press("f7")
        view.page.open_at("models/none")
        await until(pilot, lambda: any("there is nothing at" in line for line in screen(view)))
        strips = view.screen._compositor.render_strips()
        told = [each for strip in strips for each in strip if "there is nothing at" in each.text]
        assert [each.style.color.get_truecolor().hex for each in told] == [LIGHT.warning]

    drive(script, recipe, light=True)


def test_leaving_asks_about_changes_that_are_not_saved(recipe):
    async def script(view, pilot):
        await pilot.press("x", "ctrl+q")
        await until(pilot, lambda: any("not saved" in line for line in screen(view)))
        await pilot.press("escape")
        assert view.is_running
        await pilot.press("ctrl+q")
        await leave_by(view, "s")

    drive(script, recipe)
    assert recipe.read_text().startswith("x#")


def test_leaving_a_run_does_not_drop_changes_and_the_other_way_round(recipe):
    async def script(view, pilot):
        told(view, recipe, *half(recipe))
        view.runner.cancel = lambda: pytest.fail("nobody said so")
        await pilot.press("x", "ctrl+q")
        await until(pilot, lambda: any("not saved" in line for line in screen(view)))
        await pilot.press("g", "c")
        assert isinstance(view.screen, Unsaved)
        await pilot.press("s")
        await until(pilot, lambda: isinstance(view.screen, Going))
        await pilot.press("s", "d", "escape")
        assert view.is_running and not view.is_changed

    drive(script, recipe)
    assert recipe.read_text().startswith("x#")


def test_params_stay_where_another_recipe_cannot_be_opened(recipe):
    async def script(view, pilot):
        await view.open_recipe(str(recipe.with_name("none.merge")))
        assert (view.path, view.settings) == (recipe, {"t": "0.5"})

    drive(script, recipe, {"t": "0.5"})


# The graph


def pane(view) -> GraphPane:
    return view.query_one(GraphPane)


def name(view) -> str:
    return view.page.box.name or view.page.box.text


def test_the_graph_is_drawn_and_its_last_output_chosen(recipe):
    async def script(view, pilot):
        await pilot.press("f3")
        await until(pilot, lambda: any("models/chat" in line for line in screen(view)))
        assert name(view) == "out/steered"
        assert "out/steered" in said(view, "detail-text")

    drive(script, recipe, size=(100, 45))


def test_arrows_walk_along_the_lines_and_to_the_sides(recipe):
    async def script(view, pilot):
        await pilot.press("f3")
        seen = [name(view)]
        for key in ("up", "up", "up", "left", "right", "down", "j"):
            await pilot.press(key)
            seen.append(name(view))
        assert seen[:3] == ["out/steered", "steered", "blend"]
        assert seen[3] in ("base", "chat", "math") and {*seen[4:6]} <= {"base", "chat", "math"}
        assert seen[6] in ("blend", "steered")

    drive(script, recipe)


@pytest.mark.parametrize("size", [(44, 18), (40, 12)])
def test_a_chosen_box_is_scrolled_into_sight(size, recipe):
    async def script(view, pilot):
        await pilot.press("f3", "up", "up", "up")
        await until(pilot, lambda: any(f"  {name(view)}  " in line for line in screen(view)))

    drive(script, recipe, size=size)


def test_a_click_chooses_a_box(recipe):
    async def script(view, pilot):
        await pilot.press("f3")
        await until(pilot, lambda: any(" blend " in line for line in screen(view)))
        lines = screen(view)
        y = next(i for i, line in enumerate(lines) if " blend " in line)
        await pilot.click(offset=(lines[y].index("blend") + 1, y))
        assert name(view) == "blend"

    drive(script, recipe, size=(100, 45))


def test_zoom_leads_from_boxes_to_lanes_and_back(recipe):
    async def script(view, pilot):
        await pilot.press("f3", "up", "z")
        assert pane(view).drawing.is_lanes and name(view) == "steered"
        await pilot.press("up")
        assert name(view) == "out/blend"
        await pilot.press("z")
        assert not pane(view).drawing.is_lanes and name(view) == "out/blend"

    drive(script, recipe)


def test_many_nodes_are_lanes_by_themselves(tmp_path):
    recipe = write_models(tmp_path)
    steps = "\n".join(f"let s{i} = 0.5 * s{i - 1} + 0.5 * chat" for i in range(1, 60))
    recipe.write_text(
        f'model chat = "models/chat"\nmodel s0 = "models/base"\n{steps}\noutput "out" = s59\n'
    )

    async def script(view, pilot):
        await pilot.press("f3")
        await until(pilot, lambda: pane(view).drawing.is_lanes)
        await pilot.press("z")
        await until(pilot, lambda: not pane(view).drawing.is_lanes)

    drive(script, recipe)


def test_what_is_said_about_a_node(recipe):
    async def script(view, pilot):
        await pilot.press("f3", "up", "up")
        for late in ("reads", "derivation"):
            await until(pilot, lambda late=late: late in said(view, "detail-text"))
        text = said(view, "detail-text")
        assert text.startswith("blend  ties: ")
        for label in ("density", "weight", "from", "mass", "tensors", "layers", "derivation"):
            assert f"\n{label}" in text
        assert "weight 1  ▁▃▆█  0.2 to 0.8" in text and "weight 2  ▄▄▄▄  0.5" in text

    drive(script, recipe, size=(160, 50))


def test_a_recipe_that_becomes_wrong_keeps_the_graph_from_before(recipe):
    async def script(view, pilot):
        await pilot.press("x")
        await until(pilot, lambda: view.look.errors)
        await pilot.press("f3")
        assert view.query_one("#graph-note").display and pane(view).drawing is not None
        await pilot.press("f2", "backspace")
        await until(pilot, lambda: not view.look.errors)
        assert not view.query_one("#graph-note").display

    drive(script, recipe)


def test_a_source_is_opened_in_the_model_page(recipe):
    async def script(view, pilot):
        await pilot.press("f3", "up", "up", "up", "i")
        await until(pilot, lambda: view.model is not None)
        assert view.page.id == "model"
        assert view.model.folder.parent.name == "models"

    drive(script, recipe)


# The plan


def test_the_plan_is_that_of_the_command_line(recipe):
    async def script(view, pilot):
        await pilot.press("f4")
        text = said(view, "plan-text")
        assert text == str(view.look.plan) and "out/blend: 39 tensors" in text
        assert "memory" in said(view, "plan-machine") and "free" in said(view, "plan-machine")

    drive(script, recipe)


def test_a_slider_changes_the_plan_at_once(recipe):
    async def script(view, pilot):
        await pilot.press("f4")
        await until(pilot, lambda: isinstance(view.focused, Slider))
        await pilot.press("right", "right")
        await until(pilot, lambda: view.look.settings == {"t": "0.5"})
        assert str(view.look.seen.program.params["t"].value) == "1/2"
        await pilot.press("left", "left")
        await until(pilot, lambda: view.look.settings == {})
        await pilot.press("home")
        await until(pilot, lambda: view.look.settings == {"t": "0"})
        await pilot.press("d")
        await until(pilot, lambda: view.look.settings == {})
        assert view.query_one(Slider).value == view.query_one(Slider).default

    drive(script, recipe)


def test_a_slider_is_moved_with_the_mouse(recipe):
    async def script(view, pilot):
        await pilot.press("f4")
        slider = view.query_one(Slider)
        await pilot.click(Slider, offset=(slider._start + slider._track - 1, 0))
        await until(pilot, lambda: view.look.settings == {"t": "1"})

    drive(script, recipe)


def test_params_that_are_no_numbers_have_fields_of_their_own(recipe):
    recipe.write_text('param who = "chat"\nparam yes = true\n' + BLEND)

    async def script(view, pilot):
        await pilot.press("f4")
        view.query_one("#params Input", Input).value = "math"
        view.query_one("#params Input", Input).focus()
        await pilot.press("enter", "tab", "space")
        await until(pilot, lambda: view.look.settings == {"who": "math", "yes": "false"})

    drive(script, recipe)


def test_a_track_without_bounds_reaches_as_far_as_makes_sense():
    assert track(2, None, None) == (0, 4)
    assert track(-1, None, None) == (-2, 0)
    assert track(1, 0, None) == (0, 2)
    assert track(5, None, 10) == (0, 10)


def test_a_plan_that_cannot_be_says_why(recipe):
    recipe.write_text(BLEND.replace("chat - base", "chatt - base"))

    async def script(view, pilot):
        await pilot.press("f4")
        assert "chatt" in said(view, "plan-text")

    drive(script, recipe)
