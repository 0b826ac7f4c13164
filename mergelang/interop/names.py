"""References to models: as mergekit writes them, as our recipes do, and what to call them.

`org/name` and a path look alike there. Here a name that exists as a path, beside the YAML file or
in the current folder, is that path; `org/name` that does not is a model on the Hub.
"""

import os.path
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from mergelang.interop.nodes import Node, Reader

TAKEN = frozenset({
    "match", "true", "false", "_", "bf16", "bfloat16", "f16", "float16", "fp16", "f32", "float32",
    "fp32", "f64", "float64", "fp64",
})  # fmt: skip
"""Words that no model is called: reserved ones, and dtypes."""

_HUB = re.compile(r"[\w.-]+/[\w.-]+")


@dataclass(frozen=True)
class Model:
    """`path@revision+lora@lora_revision`."""

    path: str
    revision: str = ""
    lora: str = ""
    lora_revision: str = ""

    def __str__(self) -> str:
        lora = f"+{_joined(self.lora, self.lora_revision)}" if self.lora else ""
        return _joined(self.path, self.revision) + lora


def _joined(path: str, revision: str) -> str:
    return f"{path}@{revision}" if revision else path


def read_model(reader: Reader, node: Node) -> Model | None:
    """A model as it is named in YAML: a text, or a mapping of its parts."""
    if not reader.is_mapping(node):
        text = reader.scalar(node, "a model", str)
        if text is None:
            return None
        parts = text.split("+")
        if len(parts) > 2 or any(part.count("@") > 1 or not part.strip() for part in parts):
            reader.add("E1112", node, text=text)
            return None
        places = [part.partition("@") for part in parts]
        return Model(*(each for path, _, rev in places for each in (path, rev)))
    known = ("model", "lora", "override_architecture")
    entries = reader.mapping(node, "a model", known, required=("model",))
    if entries is None:
        return None
    if "override_architecture" in entries:
        reader.add("E1117", entries["override_architecture"].key, what="`override_architecture`")
    parts = [_place(reader, entries[name].value) for name in ("model", "lora") if name in entries]
    if None in parts:
        return None
    return Model(*(each for part in parts for each in part))


def _place(reader: Reader, node: Node) -> tuple[str, str] | None:
    if not reader.is_mapping(node):
        text = reader.scalar(node, "a model", str)
        if text is None or text.count("@") > 1:
            reader.add("E1112", node, text=text or "")
            return None
        path, _, revision = text.partition("@")
        return path, revision
    entries = reader.mapping(node, "a model", ("path", "revision"), required=("path",))
    if entries is None:
        return None
    texts = [
        reader.scalar(entries[name].value, f"`{name}`", str) if name in entries else ""
        for name in ("path", "revision")
    ]
    return None if None in texts else (texts[0], texts[1])


def source_text(path: str, revision: str, folder: Path, into: Path) -> str:
    """The source string of a model in a recipe that stands in the folder `into`.

    `folder` is that of the YAML file.
    """
    expanded = os.path.expanduser(path)
    for start in (folder, Path.cwd()):
        if os.path.isabs(expanded):
            break
        full = start / expanded
        if full.exists():
            if start.resolve() == into.resolve():
                return path
            return Path(os.path.relpath(full.resolve(), into.resolve())).as_posix()
    if not os.path.exists(expanded) and _HUB.fullmatch(path) and not path.startswith("."):
        return f"hf:{_joined(path, revision)}"
    if os.path.isabs(expanded) or folder.resolve() == into.resolve():
        return path
    return Path(os.path.relpath((folder / expanded).resolve(), into.resolve())).as_posix()


def name_of(path: str, taken: Iterable[str]) -> str:
    """A name for what lies at a path, unlike those taken: its last part as a word."""
    parts = [part for part in re.split(r"[/\\]+", path) if part not in ("", ".", "..", "~")]
    last = re.sub(r"\.safetensors$", "", parts[-1] if parts else "model")
    word = _word(last)
    taken = {*taken, *TAKEN}
    if word in taken and len(parts) > 1:
        word = f"{_word(parts[-2])}_{word}"
    number, unlike = 2, word
    while unlike in taken:
        number, unlike = number + 1, f"{word}_{number}"
    return unlike


def _word(text: str) -> str:
    word = re.sub(r"[^\w]+", "_", text.lower()).strip("_") or "model"
    return f"m{word}" if word[0].isdigit() else word
