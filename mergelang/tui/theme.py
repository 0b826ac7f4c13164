"""The two themes, and the styles of a recipe's words in each."""

from rich.style import Style
from textual.theme import Theme
from textual.widgets.text_area import TextAreaTheme

from mergelang.lang.highlight import (
    CALL,
    COMMENT,
    GIVEN,
    KEYWORD,
    MARK,
    NUMBER,
    OPTION,
    ROLE,
    STRING,
)

DARK = Theme(
    name="mergelang-dark", dark=True, primary="#7aa2f7", secondary="#bb9af7", accent="#e0af68",
    foreground="#d5d9e8", background="#16161e", surface="#1b1c27", panel="#242633",
    success="#9ece6a", warning="#e0af68", error="#f7768e",
    variables={"footer-key-foreground": "#e0af68", "block-cursor-text-style": "none"},
)  # fmt: skip
LIGHT = Theme(
    name="mergelang-light", dark=False, primary="#2e5bd0", secondary="#7a3fb8", accent="#a05a00",
    foreground="#23252f", background="#fbfaf7", surface="#f4f2ec", panel="#e9e6dd",
    success="#3d7a1e", warning="#9a6200", error="#c02942",
    variables={"footer-key-foreground": "#a05a00", "block-cursor-text-style": "none"},
)  # fmt: skip

ERROR, WARNING = "error", "warning"


def _styles(
    keyword: str, call: str, string: str, number: str, option: str, dim: str, error: str,
    warning: str,
) -> dict[str, Style]:  # fmt: skip
    return {
        KEYWORD: Style(color=keyword, bold=True), CALL: Style(color=call),
        STRING: Style(color=string), NUMBER: Style(color=number), ROLE: Style(color=number),
        OPTION: Style(color=option), GIVEN: Style(bold=True),
        COMMENT: Style(color=dim, italic=True),
        MARK: Style(color=dim), ERROR: Style(color=error, underline=True, bold=True),
        WARNING: Style(color=warning, underline=True),
    }  # fmt: skip


EDITORS = {
    DARK.name: TextAreaTheme(DARK.name, syntax_styles=_styles(
        "#bb9af7", "#7aa2f7", "#9ece6a", "#ff9e64", "#7dcfff", "#6f7799", "#f7768e", "#e0af68",
    )),
    LIGHT.name: TextAreaTheme(LIGHT.name, syntax_styles=_styles(
        "#7a3fb8", "#2e5bd0", "#3d7a1e", "#b04a00", "#00708a", "#85826f", "#c02942", "#9a6200",
    )),
}  # fmt: skip
"""By the name of the app's theme."""
