"""Prepare tasks: what has to be computed before a run, since tensors of the output are made of it.

Today these are the gates of mixtures, which a model makes out of prompts. The result is a file of
the cache whose place and size are known before it is there: the tensors of the output that hang on
it are loads of it like any other. Its name is a digest of all that it is made of; files count by
path, size, time and inode, so that nothing is read to know it.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from blake3 import blake3

from mergelang.check.config import config_of, donor_of, source_of
from mergelang.check.program import Term
from mergelang.errors import InputError
from mergelang.files import cache_folder, facts_of
from mergelang.graph.node import Node, postorder
from mergelang.models.checkpoint import Checkpoint
from mergelang.models.reference import Reference
from mergelang.ops.layout import Gates
from mergelang.plan.arithmetic import arithmetic
from mergelang.store.digests import BLAKE3, of_bytes
from mergelang.tensors import Extent, TensorType

VERSION = 1
"""Raised when the bytes of what a prepare task makes change."""

LIBRARIES = 320 << 20
"""Bytes that a process takes for transformers, beyond those for torch, as the plan reckons."""

STATES = 1 << 13
"""Tokens whose states are held at once, padding counted."""

Checkpoints = Mapping[Reference, Checkpoint]


@dataclass(frozen=True, eq=False)
class Preparation:
    """The gates of one mixture: from which model, out of which prompts, into which file.

    `tensors` are where each gate will lie in the file `path`, `config` and `folder` the model's
    config and where its tokenizer is.
    """

    node: Node
    base: Node
    gates: Gates
    path: Path
    header: bytes
    tensors: Mapping[str, Extent]
    config: Mapping[str, Any]
    folder: Path

    @property
    def what(self) -> str:
        """What it makes, for people."""
        texts = sum(len(good) + len(bad) for good, bad in self.gates.prompts)
        return f"gates from {texts} prompts ({self.gates.mode})"

    @property
    def ready(self) -> bool:
        """Whether an earlier run has left the result."""
        size = len(self.header) + sum(each.type.nbytes for each in self.tensors.values())
        return self.path.is_file() and self.path.stat().st_size == size

    @property
    def digest(self) -> str:
        """That of the result, names and types included; empty where it is not there."""
        return f"{BLAKE3}:{of_bytes(self.path.read_bytes())}" if self.ready else ""

    @property
    def holds(self) -> int:
        """Bytes that it takes at most: one layer in float32, and the states of the prompts."""
        inventory = self.base.term.inventory
        layers: dict[int | None, int] = {}
        largest = 0
        for name in inventory:
            layer, kind = inventory.layering.split(name)[0], inventory[name]
            layers[layer] = layers.get(layer, 0) + 4 * kind.count
            largest = max(largest, 8 * kind.count if layer is not None else 0)
        layers.pop(None, None)
        width = next(iter(self.tensors.values())).type.shape[-1]
        inner = max(4, self.config.get("intermediate_size", 0) // max(1, width))
        states = 4 * STATES * width * (8 + 3 * inner) if self.gates.mode == "hidden" else 0
        return LIBRARIES + (max(layers.values()) + largest if states else 0) + states


_made: WeakKeyDictionary[Node, Preparation] = WeakKeyDictionary()


def preparations(nodes: Iterable[Node], checkpoints: Checkpoints) -> tuple[Preparation, ...]:
    """Those that the nodes below some need, each after those that it needs itself."""
    below = postorder(nodes, lambda node: node.inputs)
    return tuple(
        preparation(each, checkpoints) for each in below
        if each.term.layout is not None and each.term.layout.prepare is not None
    )  # fmt: skip


def preparation(node: Node, checkpoints: Checkpoints) -> Preparation:
    """The one of a node that has one."""
    if node not in _made:
        _made[node] = _prepare(node, checkpoints)
    return _made[node]


def _prepare(node: Node, checkpoints: Checkpoints) -> Preparation:
    gates: Gates = node.term.layout.prepare
    base = node.inputs[gates.base]
    term = node.term.inputs[gates.base]
    _refuse_other_tokens(term, gates)
    config = config_of(term, checkpoints) or {}
    checkpoint = checkpoints[source_of(term).options["reference"]]
    key = _key(gates, base, config, checkpoint, checkpoints)
    inventory = node.term.inventory
    types = {name: TensorType("F32", inventory[name].shape) for name, *_ in gates.routers}
    path = cache_folder() / "gates" / f"{key}.safetensors"
    header, offsets = _header(types)
    tensors = {name: Extent(str(path), offsets[name], kind) for name, kind in types.items()}
    return Preparation(node, base, gates, path, header, tensors, config, checkpoint.folder)


def _refuse_other_tokens(term: Term, gates: Gates) -> None:
    """Raises InputError (E2326) where the tokenizer that lies beside the model does not turn the
    prompts into the tokens that the rows of its embeddings stand for."""
    texts = [text for pair in gates.prompts for group in pair for text in group]
    while (donor := donor_of(term)) is not None:
        if term.op == "retokenize":
            alignment = term.options["alignment"]
            added = alignment.target.added
            fresh = next((new for new in added if any(new in text for text in texts)), None)
            if fresh is not None or not alignment.keeps_ids:
                why = "it has other ids for its tokens" if fresh is None else f"it adds {fresh}"
                raise InputError("E2326", text=donor.name or donor.span.text, why=why)
        term = donor


def _header(types: Mapping[str, TensorType]) -> tuple[bytes, dict[str, int]]:
    """The header of a safetensors file with these tensors, and where each one begins in it."""
    table, at = {}, 0
    for name, kind in types.items():
        span = [at, at := at + kind.nbytes]
        table[name] = {"dtype": kind.dtype, "shape": list(kind.shape), "data_offsets": span}
    text = json.dumps(table, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    header = len(text).to_bytes(8, "little") + text
    starts = {name: len(header) + each["data_offsets"][0] for name, each in table.items()}
    return header, starts


def _key(
    gates: Gates, base: Node, config: Mapping[str, Any], checkpoint: Checkpoint,
    checkpoints: Checkpoints,
) -> str:  # fmt: skip
    """The digest of all that the gates are made of."""
    from mergelang.plan.keys import derivation
    from mergelang.plan.plan import tasks

    inventory = base.term.inventory
    facts, whole = _Facts(), blake3()

    def add(*parts: object) -> None:
        whole.update("\0".join(map(str, parts)).encode() + b"\n")

    add("gates", VERSION, gates, arithmetic(), json.dumps(config, sort_keys=True))
    for path in checkpoint.sidecars:
        add(path.name, facts[str(path)])
    read = {
        name: kind for name, kind in inventory.tensors.items()
        if gates.mode == "hidden" or "embed" in inventory.roles.get(name, ())
    }  # fmt: skip
    for task in tasks(base, read, checkpoints):
        made = derivation(task, facts)
        add(task.name, made.key if made else "")
    return whole.hexdigest()[:40]


class _Facts(dict):
    """What each file is known by, looked up when it is asked for."""

    def __contains__(self, path: object) -> bool:
        return True

    def __missing__(self, path: str) -> str:
        real = Path(path).resolve()
        self[path] = f"{real} {tuple(facts_of(real))}" if real.exists() else path
        return self[path]
