"""The line at the top: the pages, and the recipe with its state."""

from rich.text import Text
from textual import events
from textual.widget import Widget
from textual.widgets import ContentSwitcher

from mergelang.tui.actions import PAGES
from mergelang.tui.progress import MARKS

NARROW = 100
"""Columns under which the keys of the pages are left out."""


class Heading(Widget):
    """A click on a page goes there."""

    def _parts(self) -> list[tuple[str, str]]:
        """Each page with what is shown of it."""
        keys = self.size.width >= NARROW
        return [
            (name, f" {key} {title} " if keys else f" {title} ")
            for name, (key, title) in PAGES.items()
        ]

    def render(self) -> Text:
        view = self.app
        current = view.query_one("#pages", ContentSwitcher).current
        text = Text(no_wrap=True, overflow="crop")
        theme = view.current_theme
        for name, said in self._parts():
            style = f"bold {theme.background} on {theme.primary}" if name == current else ""
            text.append(said, style)
        said, tone = view.summary()
        right = Text(no_wrap=True)
        if view.has_run_going:
            right.append(f"{MARKS['paused' if view.is_paused else 'running']} "
                         f"{view.watched.state.share:.0%}  ", f"bold {theme.warning}")  # fmt: skip
        right.append(view.title_of_recipe, "bold")
        right.append(" •" if view.is_changed else "", f"bold {theme.warning}")
        right.append(f"  {said} ", getattr(theme, tone) if tone else "dim")
        room = self.size.width - text.cell_len
        if right.cell_len > room:
            right = right[-room:] if room > 0 else Text()
        text.append(" " * max(0, room - right.cell_len)).append(right)
        return text

    async def on_click(self, event: events.Click) -> None:
        at = 0
        for name, said in self._parts():
            if at <= event.x < at + len(said):
                await self.app.action_go(name)
            at += len(said)

    def on_resize(self) -> None:
        self.refresh()
