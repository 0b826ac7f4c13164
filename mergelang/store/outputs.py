"""What is known of an output folder that a run has written: of what it was made, and its files.

One file of the store for each output path: a line that tells in a moment whether all is as it was,
and a second one, read only where it is not, with how each tensor came to be. Without it an output
is made anew; nothing else depends on it.
"""

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from blake3 import blake3

from mergelang.files import Facts, cache_folder, changed
from mergelang.store.whole import write_whole
from mergelang.tensors import Extent, tensor_type


class Made(NamedTuple):
    """A tensor of an output: where its bytes lie, their digest, and its derivation.

    `key`, `inputs` and `operators` are those of `plan.keys.Derivation`.
    """

    extent: Extent
    digest: str
    key: str
    inputs: str
    operators: tuple[str, ...]


@dataclass(frozen=True)
class Written:
    """An output as it was written.

    `request` is a digest of all that was asked for, `inputs` are the facts of every file and
    folder that the recipe read, `files` those of the output's own files, by name.
    """

    path: Path
    request: str
    inputs: Mapping[str, Facts]
    files: Mapping[str, Facts]
    tensors: Mapping[str, Made] = field(default_factory=dict)

    def whole(self) -> bool:
        """Whether every file of the output is the one that was written."""
        return changed({str(self.path / name): each for name, each in self.files.items()}) is None


def save(written: Written) -> None:
    """Keeps it in the store, if that can be written."""
    tables: dict[tuple[str, ...], int] = {}
    head = {
        "path": str(written.path), "request": written.request, "inputs": written.inputs,
        "files": written.files,
    }  # fmt: skip
    tensors = {
        name: [
            made.extent.path.rpartition("/")[2], made.extent.offset, made.extent.type.dtype,
            made.extent.type.shape, made.digest, made.key, made.inputs,
            tables.setdefault(made.operators, len(tables)),
        ]
        for name, made in written.tensors.items()
    }  # fmt: skip
    body = {"operators": list(tables), "tensors": tensors}
    text = "\n".join(json.dumps(each, separators=(",", ":")) for each in (head, body))
    with suppress(OSError):
        write_whole(_place(written.path), text.encode())


def load(path: Path, *, tensors: bool = False) -> Written | None:
    """What is known of the output at a path, if anything; its tensors only where asked for."""
    try:
        with open(_place(path), encoding="utf-8") as file:
            head = json.loads(file.readline())
            if head["path"] != str(path):
                return None
            made = _tensors(path, json.loads(file.readline())) if tensors else {}
        return Written(path, head["request"], _facts(head["inputs"]), _facts(head["files"]), made)
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        return None


def forget(path: Path) -> None:
    """Lets go of what is known of an output."""
    with suppress(OSError):
        _place(path).unlink()


def _facts(found: Mapping[str, Any]) -> dict[str, Facts]:
    return {name: Facts(*map(int, each)) for name, each in found.items()}


def _tensors(path: Path, body: Mapping[str, Any]) -> dict[str, Made]:
    operators = [tuple(each) for each in body["operators"]]
    made, folder = {}, str(path)
    for name, (file, offset, dtype, shape, *rest, table) in body["tensors"].items():
        extent = Extent(f"{folder}/{file}", offset, tensor_type(dtype, tuple(shape)))
        made[name] = Made(extent, *rest, operators[table])
    return made


def _place(path: Path) -> Path:
    return cache_folder() / "outputs" / blake3(str(path).encode()).hexdigest()[:40]
