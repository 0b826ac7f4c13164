"""Everything there is by name: what the palette finds."""

from typing import Any

from textual.command import DiscoveryHit, Hit, Hits, Provider

from mergelang.ops.registry import operators
from mergelang.tui.actions import ACTIONS, PAGES


class Everything(Provider):
    """All actions, those of other pages by going there first; the documentation of operators."""

    def _entries(self) -> list[tuple[str, str, Any]]:
        view: Any = self.app
        entries = []
        for each in ACTIONS:
            if each.call == "command_palette":
                continue
            for page in each.pages[:1] or (None,):
                title = f"{PAGES[page][1]}: {each.text}" if page else each.text
                entries.append((title, f"{each.shown}", lambda p=page, a=each: self._do(p, a)))
        for name, operator in operators().items():
            summary = operator.signature.summary
            entries.append(
                (f"Operator {name}", summary, lambda name=name: view.action_operator(name))
            )
        return entries

    async def _do(self, page: str | None, action: Any) -> None:
        view: Any = self.app
        if page is not None and view.page.id != page:
            await view.action_go(page)
        if page is not None and not view.page.can(action.method):
            view.notify(f"not now: {action.text}", severity="warning")
            return
        await view.run_action(action.action)

    async def discover(self) -> Hits:
        for title, about, call in self._entries():
            if not title.startswith("Operator "):
                yield DiscoveryHit(title, call, help=about)

    async def search(self, query: str) -> Hits:
        matcher = self.matcher(query)
        for title, about, call in self._entries():
            score = matcher.match(title)
            if score > 0:
                yield Hit(score, matcher.highlight(title), call, help=about)
