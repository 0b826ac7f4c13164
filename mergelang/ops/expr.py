"""What is computed for one output tensor: an interned DAG of block, mask and scalar expressions.

Operators build these with ordinary arithmetic on `Value`s; the executor in `run` evaluates them
block by block. Here is no torch, no file is read, nothing is computed.

Kinds of expression:

    block   one number for each element of the tensor (float32; float64 where an input is float64)
    mask    one boolean for each element
    scalar  one float64, known once the pass that reduces its blocks has ended
    choice  the outcome of a selection (threshold and cut), known after its passes

Only `+ - * / sqrt abs sign`, comparisons and selections act on elements, each rounded on its own;
everything transcendental acts on scalars. That is what makes the bytes independent of CPU, block
size and thread count.
"""

from collections.abc import Iterable, Sequence
from fractions import Fraction
from functools import lru_cache
from hashlib import blake2b
from typing import Any, NamedTuple, TypeAlias
from weakref import WeakValueDictionary

from mergelang.tensors import Extent, TensorType

BLOCK, MASK, SCALAR, CHOICE = "block", "mask", "scalar", "choice"

ELEMENTWISE = {
    "load": BLOCK, "fill": BLOCK, "noise": BLOCK, "whole": BLOCK,
    "add": BLOCK, "sub": BLOCK, "mul": BLOCK, "div": BLOCK,
    "neg": BLOCK, "abs": BLOCK, "sign": BLOCK, "sqrt": BLOCK, "where": BLOCK,
    "lt": MASK, "le": MASK, "eq": MASK, "and": MASK, "or": MASK, "not": MASK,
    "keep": MASK, "chosen": MASK,
}  # fmt: skip
"""What is evaluated block by block, and the kind of its result."""

REDUCTIONS = {"sum": SCALAR, "dot": SCALAR, "count": SCALAR, "largest": SCALAR, "top": CHOICE}
"""What needs passes over the whole tensor. `top` takes several."""

SCALARS = frozenset(
    {"const", "add", "sub", "mul", "div", "neg", "abs", "sign", "sqrt", "sin", "cos", "acos", "exp",
     "log", "min", "max", "lt", "le", "eq", "and", "or", "not", "where"}
)  # fmt: skip
"""Arithmetic between scalars, in float64."""


class Expr:
    """One interned node: equal structure is the same object. Make them with `make`."""

    __slots__ = ("__weakref__", "args", "attr", "kind", "op")

    op: str
    args: "tuple[Expr, ...]"
    attr: Any
    kind: str

    def __repr__(self) -> str:
        inner = [repr(arg) for arg in self.args]
        if self.attr is not None:
            inner.append(str(self.attr))
        return f"{self.op}({', '.join(inner)})"


_interned: "WeakValueDictionary[tuple, Expr]" = WeakValueDictionary()


def make(kind: str, op: str, args: tuple[Expr, ...] = (), attr: Any = None) -> Expr:
    """The one node of this structure. `attr` must be hashable."""
    key = (kind, op, args, attr)
    node = _interned.get(key)
    if node is None:
        node = Expr()
        node.kind, node.op, node.args, node.attr = kind, op, args, attr
        node = _interned.setdefault(key, node)
    return node


@lru_cache(maxsize=65536)
def structure(op: str, *parts: bytes | str) -> bytes:
    """The structural key of `op` over parts: names of operators and sources, never numbers."""
    digest = blake2b(op.encode(), digest_size=16)
    for part in parts:
        data = part if isinstance(part, bytes) else part.encode()
        digest.update(len(data).to_bytes(4, "little") + data)
    return digest.digest()


class Context(NamedTuple):
    """What the randomness of a tensor hangs on besides structure: the file's seed, the name."""

    seed: int
    tensor: str
    type: TensorType


Number: TypeAlias = int | float | Fraction


class Value:
    """A tensor, a mask or a scalar in the body of an operator.

    Supports `+ - * /`, unary `-`, `abs()`, comparisons (which give masks), `& | ~` on masks, and
    the functions of this module. `key` is the structural key of how it came to be: operators and
    sources, no numbers; random masks hang on it.
    """

    __slots__ = ("context", "expr", "key")

    def __init__(self, expr: Expr, key: bytes, context: Context):
        self.expr = expr
        self.key = key
        self.context = context

    def __add__(self, other: "Value | Number") -> "Value":
        return _apply("add", self, other)

    def __radd__(self, other: "Value | Number") -> "Value":
        return _apply("add", other, self)

    def __sub__(self, other: "Value | Number") -> "Value":
        return _apply("sub", self, other)

    def __rsub__(self, other: "Value | Number") -> "Value":
        return _apply("sub", other, self)

    def __mul__(self, other: "Value | Number") -> "Value":
        return _apply("mul", self, other)

    def __rmul__(self, other: "Value | Number") -> "Value":
        return _apply("mul", self, other)

    def __truediv__(self, other: "Value | Number") -> "Value":
        return _apply("div", self, other)

    def __rtruediv__(self, other: "Value | Number") -> "Value":
        return _apply("div", other, self)

    def __neg__(self) -> "Value":
        return _apply("neg", self)

    def __abs__(self) -> "Value":
        return _apply("abs", self)

    def __lt__(self, other: "Value | Number") -> "Value":
        return _apply("lt", self, other)

    def __le__(self, other: "Value | Number") -> "Value":
        return _apply("le", self, other)

    def __gt__(self, other: "Value | Number") -> "Value":
        return _apply("lt", other, self)

    def __ge__(self, other: "Value | Number") -> "Value":
        return _apply("le", other, self)

    def equals(self, other: "Value | Number") -> "Value":
        return _apply("eq", self, other)

    def __and__(self, other: "Value") -> "Value":
        return _apply("and", self, other)

    def __or__(self, other: "Value") -> "Value":
        return _apply("or", self, other)

    def __invert__(self) -> "Value":
        return _apply("not", self)

    def __bool__(self) -> bool:
        raise TypeError("the data is not known here: use where(condition, a, b) instead of `if`")


_MASKS = {"lt", "le", "eq", "and", "or", "not"}
_SAME = {"mul": "scale", "div": "scale"}


def _apply(op: str, *operands: "Value | Number") -> Value:
    values = [operand for operand in operands if isinstance(operand, Value)]
    context = values[0].context
    exprs = tuple(_expr(operand) for operand in operands)
    scalar = all(expr.kind == SCALAR for expr in exprs)
    kind = SCALAR if scalar else MASK if op in _MASKS else BLOCK
    # A number times or over a value has the key of a scaling, whatever the number.
    name = _SAME.get(op, op) if len(values) == 1 else op
    return Value(make(kind, op, exprs), structure(name, *(v.key for v in values)), context)


def _expr(operand: "Value | Number") -> Expr:
    return operand.expr if isinstance(operand, Value) else const(operand)


def const(number: Number) -> Expr:
    """A scalar known now, as float64; infinite beyond its reach, as float64 arithmetic gives."""
    try:
        value = float(number)
    except OverflowError:
        value = float("inf") if number > 0 else float("-inf")
    return make(SCALAR, "const", (), value)


# Elements


def load(extent: Extent, key: bytes, context: Context) -> Value:
    """A stored tensor."""
    return Value(make(BLOCK, "load", (), extent), key, context)


def zeros(like: Value) -> Value:
    return Value(make(BLOCK, "fill", (), 0.0), structure("zeros"), like.context)


def sign(x: Value) -> Value:
    """-1, 0 or 1 for each element, or of a scalar."""
    return _apply("sign", x)


def where(condition: Value, a: "Value | Number", b: "Value | Number") -> Value:
    """`a` where the condition holds, else `b`; elementwise, or between scalars."""
    return _apply("where", condition, a, b)


def sqrt(x: Value) -> Value:
    return _apply("sqrt", x)


def sin(x: Value) -> Value:
    """Of a scalar only."""
    return _scalar("sin", x)


def cos(x: Value) -> Value:
    """Of a scalar only."""
    return _scalar("cos", x)


def acos(x: Value) -> Value:
    """Of a scalar only; the argument is clipped to -1..1."""
    return _scalar("acos", x)


def exp(x: Value) -> Value:
    """Of a scalar only."""
    return _scalar("exp", x)


def log(x: Value) -> Value:
    """Of a scalar only."""
    return _scalar("log", x)


def _scalar(op: str, x: Value) -> Value:
    if x.expr.kind != SCALAR:
        raise TypeError(f"{op} takes a scalar (a sum, a norm, a dot product), not a tensor")
    return Value(make(SCALAR, op, (x.expr,)), structure(op, x.key), x.context)


# Reductions: float64 sums over a fixed partition, in a fixed order


def total(x: Value) -> Value:
    """The sum of all elements; of a mask, how many hold."""
    op = "count" if x.expr.kind == MASK else "sum"
    return Value(make(SCALAR, op, (x.expr,)), structure(op, x.key), x.context)


def dot(x: Value, y: Value) -> Value:
    """The sum of the products, over the flattened tensors."""
    return Value(make(SCALAR, "dot", (x.expr, y.expr)), structure("dot", x.key, y.key), x.context)


def norm(x: Value) -> Value:
    """The Euclidean norm of the flattened tensor."""
    return sqrt(dot(x, x))


def largest(x: Value) -> Value:
    """The largest magnitude; 0 for an empty tensor."""
    return Value(make(SCALAR, "largest", (x.expr,)), structure("largest", x.key), x.context)


# Selections


def top(x: Value, density: Number) -> Value:
    """A mask of the `floor(density * n)` elements of largest magnitude.

    At least one if density > 0. Ties go to the lowest flat index.
    """
    share = Fraction(density).limit_denominator(10**9)
    count = x.context.type.count
    k = min(count, max(int(share * count), 1 if share > 0 else 0))
    if k in (0, count):
        flag = make(MASK, "fill", (), k > 0)
        return Value(flag, structure("top", x.key), x.context)
    choice = make(CHOICE, "top", (x.expr,), k)
    mask = make(MASK, "chosen", (x.expr, choice))
    return Value(mask, structure("top", x.key), x.context)


def keep(x: Value, density: Number, draw: int = 0) -> Value:
    """A random mask: each element of `x` is kept with probability `density`, by itself.

    The stream hangs on the file's seed, the structure of `x` without its numbers, `draw` and the
    tensor's name; a lower density keeps a subset of what a higher one keeps.
    """
    key = structure("keep", x.key, str(draw))
    stream = stream_key(x.context, key)
    probability = float(density)
    if probability >= 1 or probability <= 0:
        mask = make(MASK, "fill", (), probability >= 1)
    else:
        mask = make(MASK, "keep", (), (stream, probability))
    return Value(mask, key, x.context)


def noise(key: bytes, context: Context) -> Value:
    """Random numbers of mean 0 and variance 1: the sum of twelve uniform ones, less six."""
    return Value(make(BLOCK, "noise", (), stream_key(context, key)), key, context)


def stream_key(context: Context, key: bytes) -> bytes:
    """16 bytes that name one random stream."""
    seed = context.seed.to_bytes(16, "little", signed=True)
    return blake2b(seed + key + context.tensor.encode(), digest_size=16).digest()


# Sums


def weighted_sum(values: Sequence[Value], weights: Iterable[Number]) -> Value:
    """`w0 x0 + w1 x1 + ...`, added in this order; a weight of exactly 1 costs no product."""
    terms = [x if w == 1 else x * w for x, w in zip(values, weights, strict=True)]
    result = terms[0]
    for term in terms[1:]:
        result = result + term
    return result


def weighted_mean(values: Sequence[Value], weights: Iterable[Number]) -> Value:
    """The mean with these weights (their sum must not be 0), as `x0 + sum of w_i (x_i - x0)`.

    Written from the first value, so that equal values give exactly that value.
    """
    weights = [Fraction(w) for w in weights]
    scale = sum(weights)
    rest = [x - values[0] for x in values[1:]]
    if not rest:
        return values[0]
    return values[0] + weighted_sum(rest, [w / scale for w in weights[1:]])


# Whole tensors


def whole(function: str, *values: Value, **parameters: Any) -> Value:
    """The result of a function on whole tensors, of the same shape as this output tensor.

    `function` is `"module:name"` and is imported when a run needs it. It is called with one torch
    tensor for each value (float32 or float64, in the output's shape) and the parameters, on one
    thread, and returns one tensor of that shape and dtype.
    """
    attr = (function, tuple(sorted(parameters.items())))
    keys = [value.key for value in values]
    expr = make(BLOCK, "whole", tuple(value.expr for value in values), attr)
    return Value(expr, structure(function, *keys), values[0].context)
