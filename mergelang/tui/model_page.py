"""The page of a model: its tensors, the histogram of one, and a map of how it differs."""

from pathlib import Path
from typing import Any

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.widgets import Input, Static

from mergelang.draw.charts import strip_rows
from mergelang.draw.heat import DIFFERENCE, MEASURES, heat_lines
from mergelang.draw.histogram import HEIGHT, histogram_facts, histogram_lines
from mergelang.draw.units import counted, size
from mergelang.measure import Histogram, Sums, comparable, histogram, measurable, sums
from mergelang.models.checkpoint import Checkpoint, open_model
from mergelang.models.reference import parse_reference
from mergelang.tensors import Extent
from mergelang.tui.jobs import reason
from mergelang.tui.page import Page, Panel
from mergelang.tui.table import Column, Line, Table

BINS, LOW = 44, 5
"""Columns of a histogram, and its lines where there is little room."""
AT_ONCE = 64 << 20
"""Bytes of a tensor up to which its histogram is made without being asked for."""

WAIT = 0.2

COLUMNS = (
    Column("tensor"), Column("dtype"), Column("shape", True), Column("size", True), Column("roles"),
)  # fmt: skip


class ModelPage(Page):
    """Shows one checkpoint, perhaps against another one and the base of both."""

    def __init__(self, **options):
        super().__init__(**options)
        self.model: Checkpoint | None = None
        self._others: tuple[Checkpoint, ...] = ()
        self._sums: dict[str, Sums] = {}
        self._measure = DIFFERENCE
        self._names: list[str] = []
        self._done = (0, 0)
        self._timer: Any = None

    def compose(self) -> ComposeResult:
        yield Static(id="model-title", markup=False)
        yield Input(
            placeholder="words of a tensor's name, * is anything; enter or escape leaves",
            id="filter",
        )
        with VerticalScroll(id="tensor", can_focus=False):
            yield Static(id="tensor-text", markup=False)
        yield Table(id="tensors")
        with Panel(id="map"):
            yield Static(id="map-text", markup=False)

    def on_mount(self) -> None:
        self.query_one("#filter").display = False
        self.query_one("#map").display = False
        self.query_one("#tensor").display = False
        self._tell_title()

    @property
    def table(self) -> Table:
        return self.query_one(Table)

    def entered(self) -> None:
        shown = self.query_one("#map")
        self.take_focus(shown if shown.display else self.table)

    # The model

    def open_at(self, path: str) -> None:
        """Reads config and headers of a model, on a thread."""
        folder = self.view.folder
        self.query_one("#model-title", Static).update(f"reading {path}")

        def opened(model: Checkpoint) -> None:
            self.model, self._others, self._sums = model, (), {}
            self.jobs_of_map_end()
            self._names = list(model.extents)
            self.query_one("#tensor").display = True
            self._show_map(False)
            self._tell_rows()
            self._tell_title()
            self.view.refresh_bindings()

        self.view.jobs.start(
            "model", lambda: self._opened(path, folder), opened, self._broke
        )

    def _opened(self, path: str, folder: Path) -> Checkpoint:
        return open_model(parse_reference(path, folder), allow_pickle=self.view.allow_pickle)

    def _broke(self, error: Exception) -> None:
        self._tell_title()
        self.view.notify(reason(error), severity="error", timeout=10, markup=False)

    def _tell_title(self) -> None:
        title = self.query_one("#model-title", Static)
        if self.model is None:
            title.update(Text.assemble(("no model is open. ", "dim"), "o", (" opens one", "dim")))
            return
        held = self.model.inventory
        parameters = sum(held[name].count for name in held)
        text = Text.assemble((_name(self.model), "bold"), "  ", no_wrap=True)
        kind = f"{self.model.architecture}, " if self.model.architecture else ""
        layers = counted(held.layering.count, "layer")
        text.append(f"{kind}{layers}, {counted(len(held), 'tensor')}, ", "dim")
        text.append(f"{_short(parameters)} parameters, {size(held.nbytes)}", "dim")
        if self._others:
            text.append("\nagainst ", "dim").append(_name(self._others[0]), "bold")
            if len(self._others) > 1:
                text.append(", task vectors from ", "dim").append(_name(self._others[1]), "bold")
            done, of = self._done
            if done < of:
                text.append(f"  {done:,} of {of:,} tensors", "yellow")
        title.update(text)

    def _tell_rows(self) -> None:
        held = self.model.inventory
        columns, rows = list(COLUMNS), []
        if self._others:
            columns.insert(1, Column(self._measure, True))
        for name in self._names:
            kind = held[name]
            shape = "x".join(map(str, kind.shape)) or "scalar"
            roles = " ".join(sorted(held.roles.get(name, ())))
            shown = [name, kind.dtype, shape, size(kind.nbytes), roles]
            keys = [_natural(name), kind.dtype, kind.count, kind.nbytes, roles]
            if self._others:
                value = self._value(name)
                shown.insert(1, "" if value is None else f"{value:.4f}")
                keys.insert(1, value)
            rows.append(Line(tuple(shown), tuple(keys)))
        self.table.show(columns, rows)

    def _value(self, name: str) -> float | None:
        found = self._sums.get(name)
        return None if found is None else MEASURES[self._measure](found)

    # One tensor

    @on(Table.Chosen)
    def _chosen(self, event: Table.Chosen) -> None:
        if self._timer is not None:
            self._timer.stop()
        if event.row is None or self.model is None:
            self.query_one("#tensor-text", Static).update(Text("no tensor has such a name", "dim"))
            return
        name = self._names[event.row]
        extent = self.model.extents[name]
        fits = measurable(extent.type)
        if fits and (event.taken or extent.type.nbytes <= AT_ONCE):
            self._tell_tensor(name, None, "…")
            self._timer = self.set_timer(WAIT, lambda: self._count(name, extent))
        else:
            hint = "enter counts its values" if fits else "it holds no numbers that are merged"
            self._tell_tensor(name, None, hint)

    def _count(self, name: str, extent: Extent) -> None:
        def work(say: Any) -> Any:
            return histogram(extent, BINS, lambda: say(None))

        self.view.jobs.start(
            "histogram", work, lambda found: self._tell_tensor(name, found, ""),
            lambda error: self._tell_tensor(name, None, reason(error)),
            progress=lambda part: None,
        )  # fmt: skip

    def _tell_tensor(self, name: str, found: Histogram | None, note: str) -> None:
        kind = self.model.extents[name].type
        text = Text.assemble((name, "bold"), f"\n{kind}, {size(kind.nbytes)}\n", no_wrap=True)
        known = self._sums.get(name)
        values = ((measure, of(known)) for measure, of in MEASURES.items() if known)
        facts = [(measure, f"{value:.4f}") for measure, value in values if value is not None]
        if found is None:
            text.append(f"\n{note}\n", "dim")
        facts += histogram_facts(found) if found else []
        chart = histogram_lines(found, HEIGHT if self.view.is_wide else LOW) if found else []
        tone = self.view.current_theme.primary
        if self.view.is_wide:
            text.append("\n")
            for line in chart:
                text.append(f"{line}\n", tone)
            for label, value in [("", "")] * bool(chart) + facts:
                text.append(f"{label:<12}", "dim").append(f"{value}\n")
        else:
            # Facts beside the chart: the panel is low.
            for at in range(max(len(chart), len(facts))):
                text.append(f"{chart[at] if at < len(chart) else '':<{BINS + 2}}", tone)
                label, value = facts[at] if at < len(facts) else ("", "")
                text.append(f"{label:<12}", "dim").append(f"{value}\n")
        self.query_one("#tensor-text", Static).update(text)

    # Another model

    def compare(self) -> None:
        """Asks for another model, then for the base of both."""
        def then(other: str) -> None:
            def with_base(base: str | None) -> None:
                self.compare_with(other, base)

            self.view.pick_or_none(
                "the base of both, for task vectors; escape: none", "model", with_base
            )

        self.view.pick("compare with", "model", then)

    def compare_with(self, other: str, base: str | None = None) -> None:
        """Measures every tensor that the models have alike, on a thread."""
        model, folder = self.model, self.view.folder
        paths = [other, *([base] if base else [])]
        self._sums, self._done = {}, (0, 1)
        begun: dict[str, Any] = {}

        def work(say: Any) -> int:
            others = tuple(self._opened(path, folder) for path in paths)
            names = comparable(model.extents, *(each.extents for each in others))
            say((others, len(names), None, None))
            for name in names:
                extents = [each.extents[name] for each in (model, *others)]
                found = sums(*extents, wanted=lambda: say(None))
                if not say((others, len(names), name, found)):
                    break
            return len(names)

        def heard(part: Any) -> None:
            if part is None:
                return
            others, of, name, found = part
            if not begun:
                begun["yes"], self._others = True, others
                self._show_map(True)
            if name is not None:
                self._sums[name] = found
                self._done = len(self._sums), of
            else:
                self._done = 0, of
            self._stale = True

        def ended(count: int) -> None:
            self._done = count, count
            if not count:
                self.view.notify("the models have no tensor alike", severity="warning")
            self._refresh_map(rows=True)

        self.view.jobs.start("compare", work, ended, self._broke, progress=heard)
        self.set_interval(0.2, self._refresh_map, repeat=0, name="map")

    def jobs_of_map_end(self) -> None:
        self.view.jobs.drop("compare")
        self._done = (0, 0)

    _stale = False

    def _refresh_map(self, rows: bool = False) -> None:
        if not self._stale and not rows:
            return
        self._stale = False
        self._tell_title()
        self._tell_map()
        if rows:
            self._tell_rows()

    def _tell_map(self) -> None:
        width = max(16, self.query_one(Panel).columns - 29)
        rows = strip_rows(self.model.inventory, width, fine=True)
        theme = self.view.current_theme
        wide = max(1, min(4, width // max((len(row.cells) for row in rows), default=1)))
        text = heat_lines(rows, self._sums, self._measure, theme.primary, theme.accent, wide)
        self.query_one("#map-text", Static).update(text)

    def _show_map(self, yes: bool) -> None:
        self.query_one("#map").display = yes
        self.table.display = not yes
        if yes and self.page_is_shown:
            self.take_focus(self.query_one("#map"))
        elif self.page_is_shown:
            self.take_focus(self.table)

    @property
    def page_is_shown(self) -> bool:
        return self.view.page is self

    def on_panel_sized(self) -> None:
        if self._others:
            self._tell_map()

    # Actions

    def can(self, method: str) -> bool:
        match method:
            case "open":
                return True
            case "measure" | "toggle_map":
                return bool(self._others)
        return self.model is not None

    def open(self) -> None:
        self.view.pick("open a model", "model", self.open_at)

    def filter(self) -> None:
        self._show_map(False)
        field = self.query_one("#filter", Input)
        field.display = True
        self.take_focus(field)

    @on(Input.Changed, "#filter")
    def _filtered(self, event: Input.Changed) -> None:
        self.table.filter(event.value)

    @on(Input.Submitted, "#filter")
    def _left_filter(self) -> None:
        self.query_one("#filter").display = bool(self.query_one("#filter", Input).value)
        self.take_focus(self.table)

    def on_key(self, event: Any) -> None:
        field = self.query_one("#filter", Input)
        if event.key == "escape" and field.display:
            field.value = ""
            field.display = False
            self.take_focus(self.table)
            event.stop()

    def sort(self) -> None:
        self._show_map(False)
        self.table.sort_next()

    def measure(self) -> None:
        """The next of the measures; without a base there is only one."""
        names = list(MEASURES) if len(self._others) > 1 else [DIFFERENCE]
        if len(names) == 1:
            self.view.notify("cosine and signs need a base: compare again, and choose one")
            return
        self._measure = names[(names.index(self._measure) + 1) % len(names)]
        self._tell_map()
        self._tell_rows()

    def toggle_map(self) -> None:
        self._show_map(not self.query_one("#map").display)


def _name(model: Checkpoint) -> str:
    path = Path(model.reference.text)
    return "/".join(path.parts[-2:])


def _natural(name: str) -> tuple[Any, ...]:
    """Sorts layer 10 behind layer 9."""
    return tuple((0, int(w), "") if w.isdigit() else (1, 0, w) for w in name.split("."))


def _short(count: int) -> str:
    """`7.24 B`, `125 M`, `3,120`."""
    for unit, least in (("B", 10**9), ("M", 10**6)):
        if count >= least:
            return f"{count / least:.3g} {unit}"
    return f"{count:,}"
