"""Derivation keys: what a tensor is made of, to the last number, in one digest.

Two tensors of one key have the same bytes. A key is made of the expression with all its numbers,
the versions of the operators that made it, the output's type and, for each stored tensor, the
digest of its file and its byte range; what calls a linear algebra library, of the arithmetic, too.
Nothing is read here, and no key is made before someone asks for it.
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from blake3 import blake3

from mergelang.graph.node import Node
from mergelang.models.checkpoint import Checkpoint
from mergelang.models.reference import Reference
from mergelang.ops.expr import Expr, Extent
from mergelang.plan.arithmetic import arithmetic
from mergelang.plan.cost import order, stored_by
from mergelang.plan.lower import Call, Lowering, leaves, merges
from mergelang.tensors import TensorType

ENGINE = 1
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
    node: Node,
    name: str,
    type: TensorType,
    checkpoints: Mapping[Reference, Checkpoint],
    digests: Mapping[str, str],
) -> Derivation | None:
    """The derivation of tensor `name` of a node, written as `type`.

    `digests` are those of the files by path, with their kind (`store.digests.identity`). None
    where one of the files behind the tensor has none yet.
    """
    try:
        if not merges(type.dtype):
            stored = [_leaf(extent, digests) for extent in leaves(node, name, checkpoints)]
            return _derivation(type, "\n".join(stored), stored, ())
        lowering = Lowering(checkpoints)
        root = lowering.value(node, name).expr
        text, stored, versions = _written(root, lowering.calls, digests)
        versions |= {f"{call.operator} {call.version}" for call in lowering.calls}
        return _derivation(type, text, stored, versions)
    except _NoDigest:
        return None


def value_key(
    expr: Expr, type: TensorType, calls: Iterable[Call], digests: Mapping[str, str]
) -> str | None:
    """The key of the value of an expression inside the tensor of type `type`; None as above.

    `calls` are those of the lowering that made it. The type tells its shape, which an expression
    does not know by itself; its dtype has no part in it.
    """
    try:
        text, _, versions = _written(expr, calls, digests)
    except _NoDigest:
        return None
    return _digest(f"value {type.shape}", text, *sorted(versions))


def _derivation(
    type: TensorType, text: str, stored: Iterable[str], versions: Iterable[str]
) -> Derivation:
    operators = tuple(sorted(versions))
    key = _digest(f"tensor {type}", text, *operators)
    return Derivation(key, _digest(*sorted(set(stored))), operators)


def _digest(*parts: str) -> str:
    text = "\0".join((f"engine {ENGINE}", *parts))
    return blake3(text.encode()).hexdigest()[:40]


def _written(
    root: Expr, calls: Iterable[Call], digests: Mapping[str, str]
) -> tuple[str, list[str], set[str]]:
    """An expression as text, one line a node; its stored tensors; the arithmetic it hangs on."""
    numbers: dict[Expr, int] = {}
    lines, stored, versions = [], [], set()
    makers = None
    for expr in order(root):
        numbers[expr] = len(numbers)
        extent = stored_by(expr)
        if extent is not None:
            attr = _leaf(extent, digests)
            stored.append(attr)
            attr += f" {expr.attr[1:]}" if expr.op == "factor" else ""
        else:
            attr = "" if expr.attr is None else repr(expr.attr)
        line = f"{expr.op} {expr.kind} {attr} {[numbers[arg] for arg in expr.args]}"
        if expr.op in FUNCTIONS:
            makers = makers if makers is not None else _makers(calls)
            line += f" {sorted(makers.get(expr, ()))}"
            if expr.op == "whole":
                versions.add(arithmetic())
        lines.append(line)
    return "\n".join(lines), stored, versions


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


def _leaf(extent: Extent, digests: Mapping[str, str]) -> str:
    """A stored tensor by its file's digest and its byte range."""
    if extent.path not in digests:
        raise _NoDigest(extent.path)
    last = extent.offset + extent.type.nbytes
    return f"{digests[extent.path]} {extent.offset}..{last} {extent.type}"
