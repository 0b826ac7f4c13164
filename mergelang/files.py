"""What every part knows about files: where ours are kept, and by what one is known again."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple


def cache_folder() -> Path:
    """Where what can be made again is kept: `$MERGELANG_CACHE`, else the user's cache folder.

    It need not be there yet.
    """
    chosen = os.environ.get("MERGELANG_CACHE")
    if chosen:
        return Path(chosen).expanduser().absolute()
    from platformdirs import user_cache_path

    return user_cache_path("mergelang", appauthor=False)


class Facts(NamedTuple):
    """What a file is known by, beside its path: another content shows in one of these."""

    size: int
    mtime_ns: int
    inode: int


def facts_of(path: Path | str) -> Facts:
    """The facts of a file or folder as it is now; a link is followed. Raises OSError."""
    found = os.stat(path)
    return Facts(found.st_size, found.st_mtime_ns, found.st_ino)


def files_below(folder: Path) -> dict[str, Path]:
    """All files in a folder and the folders in it, by their names from there."""
    found = (each for each in sorted(folder.rglob("*")) if each.is_file())
    return {each.relative_to(folder).as_posix(): each for each in found}


def facts_below(path: Path, more: Iterable[Path] = ()) -> dict[str, Facts]:
    """The facts of a file, or of a folder and the files in it; none where nothing is there.

    `more` are files of it that lie in further folders.
    """
    try:
        files = [each for each in path.iterdir() if each.is_file()] if path.is_dir() else []
        return {str(each): facts_of(each) for each in (path, *files, *more)}
    except OSError:
        return {}


def changed(facts: Mapping[str, Facts]) -> str | None:
    """The first path that is not there any more, or has other facts now."""
    for path, before in facts.items():
        try:
            if facts_of(path) != before:
                return path
        except OSError:
            return path
    return None
