"""The page of lineage: the family tree of a checkpoint, and the recipe of the chosen member."""

from pathlib import Path

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.widgets import Static

from mergelang.draw.units import counted
from mergelang.record.lineage import Member, family, record_of, tree_rows
from mergelang.tui.jobs import reason
from mergelang.tui.page import Page
from mergelang.tui.recipe_text import difference_text, recipe_text
from mergelang.tui.table import Column, Line, Table


class LineagePage(Page):
    """Shows the family of one model."""

    def __init__(self, **options):
        super().__init__(**options)
        self._path = ""
        self._rows: list[tuple[str, Member, str]] = []

    def compose(self) -> ComposeResult:
        yield Static(id="lineage-title", markup=False)
        yield Table(id="family")
        with VerticalScroll(id="ancestor"):
            yield Static(id="ancestor-text", markup=False)

    def on_mount(self) -> None:
        for id in ("#family", "#ancestor"):
            self.query_one(id).display = False
        self.query_one("#lineage-title", Static).update(
            Text.assemble(("no model is open. ", "dim"), "o", (" opens one", "dim"))
        )

    @property
    def table(self) -> Table:
        return self.query_one(Table)

    def entered(self) -> None:
        if not self._path:
            self._guess()
        self.take_focus(self.table)

    def _guess(self) -> None:
        """What the model page shows, or what the run has written."""
        model = self.view.model
        written = self.view.results
        if model is not None:
            self.open_at(str(model.folder))
        elif written:
            self.open_at(written[-1])

    def open_at(self, path: str) -> None:
        """Reads the records of a model's family, on a thread."""

        def opened(found: list[tuple[str, Member, str]]) -> None:
            self._path, self._rows = path, found
            for id in ("#family", "#ancestor"):
                self.query_one(id).display = True
            count = sum(each.facts is not None for _, each, _ in found)
            title = Text.assemble((found[0][1].name, "bold"), no_wrap=True)
            title.append(
                f"  {counted(len(found) - 1, 'ancestor')}, {counted(count, 'recipe')}", "dim"
            )
            self.query_one("#lineage-title", Static).update(title)
            self.table.show(
                (Column("model"), Column("what it is")),
                [Line((line, said), (line, said)) for line, _, said in found],
            )
            if self.view.page is self:
                self.take_focus(self.table)
            self.view.refresh_bindings()

        self.view.jobs.start(
            "family", lambda: tree_rows(family_of(path)), opened, self._broke
        )

    def _broke(self, error: Exception) -> None:
        # A part of a text is in the colour of the theme; `yellow` of a whole one is always #ffff00.
        said = Text.assemble((reason(error), "yellow"))
        self.query_one("#lineage-title", Static).update(said)

    @property
    def member(self) -> Member | None:
        row = self.table.chosen
        return None if row is None or not self._rows else self._rows[row][1]

    @on(Table.Chosen)
    def _chosen(self) -> None:
        member = self.member
        if member is None:
            return
        text = Text()
        if member.facts is None:
            text.append(f"{member.name}\n", "bold").append("no recipe of it is known\n\n")
            for name, facts in member.files.items():
                text.append(f"{name}  {facts.get('digest', '')}\n", "dim")
        else:
            for name, value in member.facts["settings"].items():
                text.append(f"# --set {name}={value}\n", "dim")
            text.append(recipe_text(member.facts["recipe"], self.view.theme))
        self.query_one("#ancestor-text", Static).update(text)
        self.query_one("#ancestor").scroll_home(animate=False)

    # Actions

    def can(self, method: str) -> bool:
        return method == "open" or bool(self.member and self.member.facts)

    def open(self) -> None:
        self.view.pick("the lineage of", "model", self.open_at)

    def diff(self) -> None:
        """The recipe of the chosen member against that of another model."""
        member = self.member

        def then(other: str) -> None:
            self.view.jobs.start(
                "diff", lambda: family_of(other),
                lambda found: self._tell_difference(member, found), self._told_broke,
            )  # fmt: skip

        self.view.pick("compare the recipe with that of", "model", then)

    def _told_broke(self, error: Exception) -> None:
        self.view.notify(reason(error), severity="warning", markup=False)

    def _tell_difference(self, one: Member, other: Member) -> None:
        recipes = other.facts["recipe"], one.facts["recipe"]
        text = difference_text(*recipes, (other.name, one.name))
        self.query_one("#ancestor-text", Static).update(text)


def family_of(path: str) -> Member:
    """The family of a folder or weight file. Raises InputError where it has no record."""
    return family(record_of(Path(path), path))
