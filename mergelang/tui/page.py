"""What all pages have in common."""

from typing import TYPE_CHECKING

from textual.containers import Container
from textual.widget import Widget

if TYPE_CHECKING:
    from mergelang.tui.app import View


class Page(Container):
    """One page of the view. Actions of the table that name the page are its methods."""

    @property
    def view(self) -> "View":
        return self.app  # type: ignore[return-value]

    def entered(self) -> None:
        """The page is shown; what has the focus there gets it."""

    def take_focus(self, widget: Widget) -> None:
        """Now, so that the next key goes there; `Widget.focus` lets some time pass before."""
        self.screen.set_focus(widget)

    def looked(self) -> None:
        """`view.look` is new."""

    def heard(self) -> None:
        """The run has gone on, or another one is watched."""

    def can(self, method: str) -> bool:
        """Whether an action makes sense now."""
        return True
