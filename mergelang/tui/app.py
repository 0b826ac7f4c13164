"""The terminal view: six pages over one recipe, its run and the models around it.

Knows what is shown where; everything that is shown is made by the packages below. Work is done on
threads or in a process, and a timer takes up what comes of it. What is not needed for the first
screen is imported when it is: the page that is asked for is there at once.
"""

from asyncio import Lock
from collections.abc import Mapping
from inspect import isawaitable
from pathlib import Path
from typing import Any, ClassVar

from textual.app import App, ComposeResult
from textual.binding import Binding
from textual.widgets import ContentSwitcher, Footer

from mergelang.api import load
from mergelang.draw.units import counted
from mergelang.errors import MergelangError
from mergelang.source import Source, Span
from mergelang.tui import runner as runners
from mergelang.tui.actions import ACTIONS, GRAPH, MODEL, RECIPE, RUN
from mergelang.tui.following import Following
from mergelang.tui.heading import Heading
from mergelang.tui.jobs import Jobs, reason
from mergelang.tui.look import Look, Seen, look
from mergelang.tui.page import Page, page_of
from mergelang.tui.progress import ENDED
from mergelang.tui.theme import DARK, LIGHT, named

RATE = 10
"""How often a second the view takes up what has come from threads and from the run."""

WIDE = 110
"""Columns from which on panels stand side by side."""

EMPTY = """\
# A recipe says what goes in, how it is merged, and where the result goes. ctrl+o opens one.
# ctrl+space shows what may stand at the cursor; ctrl+s saves.

model base = "models/base"
model chat = "models/chat"

output "out/merged" = mean(base, chat)
"""


def _everything() -> Any:
    from mergelang.tui.palette import Everything

    return Everything


class View(Following, App[None], inherit_bindings=False):
    """Shows a recipe (`path`, or none: a new one), a `model`, or a run that writes `attached`."""

    TITLE = "mergelang"
    CSS_PATH = "app.tcss"
    COMMANDS: ClassVar[set[Any]] = {_everything}
    COMMAND_PALETTE_BINDING = "ctrl+p"
    BINDINGS: ClassVar[list[Binding]] = [
        Binding(each.keys, each.action, each.label, show=each.footer, key_display=each.shown,
                priority=each.priority)
        for each in ACTIONS
    ]  # fmt: skip

    def __init__(
        self, path: Path | None = None, settings: Mapping[str, str] | None = None, *,
        model: str | None = None, attached: Path | None = None, page: str | None = None,
        light: bool = False, allow_pickle: bool = False,
    ):  # fmt: skip
        super().__init__()
        self.allow_pickle = allow_pickle
        self.jobs = Jobs()
        self.path, self.settings = path, dict(settings or {})
        self.saved = self.text = ""
        self.notes: tuple[Any, ...] = ()
        self.look = Look(Source("", ""))
        self.seen: Seen | None = None
        """The graph of the text, or of the last one that was right."""
        self._first = page or (MODEL if model else RUN if attached else RECIPE)
        self._model, self._attached = model, attached
        self._making = Lock()
        # Before there are widgets, so that they are styled once.
        for theme in (DARK, LIGHT):
            self.register_theme(theme)
        self.ansi_theme_dark, self.ansi_theme_light = named(DARK), named(LIGHT)
        self.theme = LIGHT.name if light else DARK.name

    def compose(self) -> ComposeResult:
        yield Heading(id="heading")
        with ContentSwitcher(initial=self._first, id="pages"):
            yield page_of(self._first)
        yield Footer(show_command_palette=False)

    async def on_mount(self) -> None:
        self.set_interval(1 / RATE, self._tick)
        if self._attached is not None:
            self._attach_to(self._attached)
        self._load()
        if self._model is not None:
            await self.open_model(self._model)
        # Whichever page it is by then: a key may have come first.
        self.call_after_refresh(lambda: self.page.entered())

    @property
    def is_wide(self) -> bool:
        return self.size.width >= WIDE

    def on_resize(self) -> None:
        self.screen.set_class(self.is_wide, "wide")

    def _tick(self) -> None:
        if not self.is_running:
            return  # Its pages are being taken down.
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
        for page in self.query(f"#{RECIPE}"):
            page.load(self.text)
        # The screen is painted first: what the check needs is loaded behind it.
        self.call_after_refresh(self.check)

    @property
    def folder(self) -> Path:
        return self.path.absolute().parent if self.path else Path.cwd()

    @property
    def title_of_recipe(self) -> str:
        return self.path.name if self.path else "a new recipe"

    @property
    def has_looked(self) -> bool:
        """Whether a recipe has been looked at by now."""
        return bool(self.look.source.name)

    @property
    def is_changed(self) -> bool:
        return self.text != self.saved

    def edited(self, text: str) -> None:
        self.text = text
        self.query_one(Heading).refresh()

    def check(self) -> None:
        """Looks at the text as it stands, on a thread."""
        source = Source(str(self.path or "new.merge"), self.text)
        facts = self.path, self.folder, dict(self.settings), self.notes
        self.jobs.start(
            "look", lambda: look(source, *facts, allow_pickle=self.allow_pickle), self._looked,
            self.broke,
        )  # fmt: skip

    def _looked(self, found: Look) -> None:
        self.look, self.seen = found, found.seen or self.seen
        if self.seen_of_run is None and self.watched is not None:
            self._follow()
        for page in self.pages:
            page.looked()
        self.query_one(Heading).refresh()
        self.refresh_bindings()

    def broke(self, error: Exception) -> None:
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

    # From page to page

    @property
    def pages(self) -> tuple[Page, ...]:
        """The pages that are there; one that is being made asks by itself, when it is."""
        return tuple(page for page in self.query(Page) if page.is_mounted)

    @property
    def page(self) -> Page:
        return self.query_one(f"#{self.query_one('#pages', ContentSwitcher).current}", Page)

    async def show_box(self, box: str | None) -> None:
        """The graph with a box of it chosen."""
        await self.action_go(GRAPH)
        if box is not None:
            self.page.choose(box)

    async def show_text(self, span: Span) -> None:
        """The recipe with the cursor on a place of it."""
        if span.source.text != self.text:
            self.notify("this stands in another file, or the text has changed since")
            return
        await self.action_go(RECIPE)
        self.page.editor.go_to(span.start, span.end)

    async def open_model(self, path: str) -> None:
        await self.action_go(MODEL)
        self.page.open_at(path)

    def pick(self, title: str, kind: str, then: Any) -> None:
        """Asks for a path; `then` is called with it."""
        self.pick_or_none(title, kind, lambda chosen: then(chosen) if chosen else None)

    def pick_or_none(self, title: str, kind: str, then: Any) -> None:
        """Asks for a path that may be left out; `then` is called with it, or None."""
        from mergelang.tui.screens import Pick

        known = self._models() if kind == MODEL else ()
        self.push_screen(Pick(title, kind, self.folder, known), then)

    def _models(self) -> list[str]:
        """The models that the recipe names, those in its folder as paths from there."""
        folder = self.folder.resolve()
        names = []
        for each in self.seen.program.checkpoints if self.seen else ():
            path = each.path
            if path is not None and path.is_relative_to(folder):
                path = path.relative_to(folder)
            names.append(str(path or each.text))
        return names

    @property
    def model(self) -> Any:
        """The checkpoint that the model page shows, if any."""
        return next((page.model for page in self.query(f"#{MODEL}")), None)

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

    async def action_page(self, method: str, *arguments: Any) -> None:
        done = getattr(self.page, method)(*arguments)
        if isawaitable(done):
            await done

    async def action_go(self, name: str) -> None:
        if len(self.screen_stack) > 1:
            return
        pages = self.query_one("#pages", ContentSwitcher)
        async with self._making:
            if name not in [page.id for page in pages.children]:
                await pages.add_content(page_of(name))
        pages.current = name
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

    async def open_recipe(self, path: str) -> None:
        """Another recipe in place of this one."""
        before = self.path, self.settings, self.notes
        self.path, self.settings, self.notes = Path(path), {}, ()
        try:
            self._load()
            await self.action_go(RECIPE)
        except MergelangError as error:
            self.path, self.settings, self.notes = before
            self.broke(error)

    def action_help(self) -> None:
        from mergelang.tui.screens import Help

        self.push_screen(Help(self.page.id))

    def action_operator(self, name: str) -> None:
        """The documentation of an operator."""
        from mergelang.draw.operator_text import operator_text
        from mergelang.ops.registry import operators
        from mergelang.tui.screens import Told

        self.push_screen(Told(name, operator_text(operators()[name].signature)))

    def action_toggle_theme(self) -> None:
        self.theme = DARK.name if self.theme == LIGHT.name else LIGHT.name

    def action_leave(self) -> None:
        """Asks what becomes of the text, then of the run: no answer to one decides the other."""
        from mergelang.tui.screens import Unsaved

        if self.is_changed:
            self.push_screen(Unsaved(), self._leave_text)
        else:
            self._leave_run()

    def _leave_text(self, how: str | None) -> None:
        if how == "discard" or (how == "save" and self._save()):
            self._leave_run()

    def _leave_run(self) -> None:
        from mergelang.tui.screens import Going

        if self.has_run_going:
            self.push_screen(Going(), self._left_run)
        else:
            self.exit()

    def _left_run(self, how: str | None) -> None:
        if how is None:
            return
        (self.runner.cancel if how == "cancel" else self.runner.resume)()
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
