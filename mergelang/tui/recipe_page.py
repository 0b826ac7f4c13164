"""The page of the text: the editor, what is wrong below it, what is said about a word beside it.

It is the first page: what reads a recipe is imported once the text is painted.
"""

from typing import TYPE_CHECKING

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.widgets import OptionList, Static, TextArea
from textual.widgets.option_list import Option

from mergelang.draw.cells import cell_count, padded
from mergelang.draw.units import counted
from mergelang.errors import Diagnostic
from mergelang.source import Source
from mergelang.tui.editor import Editor
from mergelang.tui.page import Page, Panel

if TYPE_CHECKING:
    from mergelang.check.complete import Completion

WAIT = 0.25
"""Seconds without a key until the text is looked at."""

MOST = 8
"""Completions that are shown at once."""


class RecipePage(Page):
    """Edits `view.text`."""

    def __init__(self, **options):
        super().__init__(**options)
        self._completion: Completion | None = None
        self._timer = None
        self._about = ""

    def compose(self) -> ComposeResult:
        with Horizontal(id="recipe-top"):
            yield Editor(id="editor")
            with Panel(id="about", can_focus=False):
                yield Static(id="about-text", markup=False)
        yield OptionList(id="completions", markup=False)
        with Vertical(id="problems"):
            yield Static(id="problems-title")
            yield OptionList(id="problems-list", markup=False)

    @property
    def editor(self) -> Editor:
        return self.query_one(Editor)

    def on_mount(self) -> None:
        self.query_one("#completions").display = False
        self.query_one("#completions").can_focus = False
        self.load(self.view.text)

    def entered(self) -> None:
        self.take_focus(self.editor)

    def load(self, text: str) -> None:
        """Another text, from a file."""
        self.editor.load_text(text)
        self.editor.move_cursor((0, 0))

    # The text changes

    @on(TextArea.Changed)
    def _changed(self) -> None:
        if self.editor.text == self.view.text:
            return
        self.view.edited(self.editor.text)
        if self._timer is not None:
            self._timer.stop()
        self._timer = self.set_timer(WAIT, self.view.check)

    def looked(self) -> None:
        look = self.view.look
        self.editor.mark(look.diagnostics, look.source)
        shown = self.query_one("#problems-list", OptionList)
        shown.clear_options()
        for each in look.diagnostics:
            shown.add_option(Option(problem_text(each)))
        errors = len(look.errors)
        warned = len(look.diagnostics) - errors
        parts = [counted(errors, "error")] * bool(errors)
        parts += [counted(warned, "warning")] * bool(warned)
        title = self.query_one("#problems-title", Static)
        title.update(", ".join(parts) or "nothing is wrong")
        title.set_class(bool(errors), "wrong")
        shown.display = bool(look.diagnostics)
        self._say_about()

    @on(OptionList.OptionSelected, "#problems-list")
    def _picked_problem(self, event: OptionList.OptionSelected) -> None:
        self._show(self.view.look.diagnostics[event.option_index])
        self.take_focus(self.editor)

    def next_problem(self) -> None:
        """The next mistake behind the cursor, or the first."""
        here = self.editor.offset_at(self.editor.selection.start)
        placed = [each for each in self.view.look.diagnostics if self._is_here(each)]
        placed.sort(key=lambda each: each.span.start)
        if placed:
            behind = [each for each in placed if each.span.start > here]
            self._show((behind or placed)[0])

    def _is_here(self, each: Diagnostic) -> bool:
        return each.span is not None and each.span.source.text == self.editor.text

    def _show(self, each: Diagnostic) -> None:
        if self._is_here(each):
            self.editor.go_to(each.span.start, each.span.end)
        self.query_one("#problems-list", OptionList).highlighted = (
            self.view.look.diagnostics.index(each)
        )

    # What is said about a word

    @on(TextArea.SelectionChanged)
    def _moved(self) -> None:
        if self.editor.completing and self.editor.offset_of_cursor != self._offered_at:
            self._close()
        self._say_about()

    @on(Editor.Hovered)
    def _hovered(self, event: Editor.Hovered) -> None:
        self._say_about(event.offset)

    def _say_about(self, offset: int | None = None) -> None:
        look = self.view.look
        if not self.view.has_looked:
            return
        from mergelang.draw.about import about

        program = look.seen.program if look.seen else None
        if offset is None:
            offset = self.editor.offset_of_cursor
        width = self.query_one("#about", Panel).columns
        if width < 1:
            return  # It is not laid out; it says so once it is.
        said = about(self.editor.text, offset, program, width)
        # What was last told stays: a cursor on its way over blanks does not make it flicker.
        if said and said != self._about:
            self._about = said
            head, _, rest = said.partition("\n\n")
            text = Text.assemble((head, "bold"), "\n\n" if rest else "", rest)
            self.query_one("#about-text", Static).update(text)
            self.query_one("#about").scroll_home(animate=False)

    def on_panel_sized(self) -> None:
        self._say_about()

    def look(self) -> None:
        self.query_one("#about").toggle_class("asked")

    # Completion

    _offered_at = 0
    """Where the cursor was when the list was opened; it closes when the cursor leaves."""

    @on(Editor.Typed)
    def _typed(self) -> None:
        at = self.editor.offset_of_cursor
        text = self.editor.text
        before = text[max(0, at - 1) : at]
        if before.isalnum() or before in ("_", "@") or (before in '"/' and at > 1):
            self._offer(least=1)
        else:
            self._close()

    def complete(self) -> None:
        self._offer(least=0)

    def _offer(self, least: int) -> None:
        from mergelang.check.complete import complete

        at = self.editor.offset_of_cursor
        found = complete(self.editor.text, at, self.view.folder)
        in_path = self.editor.text[found.start - 1 : found.start] in ('"', "/")
        if not found.candidates or (at - found.start < least and not in_path):
            self._close()
            return
        self._completion, self._offered_at = found, at
        shown = self.query_one("#completions", OptionList)
        shown.clear_options()
        wide = max(cell_count(each.label) for each in found.candidates)
        room = max(20, self.size.width - wide - 8)
        for each in found.candidates:
            line = Text.assemble((padded(each.label, wide), "bold"), "  ", (each.about, "dim"))
            line.truncate(wide + 2 + min(48, room), overflow="ellipsis")
            shown.add_option(Option(line))
        shown.highlighted = 0
        self._place(shown, found, wide + 2 + min(48, room))
        shown.display = True
        self.editor.completing = True

    def _place(self, shown: OptionList, found: "Completion", width: int) -> None:
        """Under the word that is typed, or above it where there is no room below."""
        spot = self.editor.cursor_screen_offset
        column = spot.x - (self.editor.offset_of_cursor - found.start) - self.region.x - 1
        height = min(MOST, len(found.candidates)) + 2
        width = min(width + 4, self.size.width)
        shown.styles.width, shown.styles.height = width, height
        y = spot.y - self.region.y + 1
        if y + height > self.size.height:
            y = max(0, y - height - 1)
        shown.styles.offset = max(0, min(column, self.size.width - width)), y

    def _close(self) -> None:
        self.query_one("#completions").display = False
        self.editor.completing = False

    @on(Editor.Steered)
    def _steered(self, event: Editor.Steered) -> None:
        shown = self.query_one("#completions", OptionList)
        match event.key:
            case "down":
                shown.action_cursor_down()
            case "up":
                shown.action_cursor_up()
            case "pagedown":
                shown.action_page_down()
            case "pageup":
                shown.action_page_up()
            case "escape":
                self._close()
            case _:
                self._take(shown.highlighted or 0)

    @on(OptionList.OptionSelected, "#completions")
    def _picked(self, event: OptionList.OptionSelected) -> None:
        self._take(event.option_index)
        self.take_focus(self.editor)

    def _take(self, index: int) -> None:
        if self._completion is None:
            return
        chosen = self._completion.candidates[index]
        start = self.editor.location_at(self._completion.start)
        self.editor.replace(chosen.insert, start, self.editor.cursor_location)
        self._close()
        if chosen.insert.endswith("/"):
            self._offer(least=0)

    # Actions

    def tidy(self) -> None:
        """Formats the text where it can be read."""
        from mergelang.lang import format, parse

        source = Source(self.view.look.source.name, self.editor.text)
        tree, found = parse(source)
        wrong = [each for each in found if each.is_error]
        if wrong:
            self.view.notify("it can be formatted once it is right", severity="warning")
            return
        text = format(tree)
        if text == self.editor.text:
            self.view.notify("it is formatted already")
            return
        row, column = self.editor.cursor_location
        self.editor.replace(text, (0, 0), self.editor.document.end)
        self.editor.move_cursor((min(row, self.editor.document.line_count - 1), column))

    async def to_graph(self) -> None:
        """Shows what the cursor stands on in the graph."""
        from mergelang.lang.highlight import word_at

        seen = self.view.look.seen
        word = word_at(self.editor.text, self.editor.offset_of_cursor)
        if seen is None or word is None:
            self.view.notify("there is a graph once the recipe is right", severity="warning")
            return
        name = self.editor.text[word.start : word.end]
        boxes = seen.picture.boxes
        named = next((box.id for box in boxes if box.name == name), None)
        await self.view.show_box(named or self._box_at(word.start))

    def _box_at(self, offset: int) -> str | None:
        """The box of the innermost expression around a place."""
        around = []
        for box in self.view.look.seen.picture.boxes:
            span = box.target.span if box.target is not None else box.node.term.span
            if span.source.text == self.editor.text and span.start <= offset < span.end:
                around.append((span.end - span.start, box.id))
        return min(around)[1] if around else None


def problem_text(each: Diagnostic) -> Text:
    """A mistake in two lines at most: where, what, and how to mend it."""
    from mergelang.wording import helps, message

    tone = "bold red" if each.is_error else "bold yellow"
    mark = "✗" if each.is_error else "!"
    place = ""
    if each.span is not None:
        line, column = each.span.source.position(each.span.start)
        place = f"{line}:{column}  "
    text = Text.assemble((f"{mark} {each.code}  ", tone), (place, "dim"), message(each))
    for line in helps(each):
        text.append(f"\n  help: {line}", "cyan")
    return text
