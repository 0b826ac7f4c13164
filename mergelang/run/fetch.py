"""Fetches what a plan needs from the Hub, before anything is computed, and tells how it goes."""

import time

from mergelang.errors import InputError, MergelangError, RunError
from mergelang.models.download import fetch
from mergelang.plan.fetches import Fetch, fetches
from mergelang.plan.plan import Plan
from mergelang.run import events
from mergelang.run.workers import Control
from mergelang.wording import message

OFTEN = 0.2
"""Seconds between two events about one file."""


def fetch_sources(
    plan: Plan, listener: events.Listener | None = None, control: Control | None = None
) -> None:
    """Fetches the files of the plan's sources that are not here, one after the other.

    Raises RunError where one cannot be fetched, Cancelled.
    """
    wanted = fetches(plan)
    if not wanted:
        return
    listen = listener or (lambda event: None)
    control = control or Control()
    done, total, start = 0, sum(each.nbytes for each in wanted), time.monotonic()
    listen(events.FetchStarted(len(wanted), total))
    try:
        for each in wanted:
            last = 0.0

            def tell(have: int, each: Fetch = each, before: int = done) -> None:
                nonlocal last
                control.wait()
                seconds = time.monotonic() - start
                if seconds - last >= OFTEN or have == each.nbytes:
                    last = seconds
                    fetched = before + have
                    listen(events.Fetching(each.source, each.name, fetched, round(seconds, 3)))

            fetch(each.snapshot, each.name, each.source, tell)
            done += each.nbytes
    except MergelangError as error:
        found = error.diagnostics[0]
        listen(events.RunFailed(found.code, message(found)))
        if isinstance(error, InputError):
            raise RunError(found.code, **found.facts) from error
        raise
    listen(events.FetchDone(total, round(time.monotonic() - start, 3)))
