"""The recipe out of a record, as text that does the same again."""

from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from mergelang.errors import InputError, UsageError
from mergelang.lang import ast, canonical, parse, quoted
from mergelang.models.record import Record
from mergelang.source import Source


def recipe_of(record: Record, shown: str) -> str:
    """The recipe of a record, its params with the values that were in force.

    Raises InputError (E2103) where it is none that this version reads.
    """
    text = record["recipe"]
    source = Source("recipe", text)
    tree, problems = parse(source)
    if problems:
        raise InputError("E2103", path=shown)
    settings: Mapping[str, str] = record["settings"]
    for each in reversed(tree.statements):
        if isinstance(each, ast.Param) and each.name.id in settings:
            value = settings[each.name.id]
            if isinstance(each.value, ast.String):
                value = quoted(value)
            span = each.value.span
            text = text[: span.start] + value + text[span.end :]
    tree, problems = parse(Source("recipe", text))
    if problems:
        raise InputError("E2103", path=shown)
    return canonical(tree)


def write_recipes(record: Record, into: Path, shown: str) -> list[Path]:
    """Writes the recipe to a file, and beside it those that it uses; gives the paths.

    Raises UsageError for a file that is there and says something else (E2105), or that would lie
    outside the folder (E2104).
    """
    texts = {into: recipe_of(record, shown)}
    for name, text in record["used"].items():
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts:
            raise UsageError("E2104", path=name)
        texts[into.parent / path] = text
    for path, text in texts.items():
        if path.exists() and path != into and path.read_text(encoding="utf-8") != text:
            raise UsageError("E2105", path=str(path))
    for path, text in texts.items():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        except OSError as error:
            raise UsageError("E1016", path=str(path), reason=error.strerror.lower()) from error
    return list(texts)
