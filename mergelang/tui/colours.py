"""The words of a recipe in colours, by the name of the theme."""

from rich.style import Style
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
    words,
)
from mergelang.tui.theme import DARK, LIGHT

__all__ = ["EDITORS", "ERROR", "WARNING", "words"]

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
