"""The page of the plan: sliders for the params, what a run would do, memory and disk."""

import os
from fractions import Fraction
from pathlib import Path
from typing import Any

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widgets import Checkbox, Input, Static

from mergelang.check.program import Parameter
from mergelang.draw.cells import cell_count, padded
from mergelang.draw.plan_text import WIDTH, disks, plan_text
from mergelang.draw.units import size
from mergelang.draw.words import number_text, path_shortened
from mergelang.plan.memory import wanted_memory
from mergelang.plan.plan import Plan
from mergelang.tui.details import param_text
from mergelang.tui.page import Page, Panel
from mergelang.tui.progress import track
from mergelang.tui.slider import Slider
from mergelang.wording import render

BAR = 20


class PlanPage(Page):
    """Shows `view.look.plan`; what is set here goes into `view.settings`."""

    def __init__(self, **options):
        super().__init__(**options)
        self._params: dict[str, tuple[Any, ...]] = {}

    def compose(self) -> ComposeResult:
        yield Vertical(id="params")
        with Panel(id="plan-scroll"):
            yield Static(id="plan-machine", markup=False)
            yield Static(id="plan-text", markup=False)

    def entered(self) -> None:
        self._focus_first()

    def _focus_first(self) -> None:
        first = next(iter(self.query_one("#params").children), None)
        self.take_focus(first or self.query_one("#plan-scroll"))

    def looked(self) -> None:
        look = self.view.look
        if look.seen is not None:
            self._show_params(look.seen.program.params)
        self.query_one("#plan-scroll").set_class(look.plan is None, "stale")
        machine = self.query_one("#plan-machine", Static)
        text = self.query_one("#plan-text", Static)
        machine.display = look.plan is not None
        if look.plan is not None:
            machine.update(machine_text(look.plan))
            width = max(WIDTH, self.query_one(Panel).columns)
            text.update(Text(plan_text(look.plan, width)))
        elif look.unplanned or look.errors:
            found = look.unplanned or look.errors
            text.update(Text("\n\n".join(map(render, found))))
        elif look.seen is not None:
            text.update('there is nothing to plan: the recipe has no `output "folder" = ...`')

    def on_panel_sized(self) -> None:
        if self.view.look.plan is not None:
            self.looked()

    # Params

    def _show_params(self, params: Any) -> None:
        """One widget a param; they stay as long as the params are the same but for their values."""
        facts = {
            each.name: (each.default, *sorted(each.record.items())) for each in params.values()
        }
        if facts == self._params:
            return
        self._params = facts
        home = self.query_one("#params")
        home.remove_children()
        width = max((cell_count(name) for name in params), default=0)
        home.mount_all([_control(each, width) for each in params.values()])
        home.display = bool(params)
        if self.view.page is self:
            self.call_after_refresh(self._focus_first)

    @on(Slider.Changed)
    def _slid(self, event: Slider.Changed) -> None:
        self._set(event.slider.label, event.slider.value)

    @on(Checkbox.Changed)
    def _ticked(self, event: Checkbox.Changed) -> None:
        self._set(event.checkbox.name, event.value)

    @on(Input.Submitted)
    def _written(self, event: Input.Submitted) -> None:
        self._set(event.input.name, event.value)

    def _set(self, name: str, value: Any) -> None:
        default = self._params[name][0]
        self.view.set_param(name, None if value == default else exact_text(value))

    # Actions

    def can(self, method: str) -> bool:
        return method != "defaults" or bool(self.view.settings)

    def defaults(self) -> None:
        """Sets every param back."""
        self.view.settings.clear()
        with self.prevent(Slider.Changed, Checkbox.Changed):
            for each in self.query_one("#params").children:
                default = self._params[each.name][0]
                if isinstance(each, Slider):
                    each.set(default)
                else:
                    each.value = default
        self.view.check()

    async def run_recipe(self) -> None:
        await self.view.run_recipe()


def _control(param: Parameter, width: int) -> Any:
    """The widget that sets a param."""
    if isinstance(param.value, bool):
        return Checkbox(param.name, param.value, name=param.name, compact=True)
    if isinstance(param.value, str):
        field = Input(param.value, name=param.name, compact=True)
        field.border_title = param.name
        return field
    low, high = param.record.get("min"), param.record.get("max")
    return Slider(param.name, param.value, param.default, low, high, label_width=width)


def exact_text(value: Any) -> str:
    """A value as `--set` takes it."""
    if isinstance(value, Fraction):
        text = number_text(value)
        return text if "/" not in text else f"{float(value):.12g}"
    return param_text(value)


def machine_text(plan: Plan) -> Text:
    """Memory that a run is given and disk that it needs, against what there is."""
    rows = [("memory at most", wanted_memory(plan), machine_memory(), "there")]
    for folder, wanted, free in disks(plan):
        rows.append((f"disk of {_short(folder)}", wanted, free, "free"))
    width = max(cell_count(row[0]) for row in rows)
    text = Text(no_wrap=True)
    for name, wanted, total, word in rows:
        share = wanted / total if total else 0.0
        tone = "red" if share > 1 else "yellow" if share > 0.8 else "green"
        note = "  too little" if share > 1 else ""
        text.append(padded(name, width) + "  ", "bold").append(track(share, BAR, tone))
        text.append(f"  {size(wanted)} of {size(total)} {word}", "").append(f"{note}\n", "bold red")
    return text


def _short(folder: Path) -> str:
    return path_shortened(str(folder), 18)


def machine_memory() -> int:
    """Bytes of memory of this machine; 0 where the system does not say."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):
        return 0
