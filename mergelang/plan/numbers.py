"""The numbers that reductions give, kept for later runs: which table has those of a tensor, what a
run saves by them, and which it is worth to keep.

A table holds those of all tensors that are reduced over the same models, each by the key of its
derivation: an edit that no reduction depends on leaves them valid, one of some tensors those of the
others. Nothing is read here but tables.
"""

from array import array
from collections.abc import Iterable, Mapping
from functools import lru_cache

from blake3 import blake3

from mergelang.models.checkpoint import Checkpoint
from mergelang.ops.expr import CHOICE, COLUMNS, ROWS, SCALAR, Expr
from mergelang.plan.cost import cost, loads, matrix
from mergelang.plan.keys import value_key
from mergelang.plan.passes import reductions
from mergelang.plan.plan import Task
from mergelang.store.numbers import Tables, nbytes
from mergelang.tensors import TensorType


class Numbers:
    """The numbers that the store has. `names` are digests of files by path, or what stands for
    those. The type that is asked for is that of the values within the tensor."""

    def __init__(
        self, tables: Tables, checkpoints: Iterable[Checkpoint], names: Mapping[str, str],
        arith: str | None = None,
    ):  # fmt: skip
        self.tables, self._names, self._arith = tables, names, arith
        self._promised: set[str] = set()
        self._found: dict[frozenset[str], str] = {}
        self._checkpoints = tuple(checkpoints)
        self._models = {
            str(file): "\0".join(sorted(names.get(str(each), str(each)) for each in model.files))
            for model in self._checkpoints for file in model.files
        }  # fmt: skip

    def named(self, names: Mapping[str, str]) -> "Numbers":
        """The same tables for files of other names."""
        return Numbers(self.tables, self._checkpoints, names, self._arith)

    def table(self, task: Task) -> str:
        """The table for the numbers of a tensor; empty where there is none."""
        extents = {each for expr in reductions(task.root) for each in loads(expr)}
        files = frozenset(task.binding.extent(each).path for each in extents)
        if files not in self._found:
            models = {self._models.get(each, "") for each in files}
            known = models and "" not in models
            self._found[files] = _digest(*sorted(models)) if known else ""
        return self._found[files]

    def keys(self, task: Task, type: TensorType) -> dict[Expr, str]:
        """The key of each number of a tensor, where all files behind it have a name."""
        found = {
            expr: value_key(expr, type, task, self._names, self._arith)
            for expr in reductions(task.root)
        }
        return {expr: key for expr, key in found.items() if key is not None}

    def known(self, task: Task, type: TensorType) -> dict[Expr, array]:
        """The numbers that the store has of a tensor."""
        table = self.tables[self.table(task)] if reductions(task.root) else {}
        keys = self.keys(task, type) if table else {}
        return {expr: table[key] for expr, key in keys.items() if key in table}

    def expected(self, task: Task, type: TensorType) -> frozenset[Expr]:
        """The reductions of a tensor whose numbers the store has, or the run by then."""
        found = self.known(task, type).keys()
        if self._promised:
            keys = self.keys(task, type)
            found |= {expr for expr, key in keys.items() if key in self._promised}
        return frozenset(found)

    def promise(self, task: Task, type: TensorType) -> None:
        """Says that a run computes a tensor before those that are planned from now on."""
        self._promised.update(self.keys(task, type).values())


def saved(task: Task) -> int:
    """Bytes that a run does not have to read where all numbers of a tensor are known."""
    apart = task.spills > 0
    every = cost(task.root, task.type, apart)[1]
    return every - cost(task.root, task.type, apart, frozenset(reductions(task.root)))[1]


@lru_cache(maxsize=1024)
def size(root: Expr, type: TensorType) -> int:
    """Bytes of the numbers of a tensor in a table."""
    lengths = [_length(expr.kind, type) for expr in reductions(root)]
    return nbytes(sum(lengths), len(lengths))


def _length(kind: str, type: TensorType) -> int:
    if kind in (ROWS, COLUMNS):
        rows, width = matrix(kind, type.shape)
        return rows if kind == ROWS else width
    return {SCALAR: 1, CHOICE: 3}[kind]


def _digest(*parts: str) -> str:
    return blake3("\0".join(("numbers", *parts)).encode()).hexdigest()[:40]
