"""How far two outputs of one recipe are from each other, element by element, and whether those that
are far lie at a decision: a selection, a comparison or a sign that the last digit may turn.

An element is far where it differs by more than one unit in the last place of its dtype. It lies at
a decision where the distance to it is at most 1e-6 of what it is made of: of the threshold of a
selection; of a comparison or a sign, of the magnitudes of all that was added up.
"""

from collections.abc import Iterator, Mapping
from functools import reduce
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mergelang.models.headers import read_header
from mergelang.ops import expr as e
from mergelang.ops.expr import BLOCK, MASK, SCALAR, Expr, Extent, make
from mergelang.plan.cost import order
from mergelang.plan.plan import Plan, Task
from mergelang.run.evaluate import as_array, evaluate
from mergelang.tensors import TensorType

NEAR = 1e-6

_INTEGERS = {"F64": np.int64, "F32": np.int32, "F16": np.int16, "BF16": np.int16}


class Agreement(NamedTuple):
    """Elements in all, those that differ at all, by more than one unit in the last place, and how
    many of the latter lie at a decision; and the most units that two differ by."""

    elements: int = 0
    differ: int = 0
    far: int = 0
    near: int = 0
    most: int = 0

    def __add__(self, other: "Agreement") -> "Agreement":  # type: ignore[override]
        sums = (a + b for a, b in zip(self[:4], other[:4], strict=True))
        return Agreement(*sums, max(self.most, other.most))


def agreement(plan: Plan, one: Path, other: Path) -> Agreement:
    """Of the tensors of the only output of a plan, as they lie in two folders."""
    tasks = {task.name: task.original for task in plan.outputs[0].tasks}
    theirs = _stored(other)
    found = Agreement()
    for name, extent in _stored(one).items():
        a, b = _raw(extent), _raw(theirs[name])
        if extent.type != theirs[name].type:
            raise SystemExit(f"{name} is {extent.type} and {theirs[name].type}")
        if extent.type.dtype not in _INTEGERS or np.array_equal(a, b):
            found += Agreement(extent.type.count)
            continue
        apart = units(a, b, extent.type.dtype)
        far = apart > 1
        near = int((far & decided(tasks[name])).sum()) if far.any() else 0
        found += Agreement(
            extent.type.count, int((apart > 0).sum()), int(far.sum()), near, int(apart.max())
        )
    return found


def units(a: np.ndarray, b: np.ndarray, dtype: str) -> np.ndarray:
    """By how many units in the last place the elements of two tensors differ, whose bytes these
    are: how many numbers of the dtype lie between them."""
    places = []
    for raw in (a, b):
        bits = raw.view(_INTEGERS[dtype]).astype(np.int64)
        places.append(np.where(bits < 0, np.iinfo(_INTEGERS[dtype]).min - bits, bits))
    return np.abs(places[0] - places[1])


def decided(task: Task) -> np.ndarray:
    """For each element of a tensor whether it lies at a decision, flattened."""
    masks = list(decisions(task.root)) if task.root is not None else []
    if not masks:
        return np.zeros(task.type.count, bool)
    near = reduce(lambda x, y: make(MASK, "or", (x, y)), masks)
    shown = _bound(make(BLOCK, "where", (near, e.const(1), e.const(0))), task)
    kind = TensorType("F32", task.type.shape)
    return as_array(evaluate(shown, kind, allow_nonfinite=True), kind).reshape(-1) > 0


def decisions(root: Expr) -> Iterator[Expr]:
    """For each decision within an expression the mask of the elements that lie at it."""
    for expr in order(root):
        if expr.op == "chosen":
            x, choice = expr.args
            threshold = make(SCALAR, "kth", choice.args, choice.attr)
            apart = _block("abs", _block("sub", _block("abs", x), threshold))
            yield make(MASK, "le", (apart, make(SCALAR, "mul", (threshold, e.const(NEAR)))))
        elif expr.op in ("lt", "le", "eq") and expr.kind == MASK:
            a, b = expr.args
            yield _at(_block("sub", a, b))
        elif expr.op == "sign" and expr.kind == BLOCK:
            yield _at(expr.args[0])


def _at(x: Expr) -> Expr:
    """Where a number is next to nothing beside what it was made of."""
    return make(MASK, "le", (_block("abs", x), _block("mul", _size(x), e.const(NEAR))))


def _size(x: Expr) -> Expr:
    """The magnitudes of what a number is the sum of, added up."""
    match x.op, x.args:
        case "add" | "sub", args:
            return make(x.kind, "add", tuple(map(_size, args)))
        case "mul", args:
            return make(x.kind, "mul", tuple(map(_size, args)))
        case "div", (a, b):
            return make(x.kind, "div", (_size(a), make(b.kind, "abs", (b,))))
        case "where", (mask, a, b):
            return make(x.kind, "where", (mask, _size(a), _size(b)))
        case "neg", (a,):
            return _size(a)
    return make(x.kind, "abs", (x,))


def _block(op: str, *args: Expr) -> Expr:
    return make(BLOCK, op, args)


def _bound(root: Expr, task: Task) -> Expr:
    """The expression with what its symbols stand for in a task."""
    made: dict[Expr, Expr] = {}
    for expr in order(root):
        made[expr] = make(
            expr.kind, expr.op, tuple(made[arg] for arg in expr.args), _attr(expr.attr, task)
        )
    return made[root]


def _attr(attr: object, task: Task) -> object:
    if isinstance(attr, Extent):
        return task.binding.extent(attr)
    if isinstance(attr, e.Draw):
        return attr._replace(tensor=task.binding.name(attr.tensor))
    if isinstance(attr, tuple) and not hasattr(attr, "_fields"):
        return tuple(_attr(each, task) for each in attr)
    return attr


def _stored(folder: Path) -> Mapping[str, Extent]:
    found: dict[str, Extent] = {}
    for file in sorted(folder.glob("*.safetensors")):
        found |= read_header(file, file.name)
    return found


def _raw(extent: Extent) -> np.ndarray:
    return np.fromfile(extent.path, np.uint8, extent.type.nbytes, offset=extent.offset)
