"""The LALR parser of one statement, built from grammar/mergelang.lark and kept in a cache."""

import os
from functools import cache
from hashlib import sha256
from pathlib import Path

from lark import Lark

from mergelang.files import cache_folder

_PACKAGE = Path(__file__).parent.parent


def grammar() -> str:
    """The text of the grammar: from the wheel, or from the project's `grammar/`."""
    installed = _PACKAGE / "grammar" / "mergelang.lark"
    path = installed if installed.is_file() else _PACKAGE.parent / "grammar" / "mergelang.lark"
    return path.read_text(encoding="utf-8")


@cache
def parser() -> Lark:
    """The parser; its tables come from our cache folder when they are there."""
    text = grammar()
    return Lark(text, cache=_cached(text) or False, **OPTIONS)


OPTIONS = {
    "parser": "lalr",
    "lexer": "contextual",
    "start": "start",
    "propagate_positions": True,
    "maybe_placeholders": True,
}
"""How the grammar is read; tests add `strict=True`."""


def _cached(text: str) -> str | None:
    """The file for the tables of this grammar; None where no folder can be written.

    The tables are a pickle, so the folder is the user's own, never a shared temporary one.
    """
    folder = cache_folder()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError:
        return None
    if not os.access(folder, os.W_OK):
        return None
    return str(folder / f"grammar-{sha256(text.encode()).hexdigest()[:16]}.tables")
