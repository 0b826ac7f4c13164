"""What all pages have in common, and how one is made."""

from importlib import import_module
from typing import TYPE_CHECKING

from textual.containers import Container, VerticalScroll
from textual.message import Message
from textual.widget import Widget

if TYPE_CHECKING:
    from mergelang.tui.app import View


class Page(Container):
    """One page of the view, made when it is first shown. Actions of the table that name the page
    are its methods."""

    @property
    def view(self) -> "View":
        return self.app  # type: ignore[return-value]

    def on_mount(self) -> None:
        """Takes up what is known by now; comes after what a page does itself when it is mounted."""
        if self.view.has_looked:
            self.looked()
        self.heard()

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


class Panel(VerticalScroll):
    """A part of a page whose text depends on its width."""

    class Sized(Message):
        """A panel has another size."""

    @property
    def columns(self) -> int:
        """Columns of the text, beside a scrollbar that may come."""
        return self.content_size.width - 1

    def on_resize(self) -> None:
        self.post_message(self.Sized())


def page_of(name: str) -> Page:
    """A page by its name. What it needs is imported now: the view begins without the others."""
    module = import_module(f"mergelang.tui.{name}_page")
    return getattr(module, f"{name.capitalize()}Page")(id=name)
