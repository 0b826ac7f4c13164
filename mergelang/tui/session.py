"""One run of a recipe, started on a thread and watched from another. Knows no widgets."""

from collections import deque
from collections.abc import Iterator
from typing import Any

from mergelang.errors import MergelangError
from mergelang.run.events import Event


class Session:
    """Keeps what a run says, whether it failed, and the means to cancel it."""

    def __init__(self) -> None:
        self.failure: MergelangError | None = None
        self.cancelled = False
        self._events: deque[Event] = deque()
        self._control: Any = None

    def work(self, recipe: Any) -> None:
        """Runs a recipe (anything with `run(listener=, control=)`) to its end.

        An expected failure is kept in `failure`.
        """
        from mergelang.run.workers import Control

        self._control = Control()
        if self.cancelled:
            self._control.cancel()
        try:
            recipe.run(listener=self._events.append, control=self._control)
        except MergelangError as error:
            self.failure = error

    def cancel(self) -> None:
        """Asks the run to stop, from any thread, also before it has started."""
        self.cancelled = True
        if self._control is not None:
            self._control.cancel()

    def events(self) -> Iterator[Event]:
        """What was said since this was last asked."""
        while self._events:
            yield self._events.popleft()
