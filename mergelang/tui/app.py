"""The terminal view: six pages over one recipe, its run and the models around it.

Knows what is shown where; everything that is shown is made by the packages below. Work is done on
threads or in a process, and a timer takes up what comes of it.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding
from textual.widgets import ContentSwitcher, Footer

from mergelang.api import load
from mergelang.draw.operator_text import operator_text
from mergelang.draw.units import counted
from mergelang.errors import MergelangError, UsageError
from mergelang.ops.registry import operators
from mergelang.source import Source, Span
from mergelang.tui import runner as runners
from mergelang.tui.actions import ACTIONS, GRAPH, LINEAGE, MODEL, PLAN, RECIPE, RUN
from mergelang.tui.graph_page import GraphPage
from mergelang.tui.heading import Heading
from mergelang.tui.jobs import Jobs, reason
from mergelang.tui.lineage_page import LineagePage
from mergelang.tui.look import Look, Seen, look
from mergelang.tui.model_page import ModelPage
from mergelang.tui.page import Page
from mergelang.tui.palette import Everything
from mergelang.tui.plan_page import PlanPage
from mergelang.tui.progress import CACHED, CANCELLED, DONE, ENDED
from mergelang.tui.recipe_page import RecipePage
from mergelang.tui.run_page import RunPage
from mergelang.tui.screens import Help, Leave, Pick, Told
from mergelang.tui.theme import DARK, LIGHT
from mergelang.tui.watch import Parts, Share, Watch

RATE = 10
"""How often a second the view takes up what has come from threads and from the run."""

WHOLE = (DONE, CACHED)
"""States of an output whose folder is there."""

WIDE = 110
"""Columns from which on panels stand side by side."""

EMPTY = """\
# A recipe says what goes in, how it is merged, and where the result goes. ctrl+o opens one.
# ctrl+space shows what may stand at the cursor; ctrl+s saves.

model base = "models/base"
model chat = "models/chat"

output "out/merged" = mean(base, chat)
"""


class View(App[None], inherit_bindings=False):
    """Shows a recipe (`path`, or none: a new one), a `model`, or a run that writes `attached`."""

    TITLE = "mergelang"
    CSS_PATH = "app.tcss"
    COMMANDS: ClassVar[set[Any]] = {Everything}
    COMMAND_PALETTE_BINDING = "ctrl+p"
    BINDINGS: ClassVar[list[Binding]] = [
        Binding(each.keys, each.action, each.label, show=each.footer, key_display=each.shown,
                priority=each.priority)
        for each in ACTIONS
    ]  # fmt: skip

    def __init__(
        self, path: Path | None = None, settings: Mapping[str, str] | None = None, *,
        model: str | None = None, attached: Path | None = None, page: str | None = None,
        light: bool = False,
    ):  # fmt: skip
        super().__init__()
        self.jobs = Jobs()
        self.path, self.settings = path, dict(settings or {})
        self.saved = self.text = ""
        self.notes: tuple[Any, ...] = ()
        self.look = Look(Source("", ""))
        self.runner: runners.Runner | None = None
        self.watched: Watch | None = None
        self.seen_of_run: Seen | None = None
        self.plan_of_run: Any = None
        self._parts: Parts | None = None
        self._run_parts: Parts | None = None
        self._first = page or (MODEL if model else RUN if attached else RECIPE)
        self._model, self._attached = model, attached
        self._light = light

    def compose(self) -> ComposeResult:
        yield Heading(id="heading")
        with ContentSwitcher(initial=self._first, id="pages"):
            yield RecipePage(id=RECIPE)
            yield GraphPage(id=GRAPH)
            yield PlanPage(id=PLAN)
            yield RunPage(id=RUN)
            yield ModelPage(id=MODEL)
            yield LineagePage(id=LINEAGE)
        yield Footer(show_command_palette=False)

    def on_mount(self) -> None:
        for theme in (DARK, LIGHT):
            self.register_theme(theme)
        self.theme = LIGHT.name if self._light else DARK.name
        self.set_interval(1 / RATE, self._tick)
        if self._attached is not None:
            self._attach_to(self._attached)
        self._load()
        if self._model is not None:
            self.open_model(self._model)
        self.call_after_refresh(self.page.entered)

    @property
    def is_wide(self) -> bool:
        return self.size.width >= WIDE

    def on_resize(self) -> None:
        self.screen.set_class(self.is_wide, "wide")

    def _tick(self) -> None:
        self.jobs.drain()
        if self.watched is not None and self.watched.state.phase not in ENDED:
            self._hear()

    # The recipe

    def _load(self) -> None:
        """Reads the file, or begins with an empty recipe."""
        if self.path is None:
            self.text, self.saved = EMPTY, EMPTY
        else:
            recipe = load(self.path)
            self.text = self.saved = recipe.source.text
            self.notes = recipe.notes
            if self.notes or self.path.suffix in (".yml", ".yaml"):
                # What was imported is a recipe that has not been written yet.
                self.path, self.saved = self.path.with_suffix(".merge"), ""
        self.query_one(RecipePage).load(self.text)
        self.check()

    @property
    def folder(self) -> Path:
        return self.path.absolute().parent if self.path else Path.cwd()

    @property
    def title_of_recipe(self) -> str:
        return self.path.name if self.path else "a new recipe"

    @property
    def is_changed(self) -> bool:
        return self.text != self.saved

    def edited(self, text: str) -> None:
        self.text = text
        self.query_one(Heading).refresh()

    def check(self) -> None:
        """Looks at the text as it stands, on a thread."""
        source = Source(str(self.path or "new.merge"), self.text)
        folder, settings, notes = self.folder, dict(self.settings), self.notes
        self.jobs.start(
            "look", lambda: look(source, folder, settings, notes), self._looked, self._broke
        )

    def _looked(self, found: Look) -> None:
        self.look = found
        if self.seen_of_run is None and self.watched is not None:
            self._follow()
        for page in self.query(Page):
            page.looked()
        self.query_one(Heading).refresh()
        self.refresh_bindings()

    def _broke(self, error: Exception) -> None:
        self.notify(reason(error), severity="error", markup=False)

    def set_param(self, name: str, value: str | None) -> None:
        """Sets a param, or with None back to its default."""
        if value is None:
            self.settings.pop(name, None)
        else:
            self.settings[name] = value
        self.check()

    def summary(self) -> tuple[str, str]:
        """The state of the recipe in a few words, and their tone: `2 outputs`, `1 error`."""
        errors = len(self.look.errors)
        if errors:
            return counted(errors, "error"), "error"
        if self.look.seen is None:
            return "reading", ""
        warned = len(self.look.diagnostics)
        said = counted(len(self.look.seen.program.outputs), "output")
        return (f"{said}, {counted(warned, 'warning')}", "warning") if warned else (said, "success")

    # The run

    @property
    def has_run_going(self) -> bool:
        return self.watched is not None and self.watched.state.phase not in ENDED

    @property
    def is_paused(self) -> bool:
        return self.runner is not None and self.runner.paused

    @property
    def is_run_of_this(self) -> bool:
        """Whether the run is one of the recipe that is shown."""
        return (
            self.watched is not None and self.seen_of_run is not None
            and self.look.source.text == self._text_of_run
        )  # fmt: skip

    @property
    def results(self) -> tuple[str, ...]:
        """Folders that the run has written."""
        if self.watched is None or self.runner is None:
            return ()
        states = list(self.watched.state.outputs.values())
        paths = self.runner.outputs
        return tuple(p for p, s in zip(paths, states, strict=False) if s.state in WHOLE)

    @property
    def reads(self) -> int:
        """Bytes that a run of the recipe reads in all; 0 where that is not known yet."""
        return self.look.plan.bytes_read if self.look.plan else 0

    def share_of(self, box: str) -> Share | None:
        """What a box takes of a run of the recipe, and how far it has come."""
        if self._parts is None or self._parts.text != self.look.source.text:
            return None
        return self._parts.share(box, self.watched.done if self.is_run_of_this else {})

    def share_of_run(self, box: str) -> Share | None:
        """The same of the recipe that is being run, which may be another text by now."""
        return self._run_parts.share(box, self.watched.done) if self._run_parts else None

    _text_of_run = ""

    def run_recipe(self) -> None:
        """Saves the recipe and starts a run of it."""
        if self.has_run_going:
            return
        if self.look.plan is None or self.look.source.text != self.text:
            self.notify("it can run once it is right: f2 shows the mistakes", severity="warning")
            return
        if not self._save():
            return
        plan = self.look.plan
        try:
            self.runner = runners.start(
                self.path, self.settings, [str(each.path) for each in plan.outputs]
            )
        except UsageError as error:
            self._broke(error)
            return
        self._watch()
        self._follow()
        self.action_go(RUN)

    def _attach_to(self, output: Path) -> None:
        self.runner = runners.attach(output)
        if self.path is None and self.runner.recipe and self.runner.recipe.is_file():
            self.path = self.runner.recipe
            self.settings = dict(self.runner.facts.get("settings", {}))
        self._watch()

    def _watch(self) -> None:
        self.watched = Watch()
        self.seen_of_run = self.plan_of_run = self._run_parts = None
        self.query_one(RunPage).began()
        self._hear()

    def _follow(self) -> None:
        """Takes the recipe as it stands for the one that is run."""
        if self.look.plan is None:
            return
        self.seen_of_run, self.plan_of_run = self.look.seen, self.look.plan
        self._text_of_run = self.look.source.text

        def know(parts: Parts) -> None:
            self._run_parts = parts
            self._tell_run()

        self._find_parts("parts of run", know)

    def find_parts(self) -> None:
        """Learns which tensors each node takes part in, on a thread; pages then hear of it."""
        def know(parts: Parts) -> None:
            self._parts = parts
            self.page.heard()

        if self._parts is None or self._parts.text != self.look.source.text:
            self._find_parts("parts", know)

    def _find_parts(self, job: str, then: Any) -> None:
        text, seen, plan = self.look.source.text, self.look.seen, self.look.plan
        if plan is not None:
            self.jobs.start(job, lambda: Parts(seen.picture, plan, text), then, self._broke)

    def _hear(self) -> None:
        """Takes up what the run has said; looks after a process that ended without a word."""
        alive = self.runner.is_alive
        before = self.watched.state
        for event in self.runner.heard():
            self.watched.hear(event)
        if not alive and self.watched.state.phase not in ENDED:
            self._lost()
        if self.watched.state is not before or not alive:
            self._tell_run()

    def _lost(self) -> None:
        """The process is gone and has not said how it ended."""
        runner = self.runner
        if runner.was_interrupted:
            self.watched.lost("interrupted", CANCELLED)
        elif runner.diagnostics:
            self.watched.lost(runner.diagnostics[-1]["message"])
        else:
            said = runner.errors.splitlines()[-1:] or ["the process of the run has ended"]
            self.watched.lost(said[0])

    def _tell_run(self) -> None:
        for page in self.query(Page):
            page.heard()
        self.query_one(Heading).refresh()
        self.refresh_bindings()

    # From page to page

    @property
    def page(self) -> Page:
        return self.query_one(f"#{self.query_one('#pages', ContentSwitcher).current}", Page)

    def show_box(self, box: str | None) -> None:
        """The graph with a box of it chosen."""
        self.action_go(GRAPH)
        if box is not None:
            self.query_one(GraphPage).choose(box)

    def show_text(self, span: Span) -> None:
        """The recipe with the cursor on a place of it."""
        if span.source.text != self.text:
            self.notify("this stands in another file, or the text has changed since")
            return
        self.action_go(RECIPE)
        self.query_one(RecipePage).editor.go_to(span.start, span.end)

    def open_model(self, path: str) -> None:
        self.action_go(MODEL)
        self.query_one(ModelPage).open_at(path)

    def pick(self, title: str, kind: str, then: Any) -> None:
        """Asks for a path; `then` is called with it."""
        def take(chosen: str | None) -> None:
            if chosen:
                then(chosen)

        self.push_screen(Pick(title, kind, self.folder), take)

    def pick_or_none(self, title: str, then: Any) -> None:
        """Asks for a model that may be left out; `then` is called with its path, or None."""
        self.push_screen(Pick(title, "model", self.folder), then)

    @property
    def model(self) -> Any:
        """The checkpoint that the model page shows, if any."""
        return self.query_one(ModelPage).model

    # Actions

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action != "page":
            return True
        if len(self.screen_stack) > 1:
            return False
        page = self.page
        return any(
            page.id in each.pages and each.method == parameters[0] for each in ACTIONS
        ) and page.can(str(parameters[0]))

    def action_page(self, method: str, *arguments: Any) -> None:
        getattr(self.page, method)(*arguments)

    def action_go(self, name: str) -> None:
        if len(self.screen_stack) > 1:
            return
        self.query_one("#pages", ContentSwitcher).current = name
        self.query_one(Heading).refresh()
        self.page.entered()
        self.refresh_bindings()

    def action_save(self) -> None:
        if self._save():
            self.notify(f"saved {self.path}", markup=False)

    def _save(self) -> bool:
        """Writes the text to its file; a new recipe gets one. Tells when it cannot."""
        if self.path is None:
            self.path = _free(Path("recipe.merge"))
        elif self.path.is_file() and not self.is_changed:
            return True
        try:
            self.path.write_text(self.text, encoding="utf-8")
        except OSError as error:
            self.notify(f"cannot write {self.path}: {error.strerror}", severity="error",
                        markup=False)
            return False
        self.saved = self.text
        self.query_one(Heading).refresh()
        return True

    def action_open_recipe(self) -> None:
        if self.is_changed:
            self.notify("save it first: ctrl+s", severity="warning")
            return
        self.pick("open a recipe", "recipe", self.open_recipe)

    def open_recipe(self, path: str) -> None:
        """Another recipe in place of this one."""
        before = self.path, self.notes
        self.path, self.settings, self.notes = Path(path), {}, ()
        try:
            self._load()
            self.action_go(RECIPE)
        except MergelangError as error:
            self.path, self.notes = before
            self._broke(error)

    def action_help(self) -> None:
        self.push_screen(Help(self.page.id))

    def action_operator(self, name: str) -> None:
        """The documentation of an operator."""
        text = Text(operator_text(operators()[name].signature))
        self.push_screen(Told(name, text))

    def action_toggle_theme(self) -> None:
        self.theme = DARK.name if self.theme == LIGHT.name else LIGHT.name

    def action_leave(self) -> None:
        if self.has_run_going or self.is_changed:
            self.push_screen(Leave(self.has_run_going, self.is_changed), self._leave)
        else:
            self.exit()

    def _leave(self, how: str | None) -> None:
        if how is None:
            return
        if how == "save" and not self._save():
            return
        if how == "cancel" and self.runner is not None:
            self.runner.cancel()
        self.exit()


def _free(path: Path) -> Path:
    """The path, or one like it that nothing stands at yet."""
    number, free = 1, path
    while free.exists():
        number += 1
        free = path.with_stem(f"{path.stem}{number}")
    return free


def run(
    recipe_path: Path | None = None, settings: Mapping[str, str] | None = None, **more: Any
) -> None:
    """Opens the view and returns when it is left. Raises UsageError for what cannot be read."""
    if recipe_path is not None:
        load(recipe_path, settings)
    if more.get("attached") is not None:
        runners.attach(more["attached"])
    View(recipe_path, settings, **more).run()
