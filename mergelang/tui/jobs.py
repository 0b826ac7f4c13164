"""Work on threads whose results are taken up by a timer: no thread ever touches a widget."""

from collections import deque
from collections.abc import Callable
from threading import Thread
from typing import Any

from mergelang.errors import MergelangError


class Jobs:
    """Starts work by name; a newer work of the same name makes the older one's result void."""

    def __init__(self) -> None:
        self._inbox: deque[tuple[str, int, Callable[[], None]]] = deque()
        self._numbers: dict[str, int] = {}
        self._running = 0

    def start(
        self, name: str, work: Callable[..., Any], then: Callable[[Any], None],
        failed: Callable[[Exception], None], *, progress: Callable[[Any], None] | None = None,
    ) -> None:  # fmt: skip
        """Runs `work` on a thread; `then` takes its result, `failed` what it raised.

        With `progress`, `work` is given a function: what it is called with comes to `progress`. It
        returns False once the work is no longer wanted.
        """
        number = self._numbers[name] = self._numbers.get(name, 0) + 1

        def say(part: Any) -> bool:
            self._inbox.append((name, number, lambda: progress(part)))
            return self._numbers[name] == number

        def body() -> None:
            try:
                result = work(say) if progress is not None else work()
                self._inbox.append((name, number, lambda: then(result)))
            except Exception as error:
                self._inbox.append((name, number, lambda error=error: failed(error)))

        Thread(target=body, name=name, daemon=True).start()

    def drop(self, name: str) -> None:
        """What is being done under a name is no longer wanted."""
        self._numbers[name] = self._numbers.get(name, 0) + 1

    def drain(self) -> None:
        """Takes up what has come; called by the timer, where widgets live."""
        for _ in range(len(self._inbox)):
            name, number, take = self._inbox.popleft()
            if self._numbers[name] == number:
                take()


def reason(error: Exception) -> str:
    """What a failed work is told with."""
    if isinstance(error, MergelangError):
        return str(error)
    return f"{type(error).__name__}: {error}"
