"""What lies over the pages for a moment: help, a path to pick, a text, the question at leaving."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from mergelang.tui.actions import ACTIONS, PAGES

MOST = 200
"""Paths that are offered at once."""

SUFFIXES = {"recipe": (".merge", ".yml", ".yaml"), "model": (".safetensors",)}

DEEP = 3
"""Folders down to which models and recipes are looked for."""

HUB = "hf:"
"""Before the name of a model on the Hub."""

KEY = "bold cyan"
"""How a key is written."""

ESCAPE = Binding("escape,q", "dismiss(None)", "close", show=False)


class Told(ModalScreen[None]):
    """A text over everything; any of `escape`, `q`, `?` closes it."""

    BINDINGS: ClassVar[list[Binding]] = [
        ESCAPE, Binding("question_mark,f1,enter", "dismiss(None)", "close", show=False),
    ]  # fmt: skip

    def __init__(self, title: str, text: Text | str):
        super().__init__()
        self._title, self._text = title, text

    def compose(self) -> ComposeResult:
        with VerticalScroll(classes="window") as window:
            window.border_title = self._title
            window.border_subtitle = "escape closes"
            yield Static(self._text, id="told", markup=False)

    def on_click(self, event) -> None:
        if event.widget is self:
            self.dismiss(None)


class Help(Told):
    """The keys: those of a page first, then those that work everywhere."""

    def __init__(self, page: str | None):
        super().__init__("keys", help_text(page))


def help_text(page: str | None) -> Text:
    """The keys and what they do."""
    text = Text()
    here = [each for each in ACTIONS if page in each.pages]
    if here:
        text.append(f"{PAGES[page][1]}\n", "bold underline")
    for each in here:
        _line(text, each)
    text.append("\n" * bool(here) + "Everywhere\n", "bold underline")
    for each in ACTIONS:
        if not each.pages:
            _line(text, each)
    text.append("    tab  ", KEY).append("go to the next panel; arrows move there\n")
    text.append("  click  ", KEY).append("choose a page, a node, a row, a mistake\n")
    return text


def _line(text: Text, each) -> None:
    text.append(f"{each.shown:>7}  ", KEY).append(each.text + "\n")


class Pick(ModalScreen[str | None]):
    """Asks for a path: typed, one of those `known`, or one that is found under a folder."""

    BINDINGS: ClassVar[list[Binding]] = [
        Binding("escape", "dismiss(None)", "close", show=False),
        Binding("down", "down", "list", show=False),
    ]

    def __init__(self, title: str, kind: str, folder: Path, known: Sequence[str] = ()):
        super().__init__()
        self._title, self._kind, self._folder, self._known = title, kind, folder, known
        self._found: list[str] = []

    def compose(self) -> ComposeResult:
        with Vertical(classes="window") as window:
            window.border_title = self._title
            window.border_subtitle = "enter takes it, escape closes"
            yield Input(placeholder="a path, or a part of one")
            yield OptionList(markup=False)

    def on_mount(self) -> None:
        self._paths = list(dict.fromkeys([*self._known, *found(self._kind, self._folder)]))
        self._show("")
        self.query_one(Input).focus()

    def _show(self, typed: str) -> None:
        shown = self.query_one(OptionList)
        shown.clear_options()
        self._found = [each for each in self._paths if typed.lower() in each.lower()][:MOST]
        shown.add_options([Option(each) for each in self._found])
        if self._found:
            shown.highlighted = 0

    @on(Input.Changed)
    def _typed(self, event: Input.Changed) -> None:
        self._show(event.value)

    @on(Input.Submitted)
    def _entered(self, event: Input.Submitted) -> None:
        typed = event.value.strip()
        shown = self.query_one(OptionList)
        is_hub = self._kind == "model" and typed.startswith(HUB)
        if is_hub or (typed and (self._folder / Path(typed).expanduser()).exists()):
            self._take(typed)
        elif self._found:
            self._take(self._found[shown.highlighted or 0])
        elif typed:
            self.notify(f"{typed} is not there", severity="warning", markup=False)

    @on(OptionList.OptionSelected)
    def _picked(self, event: OptionList.OptionSelected) -> None:
        self._take(self._found[event.option_index])

    def _take(self, path: str) -> None:
        if path.startswith(HUB):
            self.dismiss(path)
        else:
            self.dismiss(str(self._folder / Path(path).expanduser()))

    def action_down(self) -> None:
        self.query_one(OptionList).focus()


def found(kind: str, folder: Path, deep: int = DEEP) -> Iterator[str]:
    """Recipes, or models, under a folder, as paths from there."""

    def walk(here: Path, left: int) -> Iterator[Path]:
        try:
            inside = sorted(here.iterdir())
        except OSError:
            return
        for each in inside:
            if each.name.startswith(".") or each.name.endswith(".partial"):
                continue
            if each.is_dir():
                is_model = (each / "config.json").is_file() or (each / "mergelang.json").is_file()
                if is_model and kind == "model":
                    yield each
                elif not is_model and left:
                    yield from walk(each, left - 1)
            elif each.suffix in SUFFIXES[kind]:
                yield each

    for each in walk(folder, deep):
        yield str(each.relative_to(folder))


class Question(ModalScreen[str | None]):
    """Asks before the view is left: a key for each answer, whose name is returned, or None."""

    said: ClassVar[Text]

    def compose(self) -> ComposeResult:
        with Vertical(classes="window small") as window:
            window.border_title = "leave"
            yield Static(self.said, markup=False)


class Unsaved(Question):
    """What becomes of a text that is not saved: `save` or `discard`."""

    BINDINGS: ClassVar[list[Binding]] = [
        ESCAPE, Binding("s", "dismiss('save')", "save"),
        Binding("d", "dismiss('discard')", "discard"),
    ]  # fmt: skip
    said = Text.assemble(
        "The recipe has changes that are not saved.\n\n",
        ("  s  ", KEY), "save and leave\n",
        ("  d  ", KEY), "leave without them\n",
        ("\nescape  ", KEY), "stay",
    )  # fmt: skip


class Going(Question):
    """What becomes of a run: `go` or `cancel`."""

    BINDINGS: ClassVar[list[Binding]] = [
        ESCAPE, Binding("g", "dismiss('go')", "goes on"),
        Binding("c", "dismiss('cancel')", "cancel"),
    ]  # fmt: skip
    said = Text.assemble(
        "A run is going on.\n\n",
        ("  g  ", KEY), "leave; the run goes on. Come back to it with\n",
        ("     mergelang tui --attach OUTPUT\n", "bold"),
        ("  c  ", KEY), "cancel the run and leave\n",
        ("\nescape  ", KEY), "stay",
    )  # fmt: skip
