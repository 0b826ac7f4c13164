"""The licence that a model states, in the metadata at the top of its card (`README.md`)."""

import re
from pathlib import Path

CARD = "README.md"
LARGEST = 1 << 20
"""Bytes of a card that are looked at."""

_FIELD = re.compile(r"^(license|license_name|license_link):[ \t]*(\S.*?)[ \t]*$", re.MULTILINE)
_ITEMS = re.compile(r"^license:[ \t]*\n((?:[ \t]*-[ \t]+\S.*\n)+)", re.MULTILINE)


def licence_of(folder: Path) -> tuple[str, ...]:
    """The lines of a card that state its licence, in one form; empty where there are none.

    Of `license: other` its name and link belong to it.
    """
    try:
        with open(folder / CARD, "rb") as file:
            text = file.read(LARGEST).decode("utf-8", errors="replace").replace("\r\n", "\n")
    except OSError:
        return ()
    if not text.startswith("---\n"):
        return ()
    front, closed, _ = text[4:].partition("\n---")
    if not closed:
        return ()
    found = {name: value.strip("\"'") for name, value in _FIELD.findall(front)}
    items = _ITEMS.search(front + "\n")
    if items:
        names = sorted(line.strip(" \t-\"'") for line in items[1].splitlines())
        found["license"] = f"[{', '.join(names)}]"
    if "license" not in found:
        return ()
    return tuple(f"{name}: {found[name]}" for name in
                 ("license", "license_name", "license_link") if name in found)  # fmt: skip
