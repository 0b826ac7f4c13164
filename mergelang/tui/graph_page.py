"""The page of the graph: the drawing, and beside it what there is to say about the chosen node."""

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.widgets import Static

from mergelang.draw.picture import SOURCE, Box
from mergelang.tui.details import details
from mergelang.tui.graph_pane import GraphPane
from mergelang.tui.look import MOST_BOXES, Seen
from mergelang.tui.page import Page
from mergelang.tui.progress import box_states, output_states


class GraphPage(Page):
    """Shows `view.look.seen`; of a recipe that has become wrong the last graph that was right."""

    def __init__(self, **options):
        super().__init__(**options)
        self._seen: Seen | None = None
        self._lanes: bool | None = None
        """What was chosen with the key; None: what suits the number of nodes."""

    def compose(self) -> ComposeResult:
        yield Static(id="graph-note")
        with VerticalScroll(id="details"):
            yield Static(id="detail-text", markup=False)
        yield GraphPane(id="graph-pane")

    @property
    def pane(self) -> GraphPane:
        return self.query_one(GraphPane)

    def entered(self) -> None:
        self.view.find_parts()
        self.take_focus(self.pane)

    def looked(self) -> None:
        seen = self.view.look.seen
        note = self.query_one("#graph-note", Static)
        note.display = seen is None
        if seen is None:
            older = "; this is the graph from before" if self._seen else ""
            note.update(f"there is a graph once the recipe is right: f2 shows its mistakes{older}")
            return
        self._seen = seen
        self._draw()
        if self.view.page is self:
            self.view.find_parts()

    def _draw(self) -> None:
        seen = self._seen
        many = len(seen.picture.boxes) > MOST_BOXES
        lanes = many if self._lanes is None else self._lanes
        drawing = seen.lanes if lanes or seen.boxes is None else seen.boxes
        boxes = list(drawing.boxes)
        pane = self.pane
        kept = pane.selected if pane.selected in boxes else next(reversed(boxes), None)
        pane.show(drawing, kept)
        self.heard()

    def heard(self) -> None:
        if self._seen is None:
            return
        outputs = output_states(self.view.look.plan, self._state())
        self.pane.colour(box_states(self._seen.picture, outputs))
        self._tell()

    def _state(self):
        return self.view.watched.state if self.view.is_run_of_this else None

    def on_graph_pane_selected(self) -> None:
        self._tell()
        self.query_one("#details").scroll_home(animate=False)

    @property
    def box(self) -> Box | None:
        boxes = self._seen.picture.boxes if self._seen else ()
        return next((each for each in boxes if each.id == self.pane.selected), None)

    def _tell(self) -> None:
        box = self.box
        text = "the recipe is empty" if box is None else details(
            box, self._seen.picture, self._seen.program, self._state(),
            self.view.share_of(box.id), self.view.reads,
        )  # fmt: skip
        self.query_one("#detail-text", Static).update(text)

    # Actions

    def can(self, method: str) -> bool:
        if method == "inspect":
            return self.box is not None and self.box.kind == SOURCE
        return self._seen is not None or method == "run_recipe"

    def walk(self, direction: str) -> None:
        self.pane.walk(direction)
        self.view.refresh_bindings()

    def zoom(self) -> None:
        if self._seen.boxes is None:
            self.view.notify("too many nodes for boxes")
            return
        self._lanes = not self.pane.drawing.is_lanes
        self._draw()

    def choose(self, box: str) -> None:
        """Another box, from outside."""
        self.pane.select(box)

    def to_text(self) -> None:
        """Puts the cursor where the box stands in the recipe."""
        box = self.box
        if box is not None:
            span = box.target.span if box.target is not None else box.node.term.span
            self.view.show_text(span)

    def inspect(self) -> None:
        reference = self.box.node["reference"]
        self.view.open_model(str(reference.path or reference.text))

    def run_recipe(self) -> None:
        self.view.run_recipe()
