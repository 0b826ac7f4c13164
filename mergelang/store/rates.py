"""How fast this machine does what a cache saves, as runs have measured it.

Each rate is seconds for a unit of work: a byte read back from the store (`read`), written to it
(`write`) or read by a pass over tensors (`pass`, of some operators `pass slerp ties`), or of a
function on whole tensors an element
times the shorter side of its matrix. What was never measured takes what it took where this was
written, a server of 2023.
"""

import json
from collections.abc import Mapping
from contextlib import suppress

from mergelang.files import cache_folder
from mergelang.store.whole import write_whole

READ, WRITE, PASS = "read", "write", "pass"

USUAL = {READ: 0.5e-9, WRITE: 1.0e-9, PASS: 0.5e-9}
FUNCTION = 0.4e-9
"""Seconds for a unit of work of a function that was never measured."""

_WEIGHT = 0.3
"""How much a new measurement counts against those before it."""


def rates() -> dict[str, float]:
    """All rates measured so far, over the usual ones."""
    return USUAL | _measured()


def seconds(known: Mapping[str, float], what: str, work: float) -> float:
    """What some work takes."""
    return known.get(what, USUAL.get(what, FUNCTION)) * work


def note(what: str, took: float, work: float) -> None:
    """Keeps a measurement. Of two processes that do so at once, one is lost."""
    if work <= 0 or took <= 0:
        return
    known = _measured()
    rate = took / work
    known[what] = known[what] * (1 - _WEIGHT) + rate * _WEIGHT if what in known else rate
    with suppress(OSError):
        write_whole(cache_folder() / "rates.json", json.dumps(known, sort_keys=True).encode())


def _measured() -> dict[str, float]:
    try:
        found = json.loads((cache_folder() / "rates.json").read_bytes())
        return {str(name): float(rate) for name, rate in found.items() if 0 < float(rate) < 1}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}
