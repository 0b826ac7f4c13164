"""The page of the graph: the drawing, and beside it what there is to say about the chosen node."""

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.timer import Timer
from textual.widgets import Static

from mergelang.draw.picture import SOURCE, Box
from mergelang.plan.plan import Plan
from mergelang.tui.details import details
from mergelang.tui.graph_pane import GraphPane
from mergelang.tui.look import MOST_BOXES
from mergelang.tui.page import Page
from mergelang.tui.parts import key_of
from mergelang.tui.states import box_states, output_states

WAIT = 0.2
"""Seconds that a box is chosen until its key is made."""


class GraphPage(Page):
    """Shows `view.look.seen`; of a recipe that has become wrong the last graph that was right."""

    def __init__(self, **options):
        super().__init__(**options)
        self._lanes: bool | None = None
        """What was chosen with the key; None: what suits the number of nodes."""
        self._key: str | None = None
        self._asked: tuple[object, ...] = ()
        self._timer: Timer | None = None

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
        is_wrong = self.view.look.seen is None
        note = self.query_one("#graph-note", Static)
        note.display = is_wrong
        if is_wrong:
            older = "; this is the graph from before" if self.view.seen else ""
            note.update(f"there is a graph once the recipe is right: f2 shows its mistakes{older}")
        if self.view.seen is not None and not (is_wrong and self.pane.drawing):
            self._draw()
        if not is_wrong and self.view.page is self:
            self.view.find_parts()

    def _draw(self) -> None:
        seen = self.view.seen
        many = len(seen.picture.boxes) > MOST_BOXES
        lanes = many if self._lanes is None else self._lanes
        drawing = seen.lanes if lanes or seen.boxes is None else seen.boxes
        boxes = list(drawing.boxes)
        pane = self.pane
        kept = pane.selected if pane.selected in boxes else next(reversed(boxes), None)
        pane.show(drawing, kept)
        self.heard()

    def heard(self) -> None:
        if self.view.seen is None:
            return
        outputs = output_states(self.view.look.plan, self._state())
        self.pane.colour(box_states(self.view.seen.picture, outputs))
        self._tell()

    def _state(self):
        return self.view.watched.state if self.view.is_run_of_this else None

    def on_graph_pane_selected(self) -> None:
        self._tell()
        self.query_one("#details").scroll_home(animate=False)

    @property
    def box(self) -> Box | None:
        boxes = self.view.seen.picture.boxes if self.view.seen else ()
        return next((each for each in boxes if each.id == self.pane.selected), None)

    def _tell(self) -> None:
        box = self.box
        self._ask_key(box)
        text = "the recipe is empty" if box is None else details(
            box, self.view.seen.picture, self.view.seen.program, self._state(),
            self.view.share_of(box.id), self.view.reads, self._key,
        )  # fmt: skip
        self.query_one("#detail-text", Static).update(text)

    def _ask_key(self, box: Box | None) -> None:
        """Has the key of a box made, for each box and plan, and again once a run has ended, which
        knows the digests of what it has read; where one stays for a moment."""
        plan = self.view.look.plan
        asked = box and box.id, plan, self.view.has_run_going
        if asked == self._asked:
            return
        if asked[:2] != self._asked[:2]:
            self._key = None
        self._asked = asked
        if self._timer is not None:
            self._timer.stop()
        if box is not None and plan is not None and self.view.look.seen is self.view.seen:
            self._timer = self.set_timer(WAIT, lambda: self._make_key(box, plan))

    def _make_key(self, box: Box, plan: Plan) -> None:
        def know(key: str) -> None:
            if self._asked[:2] == (box.id, plan):
                self._key = key
                self._tell()

        self.view.jobs.start("key", lambda: key_of(box, plan), know, self.view.broke)

    # Actions

    def can(self, method: str) -> bool:
        if method == "inspect":
            return self.box is not None and self.box.kind == SOURCE
        return self.view.seen is not None or method == "run_recipe"

    def walk(self, direction: str) -> None:
        self.pane.walk(direction)
        self.view.refresh_bindings()

    def zoom(self) -> None:
        if self.view.seen.boxes is None:
            self.view.notify("too many nodes for boxes")
            return
        self._lanes = not self.pane.drawing.is_lanes
        self._draw()

    def choose(self, box: str) -> None:
        """Another box, from outside."""
        self.pane.select(box)

    async def to_text(self) -> None:
        """Puts the cursor where the box stands in the recipe."""
        box = self.box
        if box is not None:
            span = box.target.span if box.target is not None else box.node.term.span
            await self.view.show_text(span)

    async def inspect(self) -> None:
        reference = self.box.node["reference"]
        await self.view.open_model(str(reference.path or reference.text))

    async def run_recipe(self) -> None:
        await self.view.run_recipe()
