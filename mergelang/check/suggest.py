"""Guesses what was meant: near names, and numbers as people write them."""

from collections.abc import Iterable
from decimal import Context, Decimal
from difflib import get_close_matches
from fractions import Fraction


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name most like this one, or the only one that it is the beginning of, three letters
    or more; None when there is none."""
    known = list(dict.fromkeys(known))
    lowered = {each.lower(): each for each in reversed(known)}
    found = get_close_matches(name, known, 1, 0.6) or [
        lowered[each] for each in get_close_matches(name.lower(), lowered, 1, 0.6)
    ]
    if not found and len(name) >= 3:
        longer = [each for low, each in lowered.items() if low.startswith(name.lower())]
        found = longer if len(longer) == 1 else []
    return found[0] if found else None


def listed(names: Iterable[str], most: int = 12, last: str = "and") -> str:
    """`a`, `b` and `c`: a list for a sentence, cut off when long; empty for none."""
    names = list(names)
    shown = [f"`{name}`" for name in names[:most]]
    if len(names) > most:
        return f"{', '.join(shown)}, ... ({len(names)} in all)"
    return f" {last} ".join(filter(None, [", ".join(shown[:-1]), *shown[-1:]]))


def show(value: Fraction | int | float) -> str:
    """A number as one would write it: 0.3, 12, 1/3, 1e+300."""
    value = Fraction(value)
    if value.denominator == 1 and abs(value) < 10**15:
        return str(value.numerator)
    rest = value.denominator
    for prime in (2, 5):
        while rest % prime == 0:
            rest //= prime
    if rest == 1 or abs(value) >= 10**15:
        parts = Decimal(value.numerator), Decimal(value.denominator)
        return f"{Context(prec=12).divide(*parts).normalize():g}"
    return f"{value.numerator}/{value.denominator}"


def counted(count: int, what: str) -> str:
    """`1 tensor`, `3 tensors`."""
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
