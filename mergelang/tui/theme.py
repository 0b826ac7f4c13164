"""The two themes of the view."""

from rich.color import Color
from rich.terminal_theme import TerminalTheme
from textual.theme import Theme

DARK = Theme(
    name="mergelang-dark", dark=True, primary="#7aa2f7", secondary="#bb9af7", accent="#e0af68",
    foreground="#d5d9e8", background="#16161e", surface="#1b1c27", panel="#242633",
    success="#9ece6a", warning="#e0af68", error="#f7768e",
    variables={"footer-key-foreground": "#e0af68", "block-cursor-text-style": "none",
               "cyan": "#7dcfff"},
)  # fmt: skip
LIGHT = Theme(
    name="mergelang-light", dark=False, primary="#2e5bd0", secondary="#7a3fb8", accent="#a05a00",
    foreground="#23252f", background="#fbfaf7", surface="#f4f2ec", panel="#e9e6dd",
    success="#3d7a1e", warning="#9a6200", error="#c02942",
    variables={"footer-key-foreground": "#a05a00", "block-cursor-text-style": "none",
               "cyan": "#00708a"},
)  # fmt: skip


def named(theme: Theme) -> TerminalTheme:
    """What the colours that text calls by a name (`red`, `green`, ...) are in a theme."""
    def rgb(text: str) -> tuple[int, int, int]:
        return tuple(Color.parse(text).get_truecolor())

    black, white = (theme.background, theme.foreground)[:: 1 if theme.dark else -1]
    colours = [black, theme.error, theme.success, theme.warning, theme.primary, theme.secondary,
               theme.variables["cyan"], white]  # fmt: skip
    return TerminalTheme(rgb(theme.background), rgb(theme.foreground), list(map(rgb, colours)))
