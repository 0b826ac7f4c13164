"""E25: the terminal view."""

from mergelang.wording.kind import Kind

VIEW: dict[str, Kind] = {
    "E2501": Kind(
        "no run is known that writes {path}",
        help=(
            "give the folder of an output, as the recipe names it",
            "`mergelang tui RECIPE` opens the recipe; `r` runs it",
        ),
        explain="""\
`mergelang tui --attach OUTPUT` shows a run that was started before and goes on, or has ended: by
the folder that it writes.

    wrong: mergelang tui --attach blend.merge
    right: mergelang tui --attach out/blend
""",
    ),
    "E2502": Kind(
        "`--serve` needs the package textual-serve, and {module} is not there",
        help=('install it: pip install "mergelang[serve]"',),
        explain="""\
The view is served to browsers by textual-serve, which is not installed unless it is asked for.
""",
    ),
}
