"""How soon the terminal view is there, and how fast a large graph is drawn in it.

    python -m tests.bench.view [--turns 5] [--nodes 200]

Start: whole processes on a terminal of their own, in turn, from the command to the text on the
screen: the smallest app that Textual allows, and `mergelang tui` of a recipe. What is ours is the
difference of the two. Graph: in one process, milliseconds to lay a graph out, to show it in the
pane, to repaint the pane after a change of state, and for a step of the cursor. These are no
tests: nothing fails by being slow.
"""

import argparse
import asyncio
import fcntl
import os
import pty
import signal
import statistics
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Callable
from pathlib import Path

from tests.bench.process import summary
from tests.views import write_models

SMALLEST = """\
from textual.app import App
from textual.widgets import Static

class Smallest(App):
    def compose(self):
        yield Static("models/base")

Smallest().run()
"""

MARK = b"models/base"
"""What both write on the screen: the view as a part of the recipe's text."""

ROWS, COLUMNS = 40, 120


def painted(command: list[str]) -> float:
    """Seconds until a process has written the mark on its terminal."""
    terminal, inside = pty.openpty()
    fcntl.ioctl(inside, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    environment = {**os.environ, "TERM": "xterm-256color"}
    start = time.perf_counter()
    child = subprocess.Popen(
        command, stdin=inside, stdout=inside, stderr=inside, env=environment,
        start_new_session=True,
    )  # fmt: skip
    os.close(inside)
    said = b""
    try:
        while MARK not in said:
            said += os.read(terminal, 1 << 16)
        return time.perf_counter() - start
    except OSError:
        raise SystemExit(f"{command} ended before it painted:\n{said.decode()}") from None
    finally:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        os.close(terminal)


def start(recipe: Path, turns: int) -> None:
    commands = {
        "the smallest app of Textual": [sys.executable, "-c", SMALLEST],
        "mergelang tui": [sys.executable, "-m", "mergelang", "tui", str(recipe)],
    }
    times: dict[str, list[float]] = {name: [] for name in commands}
    for turn in range(turns + 1):
        for name, command in commands.items():
            seconds = painted(command)
            if turn:
                times[name].append(seconds)
    for name, found in times.items():
        print(f"{name:<28} {summary(found)} s to the first paint")
    theirs, whole = times.values()
    ours = [b - a for a, b in zip(theirs, whole, strict=True)]
    print(f"{'beyond the start of Textual':<28} {summary(ours)} s\n")


def large(folder: Path, nodes: int) -> Path:
    """A recipe of so many nodes, each made of the one before and of one further back."""
    lines = ['model s0 = "models/base"', 'model chat = "models/chat"', 'model math = "models/math"']
    for at in range(1, nodes - 3):
        other = ("chat", "math", f"s{max(0, at - 7)}")[at % 3]
        lines.append(f"let s{at} = 0.7 * s{at - 1} + 0.3 * {other}")
    lines.append(f'output "out" = s{nodes - 4}\n')
    path = folder / "large.merge"
    path.write_text("\n".join(lines))
    return path


def milliseconds(turns: int, work: Callable[[], object]) -> str:
    found = []
    for _ in range(turns):
        before = time.perf_counter()
        work()
        found.append(1000 * (time.perf_counter() - before))
    middle = statistics.median(found)
    return f"{middle:7.1f} ms ({min(found):.1f}..{max(found):.1f})"


def graph(recipe: Path, nodes: int, turns: int) -> None:
    from mergelang.api import load
    from mergelang.draw.graph_text import draw_picture
    from mergelang.draw.lanes import draw_lanes
    from mergelang.draw.picture import picture

    shown = picture(load(large(recipe.parent, nodes)).graph())
    forms = {"boxes": draw_picture, "lanes": draw_lanes}
    drawings = {form: draw(shown) for form, draw in forms.items()}
    print(f"{len(shown.boxes)} nodes, {len(shown.lines)} lines")
    for form, draw in forms.items():
        print(f"{form}: laid out       {milliseconds(turns, lambda draw=draw: draw(shown))}")
        asyncio.run(redrawn(recipe, drawings[form], form, turns))


async def redrawn(recipe: Path, drawing, form: str, turns: int) -> None:
    """The pane alone: all of it that is in sight is painted anew."""
    from mergelang.tui.app import View
    from mergelang.tui.graph_pane import GraphPane
    from mergelang.tui.progress import DONE, RUNNING

    view = View(recipe)
    async with view.run_test(size=(160, 50)) as pilot:
        await pilot.press("f3")
        await pilot.pause(1)
        pane = view.query_one(GraphPane)
        boxes = list(drawing.boxes)
        state = [RUNNING, DONE]

        def paint() -> None:
            for y in range(pane.size.height):
                pane.render_line(y)

        def show() -> None:
            pane.show(drawing, boxes[-1])
            paint()

        def change() -> None:
            state.reverse()
            pane.colour({box: state[0] for box in boxes})
            paint()

        def step() -> None:
            pane.walk("up")
            paint()

        for name, work in (("shown", show), ("states change", change), ("a step", step)):
            print(f"{form}: {name:<14} {milliseconds(turns, work)}")


def main() -> None:
    parser = argparse.ArgumentParser(description="measure the terminal view")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--nodes", type=int, default=200)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        recipe = write_models(Path(folder))
        start(recipe, arguments.turns)
        graph(recipe, arguments.nodes, arguments.turns)


if __name__ == "__main__":
    main()
