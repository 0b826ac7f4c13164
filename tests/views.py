"""Drives the terminal view in tests: a folder of small models, keys, waiting until something is."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

from textual._context import visible_screen_stack
from textual.events import Key
from textual.widgets import Static

from mergelang.tui.app import View
from tests.checkpoints import write_model

POLLS = 5000
"""How often a test looks whether something has come. Not a time: machines may be busy, and a test
may be stopped for a while by whoever runs it."""

PAUSE = 0.02

BLEND = """\
# Two fine-tunes of one base.
param t = 0.4 { min: 0, max: 1 }

model base = "models/base"
model chat = "models/chat"
model math = "models/math"

let blend = ties(
  chat { weight: curve(0.2, 0.8) },
  math { weight: 0.5 },
  base: base,
  density: 0.5,
)
let steered = blend + t * (chat - base)

output "out/blend" = blend { dtype: bf16 }
output "out/steered" = steered
"""


def write_models(folder: Path, **sizes) -> Path:
    """`models/base`, `models/chat`, `models/math` under a folder, and `blend.merge`."""
    for seed, name in enumerate(("base", "chat", "math")):
        write_model(folder / "models" / name, seed=seed, **sizes)
    (folder / "blend.merge").write_text(BLEND)
    return folder / "blend.merge"


def drive(
    script: Callable[[View, object], Awaitable[None]], *arguments, size=(80, 24), **options
) -> View:
    """Opens a view, lets a script press keys and look, closes it."""

    async def play() -> View:
        view = View(*arguments, **options)
        async with view.run_test(size=size, notifications=True) as pilot:
            pilot._wait_for_screen = partial(pilot._wait_for_screen, timeout=600)
            await until(pilot, lambda: view.look.source.name and view.look.source.text == view.text)
            await script(view, pilot)
        return view

    return asyncio.run(play())


async def until(pilot, holds: Callable[[], object]) -> None:
    """Waits until something is true."""
    for _ in range(POLLS):
        if holds():
            return
        await pilot.pause(PAUSE)
    raise AssertionError("it does not come")


async def leave_by(view: View, key: str) -> None:
    """Presses the last key: the pilot's own would wait for a view that is there no more."""
    pressed = Key(key, key if len(key) == 1 else None)
    pressed.set_sender(view)
    view._driver.send_message(pressed)
    for _ in range(POLLS):
        if not view.is_running:
            return
        await asyncio.sleep(PAUSE)
    raise AssertionError("it is not left")


async def checked(view: View, pilot) -> None:
    """Waits until the text as it stands has been looked at."""
    await until(pilot, lambda: view.look.source.name and view.look.source.text == view.text)


def said(view: View, id: str) -> str:
    """The text of a widget."""
    return str(view.query_one(f"#{id}", Static).content)


def screen(view: View) -> list[str]:
    """The lines of the screen as text, without blanks at their ends."""
    visible_screen_stack.set(view._background_screens)  # as Textual does: what windows lie over
    lines = view.screen._compositor.render_strips()
    return ["".join(segment.text for segment in strip).rstrip() for strip in lines]
