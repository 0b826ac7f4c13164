"""What a key does: the one table that bindings, footer and help are made from."""

from typing import NamedTuple


class Action(NamedTuple):
    """`keys` as Textual names them, `shown` as people do; `footer`: whether it stands there."""

    keys: str
    shown: str
    action: str
    label: str
    text: str
    footer: bool = True


ACTIONS = (
    Action("r", "r", "run_recipe", "run", "read the recipe again, then run it"),
    Action("c", "c", "cancel_run", "cancel", "cancel the run; nothing at the outputs changes"),
    Action("up,k", "↑ k", "walk('up')", "input", "go to an input", False),
    Action("down,j", "↓ j", "walk('down')", "user", "go to what uses this", False),
    Action("left,h", "← h", "walk('left')", "left", "go to the box on the left", False),
    Action("right,l", "→ l", "walk('right')", "right", "go to the box on the right", False),
    Action(
        "tab",
        "tab",
        "app.focus_next",
        "pane",
        "go to the details or back; arrows scroll them",
        False,
    ),
    Action("w", "w", "toggle_warnings", "warnings", "show the warnings, or the graph again"),
    Action("question_mark", "?", "toggle_help", "help", "show this help, or leave it"),
    Action("q", "q", "leave", "quit", "leave; a run is cancelled first"),
)
