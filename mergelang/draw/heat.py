"""A heat map of how two models differ: modules by layers, the darker the more. Styled text."""

from collections.abc import Callable, Mapping, Sequence

from rich.color import Color
from rich.color_triplet import ColorTriplet
from rich.text import Text

from mergelang.draw.cells import cell_count, padded
from mergelang.draw.charts import SHADES, Row, shade
from mergelang.draw.words import shortened
from mergelang.measure import Sums

DIFFERENCE, COSINE, CONFLICTS = "difference", "cosine", "conflicts"

MEASURES: dict[str, Callable[[Sums], float | None]] = {
    DIFFERENCE: lambda found: found.difference,
    COSINE: lambda found: found.cosine,
    CONFLICTS: lambda found: found.conflicts,
}

TITLES = {
    DIFFERENCE: "norm of the difference, relative to the norm of the model",
    COSINE: "cosine between the two task vectors",
    CONFLICTS: "share of elements whose signs conflict, of those that both have changed",
}

LABEL = 26

FAR = 3
"""Times the value that 19 of 20 do not exceed, from which on values are beyond the scale."""


def cell_values(
    rows: Sequence[Row], found: Mapping[str, Sums], measure: str
) -> list[list[float | None]]:
    """The measure of each cell over all its tensors together; None where there is none yet."""
    of = MEASURES[measure]
    return [
        [
            of(sum((found[name] for name in cell if name in found), Sums()))
            for cell in row.cells
        ]
        for row in rows
    ]  # fmt: skip


def heat_lines(
    rows: Sequence[Row], found: Mapping[str, Sums], measure: str, cool: str, warm: str,
    wide: int = 1,
) -> Text:  # fmt: skip
    """The map with its title, the layers above and the scale below; a cell is `wide` columns."""
    values = cell_values(rows, found, measure)
    known = [value for line in values for value in line if value is not None]
    low, high, most = _ends(known)
    width = min(LABEL, max(len("layer"), *(cell_count(row.label) for row in rows), 0))
    count = max((len(row.cells) for row in rows), default=0)
    text = Text(no_wrap=True)
    text.append(f"{TITLES[measure]}\n\n", "bold")
    if count > 1:
        layers = "0".ljust(count * wide - 1) + "→"
        text.append(f"{'layer':>{width}}  {layers}\n", "dim")
    for row, line in zip(rows, values, strict=True):
        text.append(padded(shortened(row.label, width), width, right=True) + "  ", "dim")
        for value in line:
            share = 0.0 if value is None or high <= low else min((value - low) / (high - low), 1.0)
            text.append(shade(value, low, high) * wide, mixed(cool, warm, share))
        if len(line) == 1 and line[0] is not None:
            text.append(f" {line[0]:.4g}", "dim")
        text.append("\n")
    if known:
        text.append("\n" + " " * (width + 2))
        text.append(f"{low:.4g} ", "dim")
        steps = len(SHADES) - 1
        for step in range(steps):
            text.append(SHADES[1 + step] * 3, mixed(cool, warm, step / (steps - 1)))
        text.append(f" {high:.4g}" + (f" and more, up to {most:.4g}" if most > high else ""), "dim")
    return text


def _ends(known: Sequence[float]) -> tuple[float, float, float]:
    """Where the scale begins and ends, and the largest value.

    A few values far above all others do not make the rest of the map one shade.
    """
    if not known:
        return 0.0, 1.0, 1.0
    ordered = sorted(known)
    common, most = ordered[(len(ordered) - 1) * 19 // 20], ordered[-1]
    return ordered[0], common if most > FAR * common > 0 else most, most


def mixed(one: str, other: str, share: float) -> str:
    """A colour between two, as `#rrggbb`."""
    a, b = (Color.parse(each).get_truecolor() for each in (one, other))
    parts = (round(x + (y - x) * share) for x, y in zip(a, b, strict=True))
    return ColorTriplet(*parts).hex
