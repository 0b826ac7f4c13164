"""The screens to the letter, at both sizes. They are rewritten when MERGELANG_WRITE_SCREENS is set.

Without colours, so that what can only be told by colour is told as missing.
"""

import os
import re
import tempfile
from pathlib import Path

import pytest

from mergelang.api import load
from mergelang.run import events
from mergelang.tui import runner
from mergelang.tui.slider import Slider
from tests.views import drive, said, screen, until, write_models

SCREENS = Path(__file__).parent / "screens"
SMALL, LARGE = (80, 24), (160, 50)


@pytest.fixture
def recipe(monkeypatch):
    """In a folder whose path is of one length everywhere: it is part of what is seen. With a store
    of its own, in which nothing was measured yet."""
    with tempfile.TemporaryDirectory(prefix="view-", dir="/tmp") as folder:
        monkeypatch.setenv("MERGELANG_CACHE", f"{folder}/store")
        yield write_models(Path(folder))


def check(name: str, shown: list[str], recipe: Path) -> None:
    """Compares a screen with the one that is kept, but for what differs between machines."""
    text = "\n".join(shown) + "\n"
    text = re.sub(r"[━─]+(  [\d.]+ [kMG]?B of )[\d.]+ [kMGT]?B", r"(bar)\1(some)", text)
    text = re.sub(r"disk of \S+( +)", r"disk of (folder)\1", text)
    text = re.sub(r"[\d.]+ [kMGT]?B free", "(some) free", text)
    text = re.sub(r"[\d.e-]+ s to (compute|keep)", r"(some) s to \1", text)
    text = re.sub(r" +\(bar\)", "  (bar)", text)
    text = text.replace(str(recipe.parent), "(folder)")
    text = re.sub(r"[ \t]+$", "", text, flags=re.M)
    path = SCREENS / f"{name}.txt"
    if os.environ.get("MERGELANG_WRITE_SCREENS"):
        SCREENS.mkdir(exist_ok=True)
        path.write_text(text)
    assert text == path.read_text()


def snapshot(name: str, recipe: Path, size, script, **options) -> None:
    taken: list[str] = []

    async def play(view, pilot):
        await script(view, pilot)
        await settled(view, pilot)
        taken.extend(screen(view))

    drive(play, recipe, size=size, **options)
    check(f"{name}-{size[0]}x{size[1]}", taken, recipe)


async def settled(view, pilot) -> None:
    """Waits until the screen has stopped changing."""
    before, same = None, 0
    while same < 8:
        await pilot.pause(0.05)
        now = screen(view)
        same = same + 1 if now == before else 0
        before = now


async def described(view, pilot) -> None:
    """Waits for what is found out about a node on threads."""
    for late in ("reads", "derivation"):
        await until(pilot, lambda late=late: late in said(view, "detail-text"))


@pytest.mark.parametrize("size", [SMALL, LARGE], ids=str)
def test_the_recipe(recipe, size):
    async def script(view, pilot):
        view.page.editor.cursor_blink = False
        view.page.editor.go_to(view.text.index("ties(") + 1)

    snapshot("recipe", recipe, size, script)


@pytest.mark.parametrize("size", [SMALL, LARGE], ids=str)
def test_a_recipe_with_a_mistake_and_completions(recipe, size):
    async def script(view, pilot):
        view.page.editor.cursor_blink = False
        view.page.editor.go_to(view.text.index("blend + t"))
        await pilot.press("d", "a")
        await until(pilot, lambda: view.look.errors)

    snapshot("mistake", recipe, size, script)


@pytest.mark.parametrize("size", [SMALL, LARGE], ids=str)
def test_the_graph(recipe, size):
    async def script(view, pilot):
        await pilot.press("f3", "up", "up")
        await described(view, pilot)

    snapshot("graph", recipe, size, script)


def test_the_graph_in_lanes(recipe):
    async def script(view, pilot):
        await pilot.press("f3", "z", "up")
        await described(view, pilot)

    snapshot("lanes", recipe, SMALL, script)


@pytest.mark.parametrize("size", [SMALL, LARGE], ids=str)
def test_the_plan(recipe, size):
    async def script(view, pilot):
        await pilot.press("f4")
        await until(pilot, lambda: isinstance(view.focused, Slider))
        await pilot.press("right")
        await until(pilot, lambda: view.look.settings)

    snapshot("plan", recipe, size, script)


def told(view, recipe: Path, *some) -> None:
    """Lets the view hear a run, whose log it finds in a file."""
    log = recipe.parent / "events.jsonl"
    log.write_text("".join(events.to_json(each) + "\n" for each in some))
    outputs = [str(recipe.parent / "out" / name) for name in ("blend", "steered")]
    # A process that lives as long as the test does: this one.
    facts = {"outputs": outputs, "pid": os.getpid(), "began": runner._began(os.getpid())}
    view.runner = runner.Runner(log, facts)
    view._watch()
    view._follow()


def half(recipe: Path) -> list[events.Event]:
    """A run that is half done."""
    plan = load(recipe).plan()
    first = plan.outputs[0]
    found = [
        events.RunStarted(("out/blend", "out/steered"), 78, 2 * 10**9, 10**9, 4),
        events.OutputStarted("out/blend", str(first.path), 39, 5 * 10**8),
    ]
    for number, task in enumerate(first.tasks[:26], 1):
        found += [
            events.TensorDone("out/blend", task.name, task.action, task.type.nbytes, 2, ""),
            events.Progress(number * 4 * 10**7, number * 10**7, number / 4, 6 * 10**8),
        ]
    return found


@pytest.mark.parametrize("size", [SMALL, LARGE], ids=str)
def test_a_run_half_done(recipe, size):
    async def script(view, pilot):
        told(view, recipe, *half(recipe))
        await pilot.press("f5")
        await until(pilot, lambda: any("26 of 39" in line for line in screen(view)))
        await until(pilot, lambda: view.page._drawn_for == view.page.size)

    snapshot("run", recipe, size, script)


def test_the_graph_while_it_runs(recipe):
    async def script(view, pilot):
        told(view, recipe, *half(recipe))
        await pilot.press("f3", "up", "up")
        await described(view, pilot)
        await until(pilot, lambda: any("26 of 78" in line for line in screen(view)))

    snapshot("graph-running", recipe, LARGE, script)


def test_a_run_that_failed(recipe):
    async def script(view, pilot):
        failure = events.RunFailed("E0907", "cannot write out/blend: No space left on device")
        told(view, recipe, *half(recipe), failure)
        await pilot.press("f5")
        await until(pilot, lambda: any("tries again" in line for line in screen(view)))

    snapshot("failed", recipe, SMALL, script)


@pytest.mark.parametrize("size", [SMALL, LARGE], ids=str)
def test_a_model(recipe, size):
    async def script(view, pilot):
        await view.open_model("models/chat")
        await until(pilot, lambda: any("deviation" in line for line in screen(view)))

    snapshot("model", recipe, size, script)


def test_a_map_of_two_task_vectors(recipe):
    async def script(view, pilot):
        await view.open_model("models/chat")
        await until(pilot, lambda: view.model is not None)
        view.page.compare_with("models/math", "models/base")
        await until(pilot, lambda: len(view.page._sums) == 39)
        await pilot.press("m")
        await until(pilot, lambda: any("cosine between" in line for line in screen(view)))
        await until(pilot, lambda: any("deviation" in line for line in screen(view)))

    snapshot("map", recipe, LARGE, script)


def test_help(recipe):
    async def script(view, pilot):
        await pilot.press("f3")
        await described(view, pilot)
        await settled(view, pilot)
        await pilot.press("question_mark")
        await until(pilot, lambda: any("go to an input" in line for line in screen(view)))

    snapshot("help", recipe, SMALL, script)
