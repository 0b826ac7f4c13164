"""The histogram of a tensor as text."""

from mergelang.draw.charts import columns
from mergelang.draw.units import counted
from mergelang.measure import Histogram

HEIGHT = 8


def histogram_lines(found: Histogram, height: int = HEIGHT) -> list[str]:
    """Columns over an axis with its ends."""
    if not found.count:
        return ["no finite value"]
    width = len(found.counts)
    low, high = f"{found.low:.4g}", f"{found.high:.4g}"
    lines = [line.rstrip() for line in columns(found.counts, height)]
    return [*lines, "▔" * width, f"{low} {high:>{max(0, width - len(low) - 1)}}"]


def histogram_facts(found: Histogram) -> list[tuple[str, str]]:
    """Mean, deviation, zeros, and what is not finite."""
    if not found.count:
        return []
    facts = [
        ("mean", f"{found.mean:.6g}"), ("deviation", f"{found.deviation:.6g}"),
        ("zeros", f"{found.zeros:,} ({found.zeros / found.count:.2%})"),
    ]  # fmt: skip
    if found.nonfinite:
        facts.append(("not finite", counted(found.nonfinite, "value")))
    return facts
