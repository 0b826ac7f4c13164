"""The terminal view, driven by keys and clicks, over recipes made by hand."""

import asyncio
import threading
from dataclasses import replace

import pytest
from textual.widgets import Static

from mergelang.check.schedule import ONE
from mergelang.draw.graph_text import draw
from mergelang.draw.picture import picture
from mergelang.errors import Cancelled, Diagnostic, RecipeError, RunError
from mergelang.graph import build
from mergelang.run import events
from mergelang.source import Source, Span
from mergelang.tensors import Inventory, Layering, TensorType
from mergelang.tui.actions import ACTIONS
from mergelang.tui.app import View, help_text
from mergelang.tui.details import details
from mergelang.tui.graph_pane import GraphPane
from mergelang.tui.progress import RunState, after, box_states, clock, ended, progress_text
from mergelang.wording import render
from tests.terms import add, program, scale, source, with_base


def span(text: str) -> Span:
    return Span(Source("demo.merge", text), 0, len(text))


TENSORS = Inventory(
    {f"model.layers.{i}.mlp.up_proj.weight": TensorType("BF16", (8, 8)) for i in range(4)},
    Layering("model.layers.", 4),
)
BASE, CHAT, MATH = (
    replace(source(f"./{name}"), span=span(f'"./{name}"'), inventory=TENSORS)
    for name in ("base", "chat", "math")
)
BLEND = replace(
    with_base("ties", CHAT, MATH, base=BASE, weight=(ONE, ONE), density=(ONE, ONE)),
    span=span("ties(\n  chat,\n  math,\n  base: base,\n)"), inventory=TENSORS, donor=BASE,
)  # fmt: skip
SOUP = replace(
    add(scale("0.6", CHAT), scale("0.4", MATH)),
    span=span("0.6 * chat + 0.4 * math"), inventory=TENSORS, donor=CHAT,
)  # fmt: skip
PROGRAM = program(BLEND, SOUP, base=BASE, chat=CHAT, math=MATH, blend=BLEND, soup=SOUP)
BOXES = {(box.name or box.text): box for box in picture(build(PROGRAM)).boxes}


class Recipe:
    """A recipe that is right, or has `wrong` in it, and runs as far as `gates` lets it."""

    def __init__(self, wrong=(), failure=None):
        self.wrong, self.failure = wrong, failure
        self.half, self.rest = threading.Event(), threading.Event()

    def check(self):
        if self.wrong:
            raise RecipeError(self.wrong)
        return PROGRAM

    def run(self, *, listener, control):
        listener(events.RunStarted(("out/0", "out/1"), 8, 1000, 1000, 2))
        listener(events.OutputStarted("out/0", "/out/0", 4, 500))
        for i in range(2):
            listener(events.TensorDone("out/0", f"t{i}", "compute", 125, 1, "ab"))
        listener(events.Progress(250, 250, 0.5, 10**8))
        self.half.set()
        while not self.rest.wait(0.01):
            control.wait()
        if self.failure:
            raise self.failure
        listener(events.OutputDone("out/0", "/out/0", 500, 1.0))
        listener(events.OutputStarted("out/1", "/out/1", 4, 500))
        listener(events.OutputDone("out/1", "/out/1", 500, 1.0))
        listener(events.RunDone(1000, 1000, 2.0, 3 * 10**8))


def drive(script, recipe=None, size=(80, 24)):
    """Opens the view on a recipe, waits until it is shown, lets the script act."""
    recipe = recipe or Recipe()
    view = View(lambda: recipe, "demo.merge")

    async def run():
        async with view.run_test(size=size) as pilot:
            await until(pilot, lambda: "reading" not in text(view, "title"))
            await script(view, pilot)

    asyncio.run(run())
    return view


async def until(pilot, holds):
    for _ in range(400):
        await pilot.pause(0.01)
        if holds():
            return
    raise AssertionError("it did not happen in time")


def text(view: View, id: str) -> str:
    return str(view.query_one(f"#{id}", Static).content)


def selected(view: View) -> str:
    id = view.query_one(GraphPane).selected
    return next(name for name, box in BOXES.items() if box.id == id)


def screen(view: View) -> list[str]:
    """What stands in the graph pane."""
    pane = view.query_one(GraphPane)
    return [pane.render_line(y).text.rstrip() for y in range(pane.size.height)]


def test_it_opens_with_the_graph_drawn():
    async def script(view, pilot):
        assert text(view, "title") == "mergelang demo.merge  2 outputs"
        shown = [line.strip() for line in screen(view)]
        for line in draw(build(PROGRAM)).lines:
            assert line.strip() in shown

    drive(script, size=(80, 40))


@pytest.mark.parametrize(("size", "beside"), [((80, 24), False), ((140, 45), True)])
def test_the_details_stand_below_the_graph_or_beside_it_when_there_is_room(size, beside):
    async def script(view, pilot):
        graph, panel = view.query_one("#graph").region, view.query_one("#details").region
        assert (panel.x >= graph.right) == beside
        assert (panel.y >= graph.bottom) == (not beside)
        assert panel.right <= size[0] and panel.bottom < size[1]

    drive(script, size=size)


def test_arrows_walk_along_the_lines_and_sideways():
    async def script(view, pilot):
        seen = [selected(view)]
        for key in ("up", "left", "up", "right", "down", "down"):
            await pilot.press(key)
            seen.append(selected(view))
        assert seen[:3] == ["out/1", "soup", "blend"]
        assert seen[3] in ("base", "chat", "math")
        rects = view.query_one(GraphPane).drawing.boxes
        assert rects[BOXES[seen[4]].id].y == rects[BOXES[seen[3]].id].y
        assert seen[6].startswith("out/")

    drive(script)


def test_walking_shows_what_the_box_is():
    async def script(view, pilot):
        await pilot.press("up")
        assert "0.6 * chat + 0.4 * math" in text(view, "detail-text")
        await pilot.press("left")
        assert text(view, "detail-text").startswith("blend  ties: ")

    drive(script)


def test_a_selected_box_is_scrolled_into_view():
    async def script(view, pilot):
        await pilot.press("up", "up")
        await pilot.pause()
        assert any(f" {selected(view)} " in line for line in screen(view))

    drive(script, size=(40, 18))


def test_a_click_selects_a_box():
    async def script(view, pilot):
        pane = view.query_one(GraphPane)
        rect = pane.drawing.boxes[BOXES["blend"].id]
        lines = screen(view)
        y = next(i for i, line in enumerate(lines) if " blend " in line)
        x = lines[y].index("blend")
        assert rect.height == 4
        await pilot.click(GraphPane, offset=(x + 1, y))
        assert selected(view) == "blend"

    drive(script, size=(80, 40))


def test_a_run_colours_the_graph_and_fills_the_bar():
    recipe = Recipe()

    async def script(view, pilot):
        pane = view.query_one(GraphPane)
        await pilot.press("r")
        await until(pilot, lambda: "25%" in text(view, "progress"))
        assert "500 B of 2 kB" in text(view, "progress")
        states = {name: pane._states[box.id] for name, box in BOXES.items()}
        assert states == {
            "base": "running", "chat": "running", "math": "running", "blend": "running",
            "soup": "pending", "out/0": "running", "out/1": "pending",
        }  # fmt: skip
        await pilot.click(GraphPane)
        recipe.rest.set()
        await until(pilot, lambda: "2 outputs in 2.0 s" in text(view, "progress"))
        assert set(pane._states.values()) == {"done"}

    drive(script, recipe)


def test_an_output_tells_how_many_of_its_tensors_are_there():
    recipe = Recipe()

    async def script(view, pilot):
        view.query_one(GraphPane).select(BOXES["out/0"].id)
        await pilot.press("r")
        await until(pilot, lambda: "running, 2 of 4 tensors" in text(view, "detail-text"))
        recipe.rest.set()

    drive(script, recipe)


def test_events_that_come_while_the_view_is_taken_down_are_let_be():
    recipe = Recipe()

    async def script(view, pilot):
        await pilot.press("r")
        await until(pilot, recipe.half.is_set)
        await view.query("*").remove()
        recipe.rest.set()
        await until(pilot, lambda: view._session is None)

    drive(script, recipe)


def test_a_run_can_be_cancelled_and_run_again():
    recipe = Recipe()

    async def script(view, pilot):
        await pilot.press("r")
        await until(pilot, recipe.half.is_set)
        await pilot.press("c")
        await until(pilot, lambda: text(view, "progress") == "the run was cancelled")
        recipe.rest.set()
        await pilot.press("r")
        await until(pilot, lambda: "2 outputs in 2.0 s" in text(view, "progress"))

    drive(script, recipe)


def test_leaving_cancels_a_run_first():
    recipe = Recipe()

    async def script(view, pilot):
        await pilot.press("r")
        await until(pilot, recipe.half.is_set)
        await pilot.press("q")
        await until(pilot, lambda: not view.is_running)

    view = drive(script, recipe)
    assert view._run.phase == "cancelled"


def test_a_failure_is_told_with_all_that_is_known():
    failure = RunError("E0902", path="/out/0", reason="No space left on device")
    recipe = Recipe(failure=failure)

    async def script(view, pilot):
        recipe.rest.set()
        await pilot.press("r")
        await until(pilot, lambda: text(view, "progress") == str(failure))
        pane = view.query_one(GraphPane)
        assert pane._states[BOXES["out/0"].id] == "failed"

    drive(script, recipe)


MISTAKE = Diagnostic("E0906", span("let x = chatt"))


def test_a_wrong_recipe_shows_its_mistakes_until_it_is_mended():
    recipe = Recipe(wrong=(MISTAKE,))

    async def script(view, pilot):
        assert text(view, "title") == "mergelang demo.merge  1 error"
        assert text(view, "problem-text").strip() == render(MISTAKE)
        assert not view.query_one(GraphPane).display
        await pilot.press("r")
        await pilot.pause(0.1)
        assert text(view, "title") == "mergelang demo.merge  1 error"
        recipe.wrong = ()
        recipe.rest.set()
        await pilot.press("r")
        await until(pilot, lambda: "2 outputs in 2.0 s" in text(view, "progress"))
        assert view.query_one(GraphPane).display

    drive(script, recipe)


def test_help_has_every_key_and_goes_away_again():
    async def script(view, pilot):
        await pilot.press("question_mark")
        assert view.query_one("#help").display and not view.query_one(GraphPane).display
        await pilot.press("question_mark")
        assert view.query_one(GraphPane).display

    drive(script)
    for each in ACTIONS:
        assert f"{each.shown:>5}  {each.text}\n" in str(help_text())


def test_every_action_can_be_done():
    async def script(view, pilot):
        bound = set(view._bindings.key_to_bindings)
        assert {key for each in ACTIONS for key in each.keys.split(",")} <= bound

    drive(script)


# What is said about a box


def about(name: str, run: RunState | None = None) -> str:
    return str(details(BOXES[name], picture(build(PROGRAM)), PROGRAM, run))


def test_details_of_a_sum():
    assert (
        about("soup")
        == """\
soup  a sum of models and task vectors
0.6 * chat + 0.4 * math
from         chat (0.6), math (0.4)
mass         1, a model
tensors      4, 512 B, BF16
layers       4
config from  chat
"""
    )


def test_details_of_a_call_with_a_base():
    shown = about("blend")
    assert shown.startswith("blend  ties: ")
    assert (
        shown.split("\n", 1)[1]
        == """\
ties(
  chat,
  math,
  base: base,
)
density      1
weight       1
from         chat, math, base (base)
mass         1, a model
tensors      4, 512 B, BF16
layers       4
config from  base
"""
    )


def test_details_of_an_output():
    assert (
        about("out/0")
        == """\
out/0  an output
folder   /out/0
shards   5 GB
tensors  4
"""
    )


# Progress


def test_the_state_of_a_run_follows_from_its_events():
    state = RunState()
    for event in (
        events.RunStarted(("a", "b"), 3, 300, 100, 1),
        events.OutputStarted("a", "/a", 2, 60),
        events.TensorDone("a", "t", "copy", 30, 1, ""),
        events.Progress(70, 30, 2.0, 5),
    ):
        state = after(state, event)
    assert (state.phase, state.share, state.seconds) == ("running", 0.25, 2.0)
    assert (state.outputs["a"].done, state.outputs["a"].tensors) == (1, 2)
    assert str(progress_text(state))[24:] == "   25%  100 B of 400 B  50 B/s  0:06 left"
    stopped = ended(state, Cancelled("E0906"))
    assert (stopped.phase, stopped.outputs["a"].state) == ("cancelled", "failed")
    assert stopped.outputs["b"].state == "pending"


def test_a_box_of_two_outputs_is_running_until_both_are_done():
    shown = picture(build(PROGRAM))
    state = after(RunState(), events.RunStarted(("out/0", "out/1"), 1, 1, 1, 1))
    state = after(state, events.OutputStarted("out/0", "", 1, 1))
    state = after(state, events.OutputDone("out/0", "", 1, 1.0))
    states = box_states(shown, state)
    assert states[BOXES["blend"].id] == "done"
    assert states[BOXES["chat"].id] == "running"
    assert states[BOXES["soup"].id] == "pending"


def test_the_bar_fits_eighty_columns():
    state = after(RunState(), events.RunStarted(("a",), 3, 123 * 10**9, 456 * 10**9, 1))
    state = after(state, events.Progress(12 * 10**9, 321 * 10**9, 4000.0, 5))
    assert len(progress_text(state)) <= 78
    state = after(state, events.RunDone(123 * 10**9, 456 * 10**9, 12345.6, 999 * 10**6))
    assert len(progress_text(state)) <= 78


def test_times_are_written_as_on_a_clock():
    assert [clock(s) for s in (7, 750, 3725)] == ["0:07", "12:30", "1:02:05"]
