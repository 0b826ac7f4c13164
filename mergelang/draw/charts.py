"""Small charts out of characters: bars, lines of columns, a strip of layers, shades. Pure.

All of them can be read without colour.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from math import floor, isfinite
from typing import NamedTuple

from mergelang.draw.cells import cell_count, padded
from mergelang.tensors import Inventory

COLUMNS = " ▁▂▃▄▅▆▇█"
SHADES = " ·░▒▓█"
PARTS = " ▏▎▍▌▋▊▉█"


def bar(share: float, width: int) -> str:
    """A bar of eighths, `share` of `width` cells long, filled up with blanks."""
    eighths = round(min(max(share, 0.0), 1.0) * width * 8)
    whole, part = divmod(eighths, 8)
    return ("█" * whole + (PARTS[part] if part else "")).ljust(width)


def spark(values: Sequence[float | None]) -> str:
    """One column a value, from the least to the largest of them.

    None and what is not finite is a blank; equal values stand at half height.
    """
    known = [value for value in values if value is not None and isfinite(value)]
    if not known:
        return " " * len(values)
    low, high = min(known), max(known)
    return "".join(
        " " if value is None or not isfinite(value)
        else COLUMNS[1 + _step(value, low, high, len(COLUMNS) - 1)]
        for value in values
    )  # fmt: skip


def _step(value: float, low: float, high: float, count: int) -> int:
    """Which of `count` even steps from `low` to `high` a value falls into."""
    if high <= low:
        return count // 2 - 1 if count > 1 else 0
    return min(max(floor((value - low) / (high - low) * count), 0), count - 1)


def columns(values: Sequence[float], height: int) -> list[str]:
    """A chart of columns, `height` lines high, from 0 to the largest value; one column a value."""
    top = max(values, default=0) or 1
    eighths = [round(value / top * height * 8) for value in values]
    # What is there but too little to be seen is seen.
    pairs = zip(eighths, values, strict=True)
    eighths = [max(each, 1) if value > 0 else 0 for each, value in pairs]
    lines = []
    for line in range(height - 1, -1, -1):
        parts = (min(max(each - 8 * line, 0), 8) for each in eighths)
        lines.append("".join(COLUMNS[part] for part in parts))
    return lines


def shade(value: float | None, low: float, high: float) -> str:
    """One cell, the darker the larger; a blank for what is not known."""
    if value is None or not isfinite(value):
        return SHADES[0]
    return SHADES[1 + _step(value, low, high, len(SHADES) - 1)]


class Row(NamedTuple):
    """A row of a strip: its label, and the members of each of its cells."""

    label: str
    cells: tuple[tuple[str, ...], ...]


def strip_rows(inventory: Inventory, width: int, *, fine: bool = False) -> list[Row]:
    """The tensors of a model by part of a layer and layer, and those outside the layers.

    Parts are attn, mlp, norm; `fine`: the modules of a layer. Where there are more layers than
    `width`, neighbouring ones share a cell.
    """
    layers = inventory.layering.count
    count = max(1, min(layers, width))
    found: dict[str, list[list[str]]] = {}
    outside: dict[str, list[str]] = {}
    for name in inventory:
        layer, rest = inventory.layering.split(name)
        part = _module(rest) if fine else _part(inventory.roles.get(name, frozenset()), rest)
        if layer is None:
            outside.setdefault(part, []).append(name)
        else:
            cells = found.setdefault(part, [[] for _ in range(count)])
            cells[layer * count // layers].append(name)
    rows = [
        Row(part, tuple(map(tuple, found[part])))
        for part in _in_order(found, ("attn", "mlp", "norm"))
    ]
    for part in _in_order(outside, ("embed", "norm", "head")):
        label = "last norm" if part == "norm" and rows else part
        rows.append(Row(label, (tuple(outside[part]),)))
    return rows


def _in_order(parts: Iterable[str], first: tuple[str, ...]) -> list[str]:
    """Those that are known first, in their order; then all others by name."""
    return sorted(parts, key=lambda each: (first.index(each) if each in first else 9, each))


def _part(roles: Iterable[str], rest: str) -> str:
    """The row of a tensor: its most telling role, else the first word of its name."""
    for role in ("norm", "attn", "mlp", "embed", "head"):
        if role in roles:
            return role
    return rest.partition(".")[0]


def _module(rest: str) -> str:
    """The module that a tensor belongs to; experts and the like are one, whatever their number."""
    name = re.sub(r"\.\d+(?=\.)", ".*", rest.removesuffix(".weight"))
    return name.removeprefix("model.")


def strip(rows: Sequence[Row], done: Mapping[str, object], wide: int = 1) -> list[str]:
    """The rows as text: `·` nothing of a cell is done, a column part of it, `█` all of it.

    A cell is `wide` columns, the last of which is a gap where there is room for one.
    """
    width = max((cell_count(row.label) for row in rows), default=0)
    fill = max(1, wide - 1)
    return [
        (padded(row.label, width) + "  " + "".join(
            (_filled(cell, done) * fill).ljust(wide) for cell in row.cells
        )).rstrip()
        for row in rows
    ]  # fmt: skip


def _filled(cell: tuple[str, ...], done: Mapping[str, object]) -> str:
    if not cell:
        return " "
    share = sum(name in done for name in cell) / len(cell)
    if share in (0, 1):
        return "█" if share else "·"
    return COLUMNS[min(max(1, round(share * 8)), 7)]
