"""The page of the run: how far it is, node by node and layer by layer, and what it says."""

from pathlib import Path
from typing import Any

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.widgets import RichLog, Static

from mergelang.draw.charts import Row, strip, strip_rows
from mergelang.draw.picture import SOURCE
from mergelang.draw.units import size
from mergelang.draw.words import shortened
from mergelang.tui.page import Page
from mergelang.tui.progress import (
    CACHED,
    DONE,
    ENDED,
    FAILED,
    FETCHING,
    MARKS,
    PENDING,
    RUNNING,
    STARTING,
    progress_text,
    totals_text,
    track,
)
from mergelang.tui.states import box_states, output_states
from mergelang.tui.watch import Watch

TONES = {CACHED: "blue", PENDING: "dim", RUNNING: "yellow", DONE: "green", FAILED: "bold red"}
NAME, COUNT = 28, 16
"""Columns of a node's name, and of its tensors."""


class RunPage(Page):
    """Shows `view.watched`."""

    def __init__(self, **options):
        super().__init__(**options)
        self._watched: Watch | None = None
        self._logged = 0
        self._drawn_for: Any = None
        self._strip: tuple[object, list[Row]] = (None, [])

    def compose(self) -> ComposeResult:
        yield Static(id="progress", markup=False)
        with Horizontal(id="run-middle"):
            with VerticalScroll(id="run-nodes"):
                yield Static(id="run-nodes-text", markup=False)
            with VerticalScroll(id="run-strip"):
                yield Static(id="run-strip-text", markup=False)
        with Vertical(id="run-failure"):
            yield Static(id="run-failure-text", markup=False)
        yield RichLog(id="run-log", wrap=False, max_lines=5000)

    def on_mount(self) -> None:
        for id, title in (("run-nodes", "nodes"), ("run-strip", "layers"), ("run-log", "log")):
            self.query_one(f"#{id}").border_title = title
        self.query_one("#run-failure").border_title = "failed"

    def entered(self) -> None:
        self.take_focus(self.query_one("#run-log"))
        self.heard()

    def looked(self) -> None:
        self.heard()

    def on_resize(self) -> None:
        # The panels know their widths once they are laid out.
        self.call_after_refresh(self._redraw)

    def _redraw(self) -> None:
        self._drawn_for = self.size
        self.heard()

    def heard(self) -> None:
        watch = self.view.watched
        if watch is not self._watched:
            self._watched, self._logged = watch, 0
            self.query_one(RichLog).clear()
        line = self.query_one("#progress", Static)
        for id in ("#run-middle", "#run-log"):
            self.query_one(id).display = watch is not None
        failure = self.query_one("#run-failure")
        failure.display = watch is not None and watch.state.phase == FAILED
        if watch is None:
            look = self.view.look
            text = Text("nothing runs. ", "dim")
            if look.plan is not None:
                text.append("r").append(" runs ", "dim").append(self.view.title_of_recipe)
                text.append(
                    f": reads {size(look.plan.bytes_read)}, "
                    f"writes {size(look.plan.bytes_written)}", "dim",
                )  # fmt: skip
            elif look.errors:
                text.append("the recipe has mistakes: f2 shows them", "dim")
            line.update(text)
            return
        state = watch.state
        text = progress_text(state, paused=self.view.is_paused)
        if state.phase not in (STARTING, FETCHING, *ENDED):
            text.append(f"\n{totals_text(state)}", "dim")
        line.update(text)
        if failure.display:
            self.query_one("#run-failure-text", Static).update(self._failure())
        if self.display:
            self.query_one("#run-nodes-text", Static).update(self._by_node())
            self.query_one("#run-strip-text", Static).update(self._by_layer())
            log = self.query_one(RichLog)
            for each in watch.log[self._logged :]:
                log.write(each, expand=True)
            self._logged = len(watch.log)

    def _failure(self) -> Text:
        """All that is known about it, and what can be done."""
        text = Text()
        runner = self.view.runner
        for each in runner.diagnostics if runner else ():
            text.append(f"{each['code']}: {each['message']}\n", "bold")
            for line in each["help"]:
                text.append(f"help: {line}\n", "cyan")
        if not text and runner and runner.errors:
            text.append(runner.errors[-2000:] + "\n")
        if not text:
            text.append(self.view.watched.state.problem + "\n")
        text.append("r").append(" tries again", "dim")
        return text

    def _by_node(self) -> Text:
        """Each node with a bar: tensors done of those it takes part in."""
        text, watch, seen = Text(no_wrap=True), self.view.watched, self.view.seen_of_run
        width = self.query_one("#run-nodes").content_size.width
        if seen is None:
            for name, each in watch.state.outputs.items():
                share = each.done / each.tensors if each.tensors else 0.0
                count = f"{each.done:,} of {each.tensors:,}"
                _node(text, name, each.state, share, count, width)
            return text
        outputs = output_states(None, watch.state)
        states = box_states(seen.picture, outputs)
        for box in seen.picture.boxes:
            if box.kind == SOURCE:
                continue
            part = self.view.share_of_run(box.id)
            if part is None or not part.of:
                continue
            state = states.get(box.id, PENDING)
            if state == CACHED:
                _node(text, box.name or box.text, state, 1.0, "up to date", width)
                continue
            state = DONE if part.done == part.of else state
            if state == RUNNING and not part.done:
                state = PENDING
            count = f"{part.done:,} of {part.of:,}"
            _node(text, box.name or box.text, state, part.done / part.of, count, width)
        return text

    def _by_layer(self) -> Text:
        """The strip of the output that is being written, or was last."""
        watch, plan = self.view.watched, self.view.plan_of_run
        if plan is None:
            return Text("")
        names = [each.destination.text for each in plan.outputs]
        begun = [name for name in names if watch.state.outputs.get(name)
                 and watch.state.outputs[name].state != PENDING]  # fmt: skip
        name = begun[-1] if begun else names[0]
        output = plan.outputs[names.index(name)]
        width = max(8, self.query_one("#run-strip").content_size.width - 12)
        if self._strip[0] != (id(output), width):
            inventory = output.destination.term.inventory
            self._strip = (id(output), width), strip_rows(inventory, width)
        text = Text(no_wrap=True)
        text.append(f"{name}\n", "bold")
        tone = "green" if name in begun else "dim"
        cells = max((len(row.cells) for row in self._strip[1]), default=1)
        for line in strip(self._strip[1], watch.done.get(name, {}), max(1, min(4, width // cells))):
            label, _, cells = line.partition("  ")
            text.append(f"{label}  ", "dim").append(cells + "\n", tone)
        return text

    # Actions

    def can(self, method: str) -> bool:
        match method:
            case "run_recipe":
                return not self.view.has_run_going
            case "pause" | "cancel":
                return self.view.has_run_going
            case "open_result":
                return bool(self.view.results)
        return True

    async def run_recipe(self) -> None:
        await self.view.run_recipe()

    def pause(self) -> None:
        runner = self.view.runner
        if runner.paused:
            runner.resume()
        else:
            runner.pause()
        self.heard()

    def cancel(self) -> None:
        self.view.runner.cancel()
        self.view.notify("cancelling")

    async def open_result(self) -> None:
        await self.view.open_model(str(Path(self.view.results[-1])))


def _node(
    text: Text, name: str, state: str, share: float, count: str, width: int
) -> None:
    """One line of the panel: what room there is goes to the name, then to the bar."""
    mark = MARKS[state] or "·"
    tone = TONES.get(state, "")
    room = max(12, width - 2 - 2 - COUNT)
    named = min(NAME, room * 2 // 3)
    text.append(f"{mark} ", tone).append(f"{shortened(name, named):<{named}}  ")
    text.append(track(share, min(20, max(4, room - named - 2)), tone))
    text.append(f" {count:>{COUNT - 1}}\n", "dim")
