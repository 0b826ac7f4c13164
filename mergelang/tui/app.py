"""The terminal view of a recipe: its graph, what the selected box is, and a run as it happens.

Reads the recipe through the API and a run through its events; a thread does the work and never
touches a widget.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding
from textual.containers import Container, VerticalScroll
from textual.widgets import Footer, Static

from mergelang.api import load
from mergelang.draw.graph_text import draw
from mergelang.draw.units import counted
from mergelang.errors import MergelangError
from mergelang.graph import build
from mergelang.tui.actions import ACTIONS
from mergelang.tui.details import details
from mergelang.tui.graph_pane import GraphPane
from mergelang.tui.progress import RunState, after, box_states, ended, progress_text
from mergelang.tui.session import Session
from mergelang.wording import render

RATE = 8
"""How often a second the events of a run are looked at."""

WIDE = 110
"""Columns from which on the details stand beside the graph."""


def run(recipe_path: Path, settings: Mapping[str, str] | None = None) -> None:
    """Opens the view and returns when it is left."""
    View(lambda: load(recipe_path, settings), str(recipe_path)).run()


class View(App[None]):
    """`load` reads the recipe anew each time it is called; `title` is what people call it."""

    TITLE = "mergelang"
    CSS_PATH = "app.tcss"
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[Binding]] = [
        Binding(each.keys, each.action, each.label, show=each.footer, key_display=each.shown)
        for each in ACTIONS
    ]

    def __init__(self, load: Callable[[], Any], title: str):
        super().__init__()
        self._load, self._title = load, title
        self._program: Any = None
        self._session: Session | None = None
        self._run: RunState | None = None
        self._leaving = False

    def compose(self) -> ComposeResult:
        yield Static(id="title")
        with Container(id="panes"):
            yield GraphPane(id="graph")
            with VerticalScroll(id="problems"):
                yield Static(id="problem-text")
            with VerticalScroll(id="help"):
                yield Static(help_text())
            with VerticalScroll(id="details"):
                yield Static(id="detail-text")
        yield Static(id="progress")
        yield Footer(show_command_palette=False)

    def on_mount(self) -> None:
        self.set_interval(1 / RATE, self._hear)
        self._say("reading")
        self.run_worker(self._read, thread=True, exit_on_error=True)

    def on_resize(self) -> None:
        self.screen.set_class(self.size.width >= WIDE, "wide")

    # The recipe

    def _read(self) -> Any:
        """On a thread: checks the recipe and shows it; gives it back when it is right."""
        try:
            recipe = self._load()
            graph = build(recipe.check())
        except MergelangError as error:
            self.call_from_thread(self._show_problems, error)
            return None
        self.call_from_thread(self._show_graph, graph.program, draw(graph))
        return recipe

    def _show_graph(self, program: Any, drawing: Any) -> None:
        self._program = program
        self._pane("graph")
        pane = self.query_one(GraphPane)
        boxes = [box.id for box in drawing.picture.boxes]
        kept = pane.selected if pane.selected in boxes else next(reversed(boxes), None)
        pane.show(drawing, kept)
        pane.focus()
        self._say(summary(program))
        self._tell_details()
        self.refresh_bindings()

    def _show_problems(self, error: MergelangError) -> None:
        self._program = None
        self._show_diagnostics(error.diagnostics)
        wrong = sum(each.is_error for each in error.diagnostics)
        self._say(counted(wrong, "error"), "bold red")
        self.refresh_bindings()

    def _show_diagnostics(self, found: Any) -> None:
        self.query_one("#problem-text", Static).update(diagnostics_text(found))
        self._pane("problems")
        self.query_one("#problems").focus()

    def _pane(self, name: str) -> None:
        for each in ("graph", "problems", "help"):
            self.query_one(f"#{each}").display = each == name
        self.query_one("#details").display = name != "problems" or self._program is not None

    def _say(self, status: str, style: str = "") -> None:
        text = Text.assemble(("mergelang ", "bold"), self._title, "  ", (status, style or "dim"))
        text.no_wrap = True
        self.query_one("#title", Static).update(text)

    def on_graph_pane_selected(self) -> None:
        self._tell_details()
        self.query_one("#details").scroll_home(animate=False)

    def _tell_details(self) -> None:
        pane = self.query_one(GraphPane)
        if pane.drawing is None or self._program is None:
            return
        shown = pane.drawing.picture
        box = next((each for each in shown.boxes if each.id == pane.selected), None)
        text = Text("the recipe is empty") if box is None else (
            details(box, shown, self._program, self._run)
        )  # fmt: skip
        self.query_one("#detail-text", Static).update(text)

    # The run

    def _work(self, session: Session) -> None:
        """On a thread: checks the recipe as it now stands, runs it."""
        recipe = self._read()
        if recipe is not None:
            session.work(recipe)
        self.call_from_thread(self._ended, session, recipe is not None)

    def _hear(self) -> None:
        if self._session is None or self._run is None:
            return
        before = self._run
        for event in self._session.events():
            self._run = after(self._run, event)
        if self._run is not before:
            self._show_run()

    def _ended(self, session: Session, started: bool) -> None:
        self._hear()
        self._run = ended(self._run, session.failure) if started else None
        self._session = None
        self._show_run()
        if self._program is not None and self._is_up:
            self._say(summary(self._program))
        self.refresh_bindings()
        if self._leaving:
            self.exit()

    @property
    def _is_up(self) -> bool:
        """Whether the widgets are there: events still come while the view is taken down."""
        return bool(self.query("#progress"))

    def _show_run(self) -> None:
        if not self._is_up:
            return
        line = self.query_one("#progress", Static)
        line.display = self._run is not None
        if self._run is not None:
            line.update(progress_text(self._run))
        pane = self.query_one(GraphPane)
        if pane.drawing is not None:
            pane.colour(box_states(pane.drawing.picture, self._run))
        self._tell_details()

    # Actions

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        match action:
            case "run_recipe":
                return self._session is None
            case "cancel_run":
                return self._session is not None
            case "toggle_warnings":
                return bool(self._program and self._program.warnings)
        return True

    def action_run_recipe(self) -> None:
        self._session = session = Session()
        self._run = RunState()
        self._show_run()
        self.refresh_bindings()
        self.run_worker(lambda: self._work(session), thread=True, exit_on_error=True)

    def action_cancel_run(self) -> None:
        if self._session is not None:
            self._session.cancel()
            self._say("cancelling", "yellow")

    def action_walk(self, direction: str) -> None:
        self.query_one(GraphPane).walk(direction)

    def action_toggle_warnings(self) -> None:
        if self.query_one("#problems").display:
            self._pane("graph")
            self.query_one(GraphPane).focus()
        else:
            self._show_diagnostics(self._program.warnings)

    def action_toggle_help(self) -> None:
        if self.query_one("#help").display:
            self._pane("graph" if self._program is not None else "problems")
            self.query_one(GraphPane).focus()
        else:
            self._pane("help")
            self.query_one("#help").focus()

    def action_leave(self) -> None:
        if self._session is None:
            self.exit()
        else:
            self._leaving = True
            self.action_cancel_run()


def summary(program: Any) -> str:
    """`2 outputs, 1 warning`."""
    warned = f", {counted(len(program.warnings), 'warning')}" if program.warnings else ""
    return counted(len(program.outputs), "output") + warned


def help_text() -> Text:
    """The keys and what they do."""
    text = Text.assemble(("Keys\n\n", "bold"))
    for each in ACTIONS:
        text.append(f"{each.shown:>5}  ", "bold cyan").append(each.text + "\n")
    text.append("click  ", "bold cyan").append("select a box\n")
    return text


def diagnostics_text(found: Any) -> Text:
    """Diagnostics as the command line shows them."""
    text = Text()
    for each in found:
        head, *rest = render(each).split("\n")
        text.append(head + "\n", "bold red" if each.is_error else "bold yellow")
        for line in rest:
            text.append(line + "\n", "cyan" if line.startswith("help:") else "")
        text.append("\n")
    return text
