"""`mergelang import` and `mergelang export`: mergekit's files to recipes and back."""

from pathlib import Path

from mergelang.api import Recipe, export, import_file
from mergelang.cli import show
from mergelang.errors import UsageError


def import_recipe(config: Path, into: Path | None) -> None:
    """Prints the recipe of a mergekit file, or writes it."""
    text, notes = import_file(config, into.parent if into else None)
    show.diagnostics(notes)
    _put(text, into)


def export_recipe(recipe: Recipe, output: str | None, into: Path | None) -> None:
    """Prints the mergekit file of one output of a recipe, or writes it."""
    text, notes = export(recipe, output)
    show.diagnostics(notes)
    _put(text, into)


def _put(text: str, into: Path | None) -> None:
    if into is None:
        print(text, end="")
        return
    try:
        into.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError("E1016", path=str(into), reason=error.strerror.lower()) from error
