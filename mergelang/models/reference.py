"""What the source string of a `model` statement names: a place on this machine, or on the Hub."""

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
    path = Path(folder) / Path(text).expanduser()
    return Reference(path.resolve(), text)
