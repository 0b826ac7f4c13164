"""What the source string of a `model` statement names: a place on this machine, or on the Hub."""

import os
import re
from dataclasses import dataclass, field
from pathlib import Path

from mergelang.errors import InputError


@dataclass(frozen=True)
class Reference:
    """One source. Equal when it is the same place, however it was written (`text`).

    `path` is that of a folder or file; of a model on the Hub None, and `hub` is `org/name[@rev]`.
    """

    path: Path | None
    text: str = field(compare=False)
    hub: str = ""

    def __str__(self) -> str:
        return self.text


_HUB = re.compile(r"[\w.-]+/[\w.-]+(@[\w./-]+)?")


def parse_reference(text: str, folder: Path) -> Reference:
    """The place that a source string names; relative ones start from `folder`.

    No model is looked at. Raises InputError for an empty string or one that names nothing.
    """
    if not text.strip():
        raise InputError("E0601")
    scheme, colon, rest = text.partition(":")
    if colon and scheme == "hf":
        if not _HUB.fullmatch(rest):
            raise InputError("E0602", text=text)
        return Reference(None, text, rest)
    return Reference(local_path(text, folder).resolve(), text)


def local_path(text: str, folder: Path) -> Path:
    """The path that a string of a recipe in `folder` names; `~` is the home folder.

    Raises InputError (E0620) for a text that cannot be a path. Whether something is there is not
    looked at.
    """
    try:
        path = Path(folder) / Path(text).expanduser()
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        pass
    except OSError as error:
        raise InputError("E0620", reason=(error.strerror or str(error)).lower()) from error
    except ValueError as error:
        raise InputError("E0620", reason="it holds a character that no path can have") from error
    except RuntimeError as error:
        user = Path(text).parts[0]
        raise InputError("E0620", reason=f"there is no home folder `{user}`") from error
    return path
