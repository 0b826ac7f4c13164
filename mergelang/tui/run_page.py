"""The page of the run: how far it is, node by node and layer by layer, and what it says."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.widgets import RichLog, Static

from mergelang.draw.cells import cell_count, padded
from mergelang.draw.charts import Row, strip, strip_rows
from mergelang.draw.picture import SOURCE
from mergelang.draw.units import size
from mergelang.draw.words import shortened
from mergelang.tui.page import Page, Panel
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
NAME, BAR = 40, 20
"""Columns of a node's name, and of its bar, at most."""


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
            with Panel(id="run-nodes"):
                yield Static(id="run-nodes-text", markup=False)
            with Panel(id="run-strip"):
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

    def on_panel_sized(self) -> None:
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
            text = Text("nothing runs. ", "dim")
            if self.view.obstacle:
                text.append(self.view.obstacle, "dim")
            else:
                plan = self.view.look.plan
                text.append("r").append(" runs ", "dim").append(self.view.title_of_recipe)
                text.append(
                    f": reads {size(plan.bytes_read)}, writes {size(plan.bytes_written)}", "dim"
                )
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
        watch, seen = self.view.watched, self.view.seen_of_run
        width = self.query_one("#run-nodes", Panel).columns
        if seen is None:
            return nodes_text([
                (name, each.state, each.done / each.tensors if each.tensors else 0.0,
                 f"{each.done:,} of {each.tensors:,}")
                for name, each in watch.state.outputs.items()
            ], width)  # fmt: skip
        outputs = output_states(None, watch.state)
        states = box_states(seen.picture, outputs)
        rows = []
        for box in seen.picture.boxes:
            part = None if box.kind == SOURCE else self.view.share_of_run(box.id)
            if part is None or not part.of:
                continue
            name, state = box.name or box.text, states.get(box.id, PENDING)
            if state == CACHED:
                rows.append((name, state, 1.0, "up to date"))
                continue
            state = DONE if part.done == part.of else state
            if state == RUNNING and not part.done:
                state = PENDING
            rows.append((name, state, part.done / part.of, f"{part.done:,} of {part.of:,}"))
        return nodes_text(rows, width)

    def _by_layer(self) -> Text:
        """The strip of the output that is being written, or was last."""
        watch, plan = self.view.watched, self.view.plan_of_run
        if plan is None:
            return Text("")
        names = [each.destination.text for each in plan.outputs]
        states = {name: each.state for name, each in watch.state.outputs.items()}
        begun = [name for name in names if states.get(name, PENDING) != PENDING]
        name = begun[-1] if begun else names[0]
        output = plan.outputs[names.index(name)]
        width = max(8, self.query_one("#run-strip", Panel).columns - 12)
        if self._strip[0] != (id(output), width):
            inventory = output.destination.term.inventory
            self._strip = (id(output), width), strip_rows(inventory, width)
        text = Text(no_wrap=True)
        text.append(f"{name}\n", "bold")
        tone = "green" if name in begun else "dim"
        cells = max((len(row.cells) for row in self._strip[1]), default=1)
        done = watch.done.get(name, {})
        if states.get(name) == CACHED:
            done = output.destination.term.inventory.tensors
        for line in strip(self._strip[1], done, max(1, min(4, width // cells))):
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

    def cancel(self) -> None:
        self.view.runner.cancel()
        self.view.notify("cancelling")

    async def open_result(self) -> None:
        await self.view.open_model(str(Path(self.view.results[-1])))


def nodes_text(rows: Sequence[tuple[str, str, float, str]], width: int) -> Text:
    """A line for each node: its state, its name, a bar, how much is done, in so many columns."""
    named = min(max((cell_count(name) for name, *_ in rows), default=0), NAME)
    count = max((len(said) for *_, said in rows), default=0)
    long = max(4, min(BAR, width - named - count - 6))
    named = max(8, min(named, width - long - count - 6))
    text = Text(no_wrap=True)
    for name, state, share, said in rows:
        tone = TONES.get(state, "")
        text.append(f"{MARKS[state] or '·'} ", tone)
        text.append(padded(shortened(name, named), named) + "  ").append(track(share, long, tone))
        text.append(f"  {said:>{count}}\n", "dim")
    return text
