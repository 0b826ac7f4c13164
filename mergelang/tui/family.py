"""The family of a checkpoint as the page of lineage shows it: who, by which recipe, of whom."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mergelang.errors import InputError
from mergelang.models.reference import local_path
from mergelang.record.record import RECORD

DEEPEST = 40
"""Generations that are looked at."""


@dataclass(frozen=True)
class Relative:
    """A model; `recipe` is None of one that no merge made, as far as is known."""

    name: str
    about: str
    recipe: str | None
    settings: tuple[tuple[str, str], ...] = ()
    parents: "tuple[Relative, ...]" = ()


def family_of(path: Path) -> Relative:
    """The family of a folder that a run has written. Raises InputError where it has no record."""
    if not (path / RECORD).is_file():
        raise InputError("E2502", path=str(path), file=RECORD)
    return _relative(path.name, path, 0)


def _relative(name: str, path: Path | None, depth: int) -> Relative:
    file = path / RECORD if path is not None else None
    if file is None or not file.is_file() or depth > DEEPEST:
        gone = path is not None and not path.exists()
        about = "not here any more" if gone else "a model" if path is not None else "on the Hub"
        return Relative(name, about, None)
    try:
        said = json.loads(file.read_bytes())
        parents = [str(each) for each in said["parents"]]
        settings = tuple((str(k), str(v)) for k, v in said.get("settings", {}).items())
        recipe = str(said["recipe"])
    except (ValueError, KeyError, TypeError) as error:
        raise InputError("E0615", path=str(path), file=RECORD) from error
    # Paths of a recipe start from its folder, which an output's path leads back to.
    home = _home(path, str(said.get("output", "")))
    return Relative(
        name, f"a merge, by mergelang {said.get('mergelang', '?')}", recipe, settings,
        tuple(_parent(each, home, depth + 1) for each in parents),
    )  # fmt: skip


def _home(path: Path, output: str) -> Path:
    """The folder of the recipe that wrote `output` to a path."""
    parts = Path(output).parts
    if path.absolute().parts[-len(parts) :] == parts:
        return path.absolute().parents[len(parts) - 1]
    return path.parent


def _parent(text: str, home: Path, depth: int) -> Relative:
    if text.startswith("hf:"):
        return _relative(text, None, depth)
    try:
        return _relative(text, Path(local_path(text, home)), depth)
    except InputError:
        return Relative(text, "not here any more", None)


def tree_rows(top: Relative) -> Iterator[tuple[str, Relative]]:
    """Each member with its line of a tree, the child above."""

    def lines(member: Relative, head: str, below: str) -> Iterator[tuple[str, Relative]]:
        yield head + member.name, member
        for index, each in enumerate(member.parents):
            last = index + 1 == len(member.parents)
            yield from lines(
                each, below + ("└─ " if last else "├─ "), below + ("   " if last else "│  ")
            )

    yield from lines(top, "", "")
