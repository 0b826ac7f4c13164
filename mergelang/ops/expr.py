"""What is computed for one output tensor: an interned DAG of block, mask and scalar expressions.

Operators build these with ordinary arithmetic on `Value`s; the executor in `run` evaluates them
block by block. Here is no torch, no file is read, nothing is computed.

Kinds of expression:

    block   one number for each element of the tensor (float32; float64 where an input is float64)
    mask    one boolean for each element
    scalar  one float64, known once the pass that reduces its blocks has ended
    rows    one float64 for each row of the tensor, likewise; `columns` for each column
    choice  the outcome of a selection (threshold, cut and quota), known after its passes
    file    a stored tensor of any shape, for functions on whole tensors and low-rank products

A tensor of shape [..., n] is a matrix of rows of n elements, one of shape [m, ...] a matrix of m
rows whose columns are reduced; a tensor of one dimension is one row, in both cases.

Only `+ - * / sqrt abs sign`, comparisons and selections act on elements, each rounded on its own;
everything transcendental acts on scalars and on numbers of rows and columns. That is what makes the
bytes independent of CPU, block size and thread count.
"""

from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache
from hashlib import blake2b
from typing import Any, NamedTuple, TypeAlias
from weakref import WeakValueDictionary

from mergelang.tensors import Extent, TensorType

BLOCK, MASK, SCALAR, CHOICE = "block", "mask", "scalar", "choice"
ROWS, COLUMNS, FILE = "rows", "columns", "file"

SELECTIONS = frozenset({"top", "kth"})
"""What is found among the magnitudes of a whole tensor."""

REDUCTIONS = SELECTIONS | {"sum", "dot", "count", "largest", "greatest", "rowwise"}
"""What needs a pass over the whole tensor."""


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
    """What is known of an output tensor besides its inputs.

    `seed` of the file and the name `tensor` are what its randomness depends on. `depth` is 0 in the
    first layer, 1 in the last, and 0 outside the layers.
    """

    seed: int
    tensor: str
    type: TensorType
    depth: Fraction = Fraction(0)


Number: TypeAlias = int | float | Fraction


class Value:
    """A tensor, a mask or a scalar in the body of an operator.

    Supports `+ - * /`, unary `-`, `abs()`, comparisons (which give masks), `& | ~` on masks, and
    the functions of this module. `key` is the structural key of how it came to be: operators and
    sources, no numbers; random masks depend on it.
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
        """A mask of the elements that are equal; `==` is that of Python's objects."""
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
    kinds = {expr.kind for expr in exprs} - {SCALAR}
    if len(kinds) > 1 or not kinds <= {ROWS, COLUMNS}:
        exprs = tuple(map(_spread, exprs))
        if op == "where":
            exprs = (_mask(exprs[0]), *exprs[1:])
        kind = MASK if op in _MASKS else BLOCK
    else:
        kind = kinds.pop() if kinds else SCALAR
    # A number times or over a value has the key of a scaling, whatever the number.
    name = _SAME.get(op, op) if len(values) == 1 else op
    return Value(make(kind, op, exprs), structure(name, *(v.key for v in values)), context)


def _expr(operand: "Value | Number") -> Expr:
    return operand.expr if isinstance(operand, Value) else const(operand)


def _spread(expr: Expr) -> Expr:
    """Numbers of rows or columns as elements, rounded to their dtype."""
    return make(BLOCK, "spread", (expr,)) if expr.kind in (ROWS, COLUMNS) else expr


def _mask(expr: Expr) -> Expr:
    if expr.kind != BLOCK:
        return expr
    return make(MASK, "not", (make(MASK, "eq", (expr, const(0))),))


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
    """A tensor of zeros, of the shape of `like`."""
    return Value(make(BLOCK, "fill", (), 0.0), structure("zeros"), like.context)


def sign(x: Value) -> Value:
    """-1, 0 or 1 for each element, or of a scalar."""
    return _apply("sign", x)


def where(condition: Value, a: "Value | Number", b: "Value | Number") -> Value:
    """`a` where the condition holds, else `b`; elementwise, or between scalars."""
    return _apply("where", condition, a, b)


def sqrt(x: Value) -> Value:
    """The square root, rounded to the nearest: of each element in the dtype of the block, or of
    float64 numbers; NaN below 0."""
    return _apply("sqrt", x)


def sin(x: Value) -> Value:
    """The sine of float64 numbers: a scalar, one for each row or column. TypeError for a tensor."""
    return _number("sin", x)


def cos(x: Value) -> Value:
    """The cosine, of what `sin` takes."""
    return _number("cos", x)


def acos(x: Value) -> Value:
    """The arc cosine, of what `sin` takes, clipped to -1..1."""
    return _number("acos", x)


def exp(x: Value) -> Value:
    """e to the power of what `sin` takes."""
    return _number("exp", x)


def log(x: Value) -> Value:
    """The natural logarithm, of what `sin` takes; minus infinity of 0 and below."""
    return _number("log", x)


def _number(op: str, x: Value) -> Value:
    if x.expr.kind not in (SCALAR, ROWS, COLUMNS):
        raise TypeError(f"{op} takes a number (a sum, a norm, a dot product), not a tensor")
    return Value(make(x.expr.kind, op, (x.expr,)), structure(op, x.key), x.context)


def solve(function: str, scalars: Sequence[Value], count: int, **parameters: Any) -> list[Value]:
    """`count` scalars that a Python function makes of scalars: what no formula says, an iteration.

    `function` is `"module:name"`, called with a list of floats and the parameters; it returns a
    sequence of `count` floats and uses nothing but float64 arithmetic and `math`.
    """
    attr = (function, tuple(sorted(parameters.items())))
    call = make(SCALAR, "call", tuple(_expr(each) for each in scalars), attr)
    key = structure(function, *(each.key for each in scalars))
    context = scalars[0].context
    return [Value(make(SCALAR, "item", (call,), i), key, context) for i in range(count)]


# Reductions: float64 sums over a fixed partition, in a fixed order


def total(x: Value) -> Value:
    """The sum of all elements; of a mask, how many hold."""
    op = "count" if x.expr.kind == MASK else "sum"
    return Value(make(SCALAR, op, (x.expr,)), structure(op, x.key), x.context)


def dot(x: Value, y: Value, kind: str = SCALAR) -> Value:
    """The sum of the products over the flattened tensors, or over each of their ROWS or COLUMNS."""
    return Value(make(kind, "dot", (x.expr, y.expr)), structure("dot", x.key, y.key), x.context)


def norm(x: Value, kind: str = SCALAR) -> Value:
    """The Euclidean norm of the flattened tensor, or of each of its ROWS or COLUMNS."""
    return sqrt(dot(x, x, kind))


def greatest(x: Value) -> Value:
    """The greatest element (the least one is `-greatest(-x)`); 0 for an empty tensor."""
    return Value(make(SCALAR, "greatest", (x.expr,)), structure("greatest", x.key), x.context)


def largest(x: Value) -> Value:
    """The largest magnitude; 0 for an empty tensor."""
    return Value(make(SCALAR, "largest", (x.expr,)), structure("largest", x.key), x.context)


# Selections


def exact(number: Number) -> Fraction:
    """What a number was written as: 0.8 is 4/5, also as a float that is not quite."""
    return Fraction(number).limit_denominator(10**9)


def share_of(density: Number, count: int) -> int:
    """`floor(density * count)`, computed exactly; at least one if density > 0 and there is one."""
    share = exact(density)
    return min(count, max(int(share * count), 1 if share > 0 else 0))


def top(x: Value, density: Number) -> Value:
    """A mask of the `floor(density * n)` elements of largest magnitude.

    At least one if density > 0. Ties go to the lowest flat index.
    """
    return top_count(x, share_of(density, x.context.type.count))


def top_count(x: Value, k: int) -> Value:
    """A mask of the `k` elements of largest magnitude. Ties go to the lowest flat index."""
    if not 0 < k < x.context.type.count:
        return Value(make(MASK, "fill", (), k > 0), structure("top", x.key), x.context)
    return _chosen(x, make(CHOICE, "top", (x.expr,), k))


def top_nonzero(x: Value, density: Number) -> Value:
    """As `top`, with n the number of elements that are not zero; none if that is less than one."""
    return _chosen(x, make(CHOICE, "top", (x.expr,), exact(density)))


def _chosen(x: Value, choice: Expr) -> Value:
    return Value(make(MASK, "chosen", (x.expr, choice)), structure("top", x.key), x.context)


def kth(x: Value, k: int) -> Value:
    """The `k`-th largest magnitude (from 1), a scalar."""
    return Value(make(SCALAR, "kth", (x.expr,), k), structure("kth", x.key), x.context)


def rank(x: Value) -> Value:
    """For each element its place (from 0) among the magnitudes of its row, in ascending order.

    Of equal magnitudes those that stand first come last.
    """
    return Value(make(BLOCK, "rank", (x.expr,)), structure("rank", x.key), x.context)


def keep(x: Value, density: Number, draw: int = 0) -> Value:
    """A random mask: each element of `x` is kept with probability `density`, by itself.

    The stream depends on the file's seed, the structure of `x` without its numbers, `draw` and the
    tensor's name; a lower density keeps a subset of what a higher one keeps.
    """
    key = structure("keep", x.key, str(draw))
    drawn = draw_of(x.context, key)
    probability = float(density)
    if probability >= 1 or probability <= 0:
        mask = make(MASK, "fill", (), probability >= 1)
    else:
        mask = make(MASK, "keep", (), (drawn, probability))
    return Value(mask, key, x.context)


def uniform(x: Value, draw: int = 0) -> Value:
    """For each element of `x` a random number in [0, 1), a multiple of 2^-24; keyed as `keep`."""
    key = structure("uniform", x.key, str(draw))
    return Value(make(BLOCK, "uniform", (), draw_of(x.context, key)), key, x.context)


def noise(key: bytes, context: Context) -> Value:
    """Random numbers of mean 0 and variance 1: the sum of twelve uniform ones, less six."""
    return Value(make(BLOCK, "noise", (), draw_of(context, key)), key, context)


def uniform_numbers(key: bytes, context: Context) -> Value:
    """Random numbers in [0, 1) for a tensor that is made anew."""
    return Value(make(BLOCK, "uniform", (), draw_of(context, key)), key, context)


def filled(number: float, key: bytes, context: Context) -> Value:
    """A tensor of one number."""
    return Value(make(BLOCK, "fill", (), number), key, context)


class Draw(NamedTuple):
    """One random stream: seed and structure as bytes, and the name of the tensor that it is for."""

    key: bytes
    tensor: str

    def stream(self, tensor: str) -> bytes:
        """16 bytes that name the stream, with what the tensor's name stands for."""
        return blake2b(self.key + tensor.encode(), digest_size=16).digest()


def draw_of(context: Context, key: bytes) -> Draw:
    """The random stream of a structure in a tensor."""
    return Draw(context.seed.to_bytes(16, "little", signed=True) + key, context.tensor)


def rowwise(function: str, *values: Value) -> Value:
    """A number for each row that a function computes of whole rows.

    `function` is `"module:name"` and is imported when a run needs it. It is called with one torch
    tensor [rows, n] for each value and returns a float64 tensor [rows]. They lie where the run
    computes, on a card if it does so there.
    """
    exprs = tuple(value.expr for value in values)
    key = structure(function, *(value.key for value in values))
    return Value(make(ROWS, "rowwise", exprs, function), key, values[0].context)


# Whole tensors


def whole(
    function: str, *values: Value, files: Sequence[Extent] = (), room: float = 2, **parameters: Any
) -> Value:  # fmt: skip
    """The result of a function on whole tensors, of the same shape as this output tensor.

    `function` is `"module:name"` and is imported when a run needs it. It is called with one torch
    tensor for each value (float32 or float64, in the output's shape), one for each of the `files`
    (stored tensors of any shape, in the same dtype) and the parameters, on one thread, and returns
    one tensor of the output's shape and dtype. They lie where the run computes, on a card if it
    does so there: new tensors are made beside them (`x.new_zeros(...)`). `room` is what it takes of
    memory beside its inputs, its result included, in tensors of that shape; memory is planned so.
    """
    attr = (function, tuple(sorted(parameters.items())), room)
    keys = [value.key for value in values]
    stored = tuple(make(FILE, "stored", (), each) for each in files)
    expr = make(BLOCK, "whole", tuple(value.expr for value in values) + stored, attr)
    return Value(expr, structure(function, *keys), values[0].context)
