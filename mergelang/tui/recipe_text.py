"""A recipe as styled text, for reading; and the difference of two."""

import difflib

from rich.text import Text

from mergelang.lang.highlight import words
from mergelang.tui.colours import EDITORS


def recipe_text(text: str, theme: str) -> Text:
    """The text with its words in the colours of a theme of the app."""
    styles = EDITORS[theme].syntax_styles if theme in EDITORS else {}
    shown = Text(text, no_wrap=True)
    for word in words(text):
        style = styles.get(word.kind)
        if style is not None:
            shown.stylize(style, word.start, word.end)
    return shown


def difference_text(before: str, after: str, names: tuple[str, str]) -> Text:
    """A unified difference; `+` and `-` tell the sides without colour."""
    lines = list(
        difflib.unified_diff(
            before.splitlines(), after.splitlines(), *names, lineterm="", n=2
        )
    )  # fmt: skip
    shown = Text(no_wrap=True)
    if not lines:
        return shown.append("the recipes are the same", "dim")
    for line in lines:
        tone = {"+": "green", "-": "red", "@": "cyan"}.get(line[:1], "dim")
        shown.append(line + "\n", f"bold {tone}" if line[:3] in ("+++", "---") else tone)
    return shown
