"""How the lines of a layered drawing run: down, along a track of their own, down.

Every box has one exit below and an entry of its own above for each line it takes. Lines that leave
one box share their way; all others only cross, and a crossing is the only place with four arms.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from math import inf

from mergelang.draw.layers import Item, Layers, Passage

CROWDED = 4
"""What it costs that two lines enter side by side, in columns off their way."""

_NOWHERE = (inf, ())


@dataclass(frozen=True)
class Segment:
    """A horizontal piece: from column `left` to `right`, reached from above at `exit`."""

    item: Item
    left: int
    right: int
    exit: int
    entries: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Channel:
    """The space between two layers: segments by track, entry columns by line, exits by item."""

    tracks: tuple[tuple[Segment, ...], ...]
    entries: Mapping[tuple[Item, Item], int]
    exits: Mapping[Item, int]

    def track(self, item: Item, entry: int) -> int | None:
        """The track on which a line to `entry` runs; None where it goes straight down."""
        if entry == self.exits[item]:
            return None
        for number, segments in enumerate(self.tracks):
            for segment in segments:
                if segment.item == item and segment.left <= entry <= segment.right:
                    return number
        raise AssertionError("a line without a track")


@dataclass
class _Columns:
    widths: Mapping[str, int]
    left: Mapping[Item, int]
    exits: dict[Item, int] = field(default_factory=dict)


def route(layers: Layers, widths: Mapping[str, int]) -> tuple[Channel, ...]:
    """The channels under each layer but the last."""
    columns = _Columns(widths, layers.left)
    channels = []
    for upper, lower in pairwise(layers.rows or ((),)):
        for item in upper:
            if not isinstance(item, Passage):
                columns.exits[item] = layers.left[item] + widths[item] // 2
        exits = {item: columns.exits[item] for item in upper if layers.below[item]}
        sources: dict[Item, list[Item]] = {item: [] for item in lower}
        for item in exits:
            for each in layers.below[item]:
                sources[each].append(item)
        entries: dict[tuple[Item, Item], int] = {}
        taken = {column: item for item, column in exits.items()}
        for item in lower:
            for source, column in _entries(item, sources[item], columns, taken).items():
                entries[source, item] = column
        channels.append(Channel(_tracks(_segments(exits, entries)), entries, exits))
    return tuple(channels)


def _entries(
    item: Item, sources: list[Item], columns: _Columns, taken: Mapping[int, Item]
) -> dict[Item, int]:
    """A column for each line that enters: straight under its exit where it can, in their order,
    and never under the exit of another box."""
    left = columns.left[item]
    passes = isinstance(item, Passage)
    low, high = (left, left + 2) if passes else (left + 1, left + columns.widths[item] - 2)
    sources = sorted(sources, key=columns.exits.__getitem__)
    # best[x]: least cost of the lines so far with the last at or left of x, and their columns.
    best: list[tuple[float, tuple[int, ...]]] = [(0, ())] * (high - low + 3)
    for number, source in enumerate(sources):
        exit = columns.exits[source]
        wanted = exit if low <= exit <= high else _aside(number, len(sources), low, high)
        here = [_NOWHERE, _NOWHERE]
        for at, x in enumerate(range(low, high + 1), 2):
            cost, chosen = best[at - 2]
            beside = best[at - 1]
            if beside[0] + CROWDED < cost:
                cost, chosen = beside[0] + CROWDED, beside[1]
            if taken.get(x, source) != source:
                cost = inf
            here.append(min(here[-1], (cost + abs(x - wanted), (*chosen, x))))
        best = here
    chosen = dict(zip(sources, best[-1][1], strict=True))
    if passes:
        columns.exits[item] = chosen[sources[0]]
    return chosen


def _aside(number: int, count: int, low: int, high: int) -> int:
    """Evenly over the width."""
    return low + round((2 * number + 1) * (high - low) / (2 * count))


def _segments(exits: Mapping[Item, int], entries: Mapping[tuple[Item, Item], int]) -> list[Segment]:
    ends: dict[Item, list[int]] = {item: [] for item in exits}
    for (source, _), column in entries.items():
        ends[source].append(column)
    segments = []
    for item, columns in ends.items():
        exit = exits[item]
        lefts = tuple(sorted(x for x in columns if x < exit))
        rights = tuple(sorted(x for x in columns if x > exit))
        if lefts and rights and exit not in columns:
            segments.append(Segment(item, lefts[0], rights[-1], exit, lefts + rights))
            continue
        # With a straight way down too, both sides on tracks of their own: no four arms.
        if lefts:
            segments.append(Segment(item, lefts[0], exit, exit, lefts))
        if rights:
            segments.append(Segment(item, exit, rights[-1], exit, rights))
    return segments


def _tracks(segments: list[Segment]) -> tuple[tuple[Segment, ...], ...]:
    """Segments on as few rows as their order needs, ordered for few crossings."""
    order = sorted(segments, key=lambda each: (each.left, each.right))
    for _ in range(len(order)):
        swapped = False
        for i in range(len(order) - 1):
            a, b = order[i], order[i + 1]
            if _crossings(a, b) > _crossings(b, a):
                order[i], order[i + 1] = b, a
                swapped = True
        if not swapped:
            break
    rows: list[list[Segment]] = []
    for segment in order:
        row = len(rows)
        while row and all(
            each.right < segment.left or segment.right < each.left for each in rows[row - 1]
        ):
            row -= 1
        if row == len(rows):
            rows.append([])
        rows[row].append(segment)
    return tuple(map(tuple, rows))


def _crossings(above: Segment, below: Segment) -> int:
    """How often two segments cross when one is above the other."""
    drops = sum(below.left < x < below.right for x in above.entries)
    return drops + (above.left < below.exit < above.right)
