"""What will happen, before a weight is read: every output tensor, its passes, bytes and memory.

Made from the graph and the headers alone; `run` executes it, `plan` prints it.
"""

from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from mergelang.check.config import config_of, source_of
from mergelang.check.program import Destination, Term, walk
from mergelang.graph.node import Graph, Node
from mergelang.models.checkpoint import Checkpoint
from mergelang.models.reference import Reference
from mergelang.ops.expr import Expr, Extent
from mergelang.plan.beside import beside
from mergelang.plan.cost import cost, row_block
from mergelang.plan.layout import Shard, index, shards
from mergelang.plan.lower import Call, Lowering, leaves, merges
from mergelang.plan.origin import Origin, origin_of
from mergelang.plan.pattern import patterns
from mergelang.plan.prepare import Preparation, preparations
from mergelang.store.blobs import LIMIT
from mergelang.tensors import UNBOUND, Binding, TensorType, tensor_type

COPY, EQUAL, COMPUTE = "copy", "equal", "compute"
KEEP, CACHED, SHARED, RESUME = "keep", "cached", "shared", "resume"

PROCESS = 320 << 20
"""Bytes that a process with torch takes before it has done anything, as the plan reckons."""


class Task(NamedTuple):
    """One output tensor, independent of all others.

    `action`: `copy` moves bytes of one stored tensor, `equal` does so after comparing it with the
    same tensor of the other inputs, `compute` evaluates, `keep` copies the tensor from the output
    as it was written before, `cached` from the store, `shared` from another output that the same
    run has just written, `resume` looks at what an interrupted run has written; those do what
    `instead` says where its `digest` does not hold any more. `change` says
    why a tensor is not kept, where the output was written before. `stored` is how many values of
    calls on whole tensors lie in the store, `numbers` how many of reductions; `keeps` is how many
    bytes of values it puts there, which take `seconds` to compute.

    `passes` over the tensor, `reads` in bytes over all passes, `holds` bytes of whole tensors held
    while it is computed, `spills` bytes of values that wait on the disk meanwhile, because memory
    has no room for them: then calls on whole tensors take a pass each. `rows` elements of a block
    where whole rows stay together, else 0, `sources` the stored tensors of a copy, the one that is
    copied first. `root` is the expression of what is computed, shared by all tensors of its
    pattern, with what its symbols stand for in this one; `makers` are the calls of operators that
    made it.
    """

    name: str
    type: TensorType
    action: str
    passes: int
    reads: int
    holds: int = 0
    rows: int = 0
    sources: tuple[Extent, ...] = ()
    root: Expr | None = None
    binding: Binding = UNBOUND
    makers: tuple[Call, ...] = ()
    digest: str = ""
    instead: "Task | None" = None
    change: str = ""
    stored: int = 0
    numbers: int = 0
    keeps: int = 0
    seconds: float = 0.0
    spills: int = 0

    @property
    def nbytes(self) -> int:
        """Bytes of the tensor as it is written."""
        return self.type.nbytes

    def taken(self, action: str, source: Extent, digest: str = "", change: str = "") -> "Task":
        """The task that takes the tensor from where it lies already, instead of this one."""
        return Task(
            self.name, self.type, action, 1, self.nbytes, sources=(source,), digest=digest,
            instead=self, change=change,
        )  # fmt: skip

    @property
    def original(self) -> "Task":
        """What the task does where nothing of the tensor is there."""
        return self.instead.original if self.instead is not None else self


_NAME, _SOURCES, _BINDING = map(Task._fields.index, ("name", "sources", "binding"))


@dataclass(frozen=True, eq=False)
class OutputPlan:
    """One output folder: its tasks in the order of the model, its files, what it drops and why.

    `current`: it lies there as the recipe wants it, and a run leaves it alone.
    """

    destination: Destination
    node: Node
    tasks: tuple[Task, ...]
    shards: tuple[Shard, ...]
    documents: Mapping[str, bytes]
    sidecars: Mapping[str, Path]
    dropped: Mapping[str, int]
    origin: Origin
    current: bool = False

    @property
    def path(self) -> Path:
        return Path(self.destination.path)

    @cached_property
    def extents(self) -> Mapping[str, Extent]:
        """Where each tensor lies once the output is in its place."""
        paths = {shard.file: str(self.path / shard.file) for shard in self.shards}
        return {
            name: Extent(paths[shard.file], shard.offsets[name], type)
            for shard in self.shards for name, type in shard.tensors.items()
        }  # fmt: skip

    @property
    def bytes_read(self) -> int:
        return 0 if self.current else sum(task.reads for task in self.tasks)

    @property
    def bytes_written(self) -> int:
        return 0 if self.current else sum(shard.size for shard in self.shards)


@dataclass(frozen=True, eq=False)
class Plan:
    """The plans of the outputs, in the order of the recipe. `cache` says how the store is used
    (`plan.cached.Cache`); None where it is not. `limit` bounds the store, `memory` is what they are
    made for, in bytes."""

    graph: Graph
    outputs: tuple[OutputPlan, ...]
    cache: Any = None
    limit: int = LIMIT
    memory: int | None = None

    @property
    def checkpoints(self) -> Mapping[Reference, Checkpoint]:
        return self.graph.program.checkpoints

    @property
    def bytes_read(self) -> int:
        return sum(output.bytes_read for output in self.outputs)

    @property
    def bytes_written(self) -> int:
        return sum(output.bytes_written for output in self.outputs)

    @property
    def preparations(self) -> "tuple[Preparation, ...]":
        """What has to be made before the tensors, in order."""
        waiting = (output.node for output in self.outputs if not output.current)
        return preparations(waiting, self.checkpoints)

    @property
    def holds(self) -> int:
        """Bytes of whole tensors that the hungriest task holds."""
        return max((task.holds for output in self.outputs for task in output.tasks), default=0)

    @property
    def rows(self) -> int:
        """Elements of the largest block that rows keep together."""
        return max((task.rows for output in self.outputs for task in output.tasks), default=0)

    def __str__(self) -> str:
        """What `mergelang plan` prints. By name, since drawing stands above planning."""
        return import_module("mergelang.draw.plan_text").plan_text(self)


def plan(graph: Graph) -> Plan:
    """Plans every output of the graph."""
    return Plan(graph, tuple(_output(graph, target, node) for target, node in graph.outputs))


def _output(graph: Graph, target: Destination, node: Node) -> OutputPlan:
    inventory = target.term.inventory
    if inventory is None:
        raise ValueError("a plan needs the headers of its sources: check with sources=True")
    wanted = target.options.get("dtype")
    types = {name: _output_type(kind, wanted) for name, kind in inventory.tensors.items()}
    checkpoints = graph.program.checkpoints
    made = origin_of(graph.program, target, node)
    files = shards(types.items(), target.options["shards"], made)
    config = config_of(target.term, checkpoints)
    documents, copied = beside(target, config, source_of(target.term), checkpoints)
    table = index(files)
    if table is not None:
        documents = {"model.safetensors.index.json": table, **documents}
    return OutputPlan(
        target, node, tuple(tasks(node, types, checkpoints)), files, documents, copied,
        _dropped(target.term), made,
    )  # fmt: skip


def _output_type(kind: TensorType, wanted: str | None) -> TensorType:
    return tensor_type(wanted, kind.shape) if wanted and merges(kind.dtype) else kind


def tasks(
    node: Node, types: Mapping[str, TensorType], checkpoints: Mapping[Reference, Checkpoint]
) -> Iterator[Task]:
    """What each output tensor of a node takes, in the order of `types`."""
    models: dict[Hashable, Task] = {}
    pattern_of = patterns(node, checkpoints)
    for name, type in types.items():
        if not merges(type.dtype):
            stored = tuple(leaves(node, name, checkpoints))
            action = COPY if len(stored) == 1 else EQUAL
            yield Task(name, type, action, 1, type.nbytes * len(stored), sources=stored)
            continue
        found = pattern_of(name)
        if found is None:
            yield _task(node, name, type, Lowering(checkpoints))
            continue
        model = models.get((type, found.key))
        if model is None:
            model = _task(node, name, type, Lowering(checkpoints, *found.symbols()))
            models[type, found.key] = model
        fields = list(model)  # as `_replace` would, which takes as long as all the rest
        fields[_NAME], fields[_BINDING] = name, found.binding
        fields[_SOURCES] = tuple(map(found.binding.extent, model.sources))
        yield Task._make(fields)


def _task(node: Node, name: str, type: TensorType, lowering: Lowering) -> Task:
    root = lowering.value(node, name).expr
    if root.op == "load" and root.attr.type.dtype == type.dtype:
        return Task(name, type, COPY, 1, type.nbytes, sources=(root.attr,))
    passes, reads, holds = cost(root, type)
    return Task(
        name, type, COMPUTE, passes, reads, holds, row_block(root, type), (), root,
        makers=tuple(lowering.calls),
    )  # fmt: skip


def _dropped(term: Term) -> dict[str, int]:
    """Reasons and counts of the input tensors that do not reach the output, over all its terms."""
    reasons: dict[str, int] = {}
    for each in walk(term):
        for reason, names in each.dropped.items():
            reasons[reason] = reasons.get(reason, 0) + len(names)
        for reason, count in (each.layout.dropped if each.layout else {}).items():
            reasons[reason] = reasons.get(reason, 0) + count
    return reasons
