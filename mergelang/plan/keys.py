"""Derivation keys: what a tensor is made of, to the last number, in one digest.

Two tensors of one key have the same bytes. A key is made of the expression with all its numbers,
the versions of the operators that made it, the output's type and, for each stored tensor, the
digest of its file and its byte range; what calls a linear algebra library, of the arithmetic, too.
Nothing is read here, and no key is made before someone asks for it. The text of an expression is
made once for all tensors of its pattern.
"""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from blake3 import blake3

from mergelang.ops.expr import Draw, Expr, Extent
from mergelang.ops.rows import Rows
from mergelang.plan.arithmetic import arithmetic, tied
from mergelang.plan.cost import order
from mergelang.plan.lower import Call
from mergelang.plan.plan import Task
from mergelang.tensors import Binding, TensorType

ENGINE = 2
"""The version of what all operators stand on: elementwise steps, reductions, random streams, and
how a result is rounded. Raised when the bytes of any of them change."""

FUNCTIONS = frozenset({"whole", "rowwise", "call"})
"""Expressions that run a function by its name: they carry the version of their operator."""


class _NoDigest(Exception):
    """A file has no digest yet, so that what is read from it has no key."""


class Derivation(NamedTuple):
    """How a tensor comes to be: its key, and of what it is made so that a change can be told.

    `inputs` is a digest of the stored tensors behind it, `operators` are names with versions, as
    `ties 1`; with an operator on whole tensors also the arithmetic.
    """

    key: str
    inputs: str
    operators: tuple[str, ...]


def derivation(
    task: Task, digests: Mapping[str, str], arith: str | None = None
) -> Derivation | None:
    """The derivation of the tensor of a task, in an arithmetic (None: that of the processor).

    `digests` are those of the files by path, with their kind (`store.digests.identity`). None
    where one of the files behind the tensor has none yet.
    """
    text, extents, names, operators = "", task.sources, (), ()
    if task.root is not None:
        written = _written(task.root, task.makers)
        text, extents, names = written.text, written.extents, written.names
        operators = (*written.operators, *_arithmetic(written, arith))
    try:
        stored, leaves = _bound(extents, names, task.binding, digests)
    except _NoDigest:
        return None
    key = _digest(f"tensor {task.type}", text, *leaves, *operators)
    return Derivation(key, _digest(*sorted(set(stored))), operators)


def model_key(tasks: Iterable[Task], digests: Mapping[str, str]) -> str | None:
    """The key of many tensors together, of a model or a task vector: two of one key have the same
    tensors of the same bytes. None where one of the files behind them has no digest yet."""
    parts = []
    for task in tasks:
        made = derivation(task, digests)
        if made is None:
            return None
        parts.append(f"{task.name} {made.key}")
    return _digest("tensors", *sorted(parts))


def value_key(
    expr: Expr, type: TensorType, task: Task, digests: Mapping[str, str],
    arith: str | None = None,
) -> str | None:  # fmt: skip
    """The key of the value that an expression has within a task's tensor; None as above.

    The type is that of the value: an expression does not know its shape by itself. Nor does it know
    how the task's blocks keep rows together, which the last digits of sums depend on.
    """
    written = _written(expr, task.makers)
    try:
        _, leaves = _bound(written.extents, written.names, task.binding, digests)
    except _NoDigest:
        return None
    return _digest(f"value {type} {task.rows}", written.text, *leaves, *_arithmetic(written, arith))


def _arithmetic(written: "_Written", arith: str | None) -> tuple[str, ...]:
    return (arith or arithmetic(),) if written.functions & tied(arith) else ()


def _digest(*parts: str) -> str:
    text = "\0".join((f"engine {ENGINE}", *parts))
    return blake3(text.encode()).hexdigest()[:40]


def _bound(
    extents: Iterable[Extent], names: Iterable[str], binding: Binding, digests: Mapping[str, str]
) -> tuple[list[str], list[str]]:
    """The stored tensors of an expression, by file's digest and byte range; those and the names."""
    stored = []
    for symbol in extents:
        extent = binding.extent(symbol)
        if extent.path not in digests:
            raise _NoDigest(extent.path)
        path, offset, kind = extent
        stored.append(f"{digests[path]} {offset}..{offset + kind.nbytes} {kind}")
    return stored, [*stored, *(binding.name(each) for each in names)]


class _Written(NamedTuple):
    """An expression as text, one line a node, in which stored tensors and names are numbered in the
    order in which they come. `operators` made it, with their versions. `functions` are the
    operations in it that run a function by its name."""

    text: str
    extents: tuple[Extent, ...]
    names: tuple[str, ...]
    operators: tuple[str, ...]
    functions: frozenset[str]


@lru_cache(maxsize=1024)
def _written(root: Expr, calls: tuple[Call, ...]) -> _Written:
    numbers: dict[Expr, int] = {}
    extents: dict[Extent, int] = {}
    names: dict[str, int] = {}
    lines: list[str] = []
    functions: set[str] = set()
    makers = None

    def said(attr: Any) -> str:
        if isinstance(attr, Extent):
            return f"stored {extents.setdefault(attr, len(extents))}"
        if isinstance(attr, Draw):
            return f"draw {attr.key.hex()} {names.setdefault(attr.tensor, len(names))}"
        if isinstance(attr, Rows):
            return f"rows {said(attr.tables)} {attr.places.hex()}"
        if isinstance(attr, tuple):
            return f"({', '.join(map(said, attr))})"
        return "" if attr is None else repr(attr)

    for expr in order(root):
        numbers[expr] = len(numbers)
        args = [numbers[arg] for arg in expr.args]
        line = f"{expr.op} {expr.kind} {said(expr.attr)} {args}"
        if expr.op in FUNCTIONS:
            makers = makers if makers is not None else _makers(calls)
            line += f" {sorted(makers.get(expr, ()))}"
            functions.add(expr.op)
        lines.append(line)
    made = sorted({f"{call.operator} {call.version}" for call in calls})
    return _Written(
        "\n".join(lines), tuple(extents), tuple(names), tuple(made), frozenset(functions)
    )


def _makers(calls: Iterable[Call]) -> dict[Expr, set[str]]:
    """Which operators made each expression that runs a function, with their versions."""
    found: dict[Expr, set[str]] = {}
    for call in calls:
        stack: list[Any] = [call.result]
        seen = set(call.inputs)
        while stack:
            expr = stack.pop()
            if expr in seen:
                continue
            seen.add(expr)
            if expr.op in FUNCTIONS:
                found.setdefault(expr, set()).add(f"{call.operator} {call.version}")
            stack.extend(expr.args)
    return found
