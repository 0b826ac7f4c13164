"""Prepare tasks: what has to be computed before a run, since tensors of the output are made of it.

Today these are the gates of mixtures, which a model makes out of prompts. The result is a value of
the store whose place and size are known before it is there: the tensors of the output that depend
on it are loads of parts of it. Its key is a digest of all that it is made of. Files of weights
count by their digests, as far as those are known, so that none is read to know it; one that has
none yet by path, size, time and inode, until the run that reads it has `published` the value.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from blake3 import blake3

from mergelang.check.config import config_of, donor_of, source_of
from mergelang.check.program import Term
from mergelang.errors import InputError
from mergelang.files import Facts, changed, facts_of
from mergelang.graph.node import Node, postorder
from mergelang.models.checkpoint import Checkpoint
from mergelang.models.reference import Reference
from mergelang.ops.layout import Gates
from mergelang.plan.arithmetic import arithmetic
from mergelang.store import digests
from mergelang.store.blobs import Blobs
from mergelang.store.digests import BLAKE3
from mergelang.tensors import Extent, TensorType

if TYPE_CHECKING:
    from mergelang.plan.plan import Task

VERSION = 1
"""Raised when the bytes of what a prepare task makes change."""

LIBRARIES = 320 << 20
"""Bytes that a process takes for transformers, beyond those for torch, as the plan reckons."""

STATES = 1 << 13
"""Tokens whose states are held at once, padding counted."""

Checkpoints = Mapping[Reference, Checkpoint]


@dataclass(frozen=True, eq=False)
class Preparation:
    """The gates of one mixture: from which model, out of which prompts, into which value.

    `value` is where all gates will lie, one behind the other, `tensors` where each one, `config`
    and `folder` the model's config and where its tokenizer is, `reads` the files in which the
    weights lie that it needs.
    """

    node: Node
    base: Node
    gates: Gates
    key: str
    value: Extent
    tensors: Mapping[str, Extent]
    config: Mapping[str, Any]
    folder: Path
    reads: tuple[str, ...]

    @property
    def what(self) -> str:
        """What it makes, for people."""
        texts = sum(len(good) + len(bad) for good, bad in self.gates.prompts)
        return f"gates from {texts} prompts ({self.gates.mode})"

    @property
    def ready(self) -> bool:
        """Whether an earlier run has left the result."""
        entry = Blobs().find(self.key)
        return entry is not None and entry.extent == self.value

    @property
    def digest(self) -> str:
        """That of the result, one gate after the other; empty where it is not there."""
        entry = Blobs().find(self.key) if self.ready else None
        return f"{BLAKE3}:{entry.digest}" if entry is not None else ""

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
        states = self._states if self.gates.mode == "hidden" else 0
        return LIBRARIES + (max(layers.values()) + largest if states else 0) + states

    @property
    def _states(self) -> int:
        """Bytes of what a layer makes of the prompts: states, those inside its feed-forward part
        and the weights of its attention. No text has more tokens than bytes, but for its ends."""
        texts = [text for pair in self.gates.prompts for group in pair for text in group]
        longest = max(len(text.encode()) + 2 for text in texts)
        tokens = min(len(texts) * longest, max(STATES, longest))
        width = next(iter(self.tensors.values())).type.shape[-1]
        inner = max(4, self.config.get("intermediate_size", 0) // max(1, width))
        attention = 2 * longest * self.config.get("num_attention_heads", 1)
        return 4 * tokens * (width * (8 + 3 * inner) + attention)


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


def published(nodes: Iterable[Node], checkpoints: Checkpoints) -> None:
    """Gives values the keys that they have now that the digests of files are known."""
    for each in preparations(nodes, checkpoints):
        made = _prepare(each.node, checkpoints)
        if changed(read_by(each, checkpoints)) is not None:  # the digests are of other bytes
            continue
        _made[each.node] = made
        if made.key != each.key:
            Blobs().publish(each.key, made.key)


def read_by(task: Preparation, checkpoints: Checkpoints) -> dict[str, Facts]:
    """The facts of the files of weights that a value is made of, from before they were read."""
    known = {path: facts for each in checkpoints.values() for path, facts in each.facts.items()}
    return {path: known[path] for path in task.reads if path in known}


def _prepare(node: Node, checkpoints: Checkpoints) -> Preparation:
    gates: Gates = node.term.layout.prepare
    base = node.inputs[gates.base]
    term = node.term.inputs[gates.base]
    _refuse_other_tokens(term, gates)
    config = config_of(term, checkpoints) or {}
    checkpoint = checkpoints[source_of(term).options["reference"]]
    needed = _needed(gates, base, checkpoints)
    key = _key(gates, needed, config, checkpoint, checkpoints)
    stored = import_module("mergelang.plan.fetches").stored
    reads = tuple(dict.fromkeys(each.path for task in needed for each in stored(task)))
    inventory = node.term.inventory
    types = {name: TensorType("F32", inventory[name].shape) for name, *_ in gates.routers}
    count = sum(kind.count for kind in types.values())
    value = Blobs().place(key, TensorType("F32", (count,)))
    ends = accumulate((kind.nbytes for kind in types.values()), initial=value.offset)
    tensors = {
        name: Extent(value.path, start, kind)
        for start, (name, kind) in zip(ends, types.items(), strict=False)
    }
    folder = checkpoint.folder
    return Preparation(node, base, gates, key, value, tensors, config, folder, reads)


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


def _needed(gates: Gates, base: Node, checkpoints: Checkpoints) -> "list[Task]":
    """What the tensors of the base take that the gates depend on."""
    inventory = base.term.inventory
    layers = gates.mode == "hidden"
    read = {
        name: kind for name, kind in inventory.tensors.items()
        if "embed" in inventory.roles.get(name, ())
        or (layers and inventory.layering.split(name)[0] is not None)
    }  # fmt: skip
    return list(import_module("mergelang.plan.plan").tasks(base, read, checkpoints))


def _key(
    gates: Gates, needed: "list[Task]", config: Mapping[str, Any], checkpoint: Checkpoint,
    checkpoints: Checkpoints,
) -> str:  # fmt: skip
    """The digest of all that the gates are made of."""
    derivation = import_module("mergelang.plan.keys").derivation
    whole, names = blake3(), _Names(
        (str(file), stated.digest)
        for each in checkpoints.values() if each.origin is not None
        for file in each.files if (stated := each.origin.files.get(file.name)) is not None
    )  # fmt: skip

    def add(*parts: object) -> None:
        whole.update("\0".join(map(str, parts)).encode() + b"\n")

    add("gates", VERSION, gates, arithmetic(), json.dumps(config, sort_keys=True))
    for path in checkpoint.sidecars:
        add(path.name, digests.digest(path))
    for task in needed:
        made = derivation(task, names)
        add(task.name, made.key if made else "")
    return whole.hexdigest()[:40]


class _Names(dict):
    """What each file is known by, looked up when it is asked for: its digest, or where that is not
    known its facts; of a value of the store its key. Of the Hub it is the digest that was stated,
    the same before it is fetched and after."""

    def __contains__(self, path: object) -> bool:
        return True

    def __missing__(self, path: str) -> str:
        real = Path(path).resolve()
        if real.parent.parent == Blobs().folder.resolve():
            self[path] = real.stem
        else:
            facts = f"{real} {tuple(facts_of(real))}" if real.exists() else path
            self[path] = digests.identity(real) or facts
        return self[path]
