"""What the source string of a `model` statement names: a place on this machine, or on the Hub."""

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from mergelang.errors import InputError


class HubName(NamedTuple):
    """`org/name[@revision][/subfolder]`: a folder of a repository on the Hub."""

    repo: str
    revision: str = ""
    subfolder: str = ""

    @property
    def pinned(self) -> str:
        """The repository and its revision as written, which a lock keeps a commit for."""
        return f"{self.repo}@{self.revision}" if self.revision else self.repo


@dataclass(frozen=True)
class Reference:
    """One source. Equal when it is the same place, however it was written (`text`).

    `path` is that of a folder or file; of a model on the Hub None, and `hub` says which.
    """

    path: Path | None
    text: str = field(compare=False)
    hub: HubName | None = None

    def __str__(self) -> str:
        return self.text


_HUB = re.compile(
    r"(?P<repo>[\w.-]+/[\w.-]+)"
    r"(?:@(?P<revision>refs/\w+/[\w.%-]+|[\w.%-]+))?"
    r"(?:/(?P<subfolder>[\w.-]+(?:/[\w.-]+)*))?"
)
"""A slash in the name of a branch is written %2F, unless the name is that of a ref: `refs/pr/1`."""


def parse_reference(text: str, folder: Path) -> Reference:
    """The place that a source string names; relative ones start from `folder`.

    No model is looked at. Raises InputError for an empty string or one that names nothing.
    """
    if not text.strip():
        raise InputError("E0601")
    scheme, colon, rest = text.partition(":")
    if colon and scheme == "hf":
        return Reference(None, text, hub_name(rest, text))
    return Reference(local_path(text, folder).resolve(), text)


def hub_name(name: str, text: str) -> HubName:
    """What a name behind `hf:` says; InputError (E0602) where it cannot be one."""
    found = _HUB.fullmatch(name)
    revision = ((found and found["revision"]) or "").replace("%2F", "/").replace("%2f", "/")
    parts = [*revision.split("/"), *((found and found["subfolder"]) or "").split("/")]
    if not found or "." in parts or ".." in parts:
        raise InputError("E0602", text=text)
    return HubName(found["repo"], revision, found["subfolder"] or "")


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
