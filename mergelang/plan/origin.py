"""Where an output comes from: its recipe, its sources and theirs; what its record will say.

All is known before a weight is read but the digests, which have a fixed width: so the header of a
file can be laid out first and filled in last. No times, hosts or absolute paths: the same facts
give the same bytes.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any

from blake3 import blake3

from mergelang import __version__
from mergelang.check.program import Destination, Program
from mergelang.check.value import Opened
from mergelang.graph.node import Node
from mergelang.lang import ast, canonical
from mergelang.models.checkpoint import Checkpoint
from mergelang.models.hub import Snapshot
from mergelang.models.licence import licence_of
from mergelang.models.record import Record, read_record
from mergelang.models.weights import INDEX
from mergelang.tensors import TensorType

BESIDE = ("config.json", "adapter_config.json", INDEX)
"""Files of a source that are read beside weights and sidecar files."""

NOTHING = "0" * 64
"""A digest that is not known yet."""


@dataclass(frozen=True)
class SourceFile:
    """A file of a source. `digest`, with its algorithm before it, where it is known already."""

    name: str
    path: Path
    size: int
    digest: str = ""


@dataclass(frozen=True)
class Parent:
    """A source as the main recipe writes it or would write it, its files, and its own record if a
    merge made it. `licence` are the lines of its card that state one.

    `kind` is model, adapter, or statistics (a file that `fisher` or `regmean` weigh by).
    """

    source: str
    kind: str
    files: tuple[SourceFile, ...]
    commit: str = ""
    record: Record | None = None
    licence: tuple[str, ...] = ()


@dataclass(frozen=True)
class Seal:
    """The digests of a finished output: of its tensors by name, of its sources' files by path."""

    tensors: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[Path, str] = field(default_factory=dict)
    root: str = NOTHING


@dataclass(frozen=True, eq=False)
class Origin:
    """What is known of an output's making before it is made.

    `output` is the path in the recipe, which is the canonical text; `used` are the texts of those
    that it uses and of chat templates in files, by their path from it. `parents` stand in the order
    in which the output uses them.
    """

    output: str
    recipe: str
    used: Mapping[str, str]
    settings: Mapping[str, str]
    parents: tuple[Parent, ...]

    def facts(self, seal: Seal) -> dict[str, Any]:
        """The part of a record that the folder and every weight file have alike."""
        return {
            "mergelang": __version__,
            "output": self.output,
            "recipe": self.recipe,
            "used": dict(self.used),
            "settings": dict(self.settings),
            "parents": [_parent(each, seal) for each in self.parents],
            "ancestors": self.ancestors,
            "root": seal.root,
        }

    def quoted(self, seal: Seal) -> str:
        """The facts as JSON, and that as a text in JSON; made once for all weight files."""
        if seal.root not in self._texts:
            self._texts[seal.root] = compact(compact(self.facts(seal)))
        return self._texts[seal.root]

    @cached_property
    def _texts(self) -> dict[str, str]:
        return {}

    @cached_property
    def ancestors(self) -> dict[str, Any]:
        """The parents that are merges themselves, and theirs, by their roots."""
        found: dict[str, Any] = {}
        for each in self.parents:
            if each.record is not None:
                found |= each.record["ancestors"]
                kept = ("mergelang", "output", "recipe", "used", "settings", "parents")
                found[each.record["root"]] = {name: each.record[name] for name in kept}
        return dict(sorted(found.items()))


def origin_of(program: Program, target: Destination, node: Node) -> Origin:
    """Looks at the names and sizes of the sources' files, and at the records of merges."""
    opened = dict.fromkeys(_opened(node, program))
    return Origin(
        path_in_recipe(program, target),
        canonical(program.tree),
        {path: canonical(tree) for path, tree in program.used.items()} | program.templates,
        {name: exact_text(each.value) for name, each in sorted(program.params.items())},
        tuple(parent(checkpoint, kind) for checkpoint, kind in opened),
    )


def path_in_recipe(program: Program, target: Destination) -> str:
    """The path of an output as the recipe writes it, wherever it is written to this time."""
    for each in program.tree.statements:
        if isinstance(each, ast.Output) and each.path.span == target.span:
            return each.path.value
    return target.text


def _opened(node: Node, program: Program) -> Iterator[tuple[Checkpoint, str]]:
    """Every source below a node and what it is for: models first, in the order of the recipe."""
    nodes = _preorder(node)
    for each in nodes:
        if each.reference is not None:
            kind = "model" if each.op == "source" else "adapter"
            yield program.checkpoints[each.reference], kind
    for each in nodes:
        for _, value in each.attrs:
            for one in value if isinstance(value, tuple) else (value,):
                if isinstance(one, Opened) and one.checkpoint is not None:
                    yield one.checkpoint, "statistics"


def _preorder(node: Node) -> list[Node]:
    found: dict[Node, None] = {}
    stack = [node]
    while stack:
        each = stack.pop()
        if each not in found:
            found[each] = None
            stack.extend(reversed(each.inputs))
    return list(found)


def parent(checkpoint: Checkpoint, kind: str = "model") -> Parent:
    """What a record says of a source."""
    folder = checkpoint.folder
    bare = checkpoint.origin is None and checkpoint.reference.path != folder
    named = () if bare else (folder / name for name in BESIDE)
    paths = [*checkpoint.files, *checkpoint.sidecars, *(each for each in named if each.is_file())]
    files = (_source_file(each, folder, checkpoint.origin) for each in paths)
    cards = checkpoint.origin.cards if checkpoint.origin else (folder,)
    return Parent(
        checkpoint.reference.text, kind, tuple(sorted(files, key=lambda each: each.name)),
        commit=checkpoint.origin.commit if checkpoint.origin else "",
        record=read_record(checkpoint.files[0] if bare else folder),
        licence=() if bare else next(filter(None, map(licence_of, cards)), ()),
    )  # fmt: skip


def _source_file(path: Path, folder: Path, origin: Snapshot | None) -> SourceFile:
    """A file of a source; of one on the Hub as its commit has it, fetched or not."""
    name = path.relative_to(folder).as_posix()
    stated = origin and origin.files.get(name)
    if not stated:
        return SourceFile(name, path, path.stat().st_size)
    sha256 = stated.digest if stated.digest.startswith("sha256:") else ""
    return SourceFile(name, path, stated.size, sha256)


def _parent(parent: Parent, seal: Seal) -> dict[str, Any]:
    said: dict[str, Any] = {"source": parent.source}
    if parent.kind != "model":
        said["kind"] = parent.kind
    if parent.commit:
        said["commit"] = parent.commit
    if parent.record is not None:
        said["root"] = parent.record["root"]
    said["files"] = {
        each.name: {
            "size": each.size,
            "digest": each.digest or seal.files.get(each.path, f"blake3:{NOTHING}"),
        }
        for each in parent.files
    }
    return said


def compact(value: object) -> str:
    """JSON without blanks."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def root_of(types: Mapping[str, TensorType], digests: Mapping[str, str]) -> str:
    """The digest of a whole model: BLAKE3 over name, type and digest of each tensor, by name."""
    whole = blake3()
    for name in sorted(types):
        whole.update(f"{name}\0{types[name]}\0{digests[name]}\n".encode())
    return whole.hexdigest()


def exact_text(value: Any) -> str:
    """The value of a param as a recipe and `--set` write it, to the last digit."""
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, Fraction):
        return str(value)
    digits, rest = 0, value.denominator
    while rest % 2 == 0 or rest % 5 == 0:
        rest //= 2 if rest % 2 == 0 else 5
        digits += 1
    if rest != 1:
        return f"{value.numerator}/{value.denominator}"
    scaled = abs(value.numerator) * 10**digits // value.denominator
    whole, part = divmod(scaled, 10**digits)
    decimals = f"{part:0{digits}d}".rstrip("0") if digits else ""
    return ("-" if value < 0 else "") + str(whole) + (f".{decimals}" if decimals else "")
