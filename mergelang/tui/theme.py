"""The two themes of the view."""

from textual.theme import Theme

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
