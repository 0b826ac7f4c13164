"""Where the boxes of a layered drawing stand: in which layer, in which order, at which column.

Lines that pass a layer have a `Passage` in it, so every line joins neighbouring layers; the lines
of one box share theirs. Longest paths, barycentres, then least squares under minimal distances.
After Sugiyama, Tagawa, Toda: Methods for Visual Understanding of Hierarchical System Structures.
"""

from bisect import bisect_right, insort
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

SWEEPS = 8
GAP = 2
"""Columns between boxes."""


class Passage(NamedTuple):
    """A place in a layer where the lines of a box pass."""

    box: str
    layer: int


Item = str | Passage


@dataclass(frozen=True)
class Layers:
    """Items from left to right in each layer, their left columns, the items below each."""

    rows: tuple[tuple[Item, ...], ...]
    left: Mapping[Item, int]
    below: Mapping[Item, tuple[Item, ...]]


def arrange(widths: Mapping[str, int], lines: Sequence[tuple[str, str]]) -> Layers:
    """Places boxes (width by name, in the order wanted) whose lines go from first to second.

    Lines must not form a cycle. A passage is three columns wide.
    """
    layer = _layers(list(widths), lines)
    rows: list[list[Item]] = [[] for _ in range(max(layer.values(), default=-1) + 1)]
    for box in widths:
        rows[layer[box]].append(box)
    below: dict[Item, dict[Item, None]] = {box: {} for box in widths}
    for source, target in lines:
        at: Item = source
        for between in range(layer[source] + 1, layer[target]):
            passage = Passage(source, between)
            if passage not in below:
                below[passage] = {}
                rows[between].append(passage)
            below[at][passage] = None
            at = passage
        below[at][target] = None
    down = {item: tuple(items) for item, items in below.items()}
    up: dict[Item, list[Item]] = {item: [] for item in down}
    for item, items in down.items():
        for each in items:
            up[each].append(item)
    ordered = _order(rows, up, down)
    return Layers(tuple(map(tuple, ordered)), _columns(ordered, widths, up, down), down)


def _layers(boxes: list[str], lines: Sequence[tuple[str, str]]) -> dict[str, int]:
    """As deep as the longest path from above; what has nothing above it as low as it can."""
    above: dict[str, list[str]] = {box: [] for box in boxes}
    users: dict[str, list[str]] = {box: [] for box in boxes}
    for source, target in lines:
        above[target].append(source)
        users[source].append(target)
    layer: dict[str, int] = {}
    waiting = {box: len(above[box]) for box in boxes}
    ready = [box for box in boxes if not above[box]]
    for box in ready:
        layer[box] = 1 + max((layer[each] for each in above[box]), default=-1)
        for user in users[box]:
            waiting[user] -= 1
            if not waiting[user]:
                ready.append(user)
    for box in boxes:
        if not above[box] and users[box]:
            layer[box] = min(layer[user] for user in users[box]) - 1
    return layer


def _order(
    rows: list[list[Item]], up: Mapping[Item, list[Item]], down: Mapping[Item, tuple[Item, ...]]
) -> list[list[Item]]:
    """The rows with few crossings: barycentres from above and from below, the best sweep kept."""
    best, fewest = rows, _crossings(rows, down)
    rows = list(rows)
    for sweep in range(SWEEPS):
        if not fewest:
            break
        neighbours, numbers = (up, range(1, len(rows))) if sweep % 2 == 0 else (
            down, range(len(rows) - 2, -1, -1)
        )  # fmt: skip
        for i in numbers:
            beside = rows[i - 1] if sweep % 2 == 0 else rows[i + 1]
            position = {item: at for at, item in enumerate(beside)}
            rows[i] = _by_barycentre(rows[i], position, neighbours)
        count = _crossings(rows, down)
        if count < fewest:
            best, fewest = list(rows), count
    return best


def _by_barycentre(
    row: list[Item], position: Mapping[Item, int], neighbours: Mapping[Item, Sequence[Item]]
) -> list[Item]:
    weight = {}
    for at, item in enumerate(row):
        near = neighbours[item]
        weight[item] = sum(position[each] for each in near) / len(near) if near else float(at)
    return sorted(row, key=weight.__getitem__)


def _crossings(rows: list[list[Item]], down: Mapping[Item, tuple[Item, ...]]) -> int:
    count = 0
    for upper, lower in pairwise(rows):
        position = {item: at for at, item in enumerate(lower)}
        seen: list[int] = []
        for item in upper:
            ends = [position[each] for each in down[item]]
            count += sum(len(seen) - bisect_right(seen, end) for end in ends)
            for end in ends:
                insort(seen, end)
    return count


def _columns(
    rows: list[list[Item]], widths: Mapping[str, int], up: Mapping[Item, list[Item]],
    down: Mapping[Item, tuple[Item, ...]],
) -> dict[Item, int]:  # fmt: skip
    """Left columns: each item near the middle of its neighbours, none closer than the gap."""
    width = {item: 3 if isinstance(item, Passage) else widths[item] for row in rows for item in row}
    centre: dict[Item, float] = {}
    for row in rows:
        at = 0.0
        for item in row:
            centre[item] = at + width[item] / 2
            at += width[item] + GAP
    for sweep in range(6):
        turn = rows if sweep % 2 == 0 else rows[::-1]
        for row in turn:
            wanted = []
            for item in row:
                near = up[item] if sweep % 2 == 0 else down[item]
                if not near:
                    near = down[item] if sweep % 2 == 0 else up[item]
                mean = sum(centre[each] for each in near) / len(near) if near else centre[item]
                wanted.append(mean)
            for item, x in zip(row, _spread(row, wanted, width), strict=True):
                centre[item] = x
    left = {item: round(x - width[item] / 2) for item, x in centre.items()}
    for row in rows:  # rounding may have brought two too close
        for one, other in pairwise(row):
            left[other] = max(left[other], left[one] + width[one] + _gap(one, other))
    first = min(left.values(), default=0)
    return {item: x - first for item, x in left.items()}


def _gap(one: Item, other: Item) -> int:
    return 0 if isinstance(one, Passage) and isinstance(other, Passage) else GAP


def _spread(row: list[Item], wanted: list[float], width: Mapping[Item, int]) -> list[float]:
    """The centres nearest to those wanted (least squares) that keep order and distance.

    Pool adjacent violators, after taking the distances out.
    """
    offsets, at = [], 0.0
    for i, item in enumerate(row):
        if i:
            before = row[i - 1]
            at += width[before] / 2 + width[item] / 2 + _gap(before, item)
        offsets.append(at)
    pools: list[list[float]] = []  # sum and count of what stands together
    for want, offset in zip(wanted, offsets, strict=True):
        pools.append([want - offset, 1])
        while len(pools) > 1 and pools[-2][0] / pools[-2][1] >= pools[-1][0] / pools[-1][1]:
            total, count = pools.pop()
            pools[-1][0] += total
            pools[-1][1] += count
    means = [total / count for total, count in pools for _ in range(int(count))]
    return [mean + offset for mean, offset in zip(means, offsets, strict=True)]
