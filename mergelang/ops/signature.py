"""What an operator says about itself: inputs, options with kinds and ranges, defaults, mass.

`@operator` reads it off a typed Python function; the checker, `mergelang ops` and the planner read
it from here.
"""

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cache
from typing import Any, TypeAlias

from mergelang.ops.expr import Value, structure


class Model:
    """A model is wanted (mass 1), or given."""


class Delta:
    """A task vector is wanted (mass 0), or given."""


class Alike:
    """Models or deltas, all inputs of one mass; the result has that mass."""


class Layers:
    """A model or a piece of one (`x[8..16]`), for operators that rearrange tensors."""


INPUTS = (Model, Delta, Alike, Layers)
"""The kinds of inputs."""


@dataclass(frozen=True)
class Number:
    """A number within bounds, `low` and `high` included unless open. May be a schedule."""

    low: float | None = None
    high: float | None = None
    low_open: bool = False
    high_open: bool = False

    def __str__(self) -> str:
        if self.low is None and self.high is None:
            return "number"
        left = "(-inf" if self.low is None else f"{'(' if self.low_open else '['}{self.low:g}"
        right = "inf)" if self.high is None else f"{self.high:g}{')' if self.high_open else ']'}"
        return f"number in {left}, {right}"

    def holds(self, value: Fraction | float) -> bool:
        low = self.low is None or value > self.low or (value == self.low and not self.low_open)
        high = self.high is None or value < self.high or (value == self.high and not self.high_open)
        return low and high


@dataclass(frozen=True)
class Integer:
    """A whole number, not a schedule."""

    low: int | None = None
    high: int | None = None

    def __str__(self) -> str:
        low = "" if self.low is None else str(self.low)
        high = "" if self.high is None else str(self.high)
        return f"integer {low}..{high}" if low or high else "integer"

    def holds(self, value: int) -> bool:
        return (self.low is None or value >= self.low) and (self.high is None or value <= self.high)


@dataclass(frozen=True)
class Boolean:
    def __str__(self) -> str:
        return "true | false"


@dataclass(frozen=True, init=False)
class Choice:
    """One of a few bare words: `gate: hidden`."""

    words: tuple[str, ...]

    def __init__(self, *words: str):
        object.__setattr__(self, "words", words)

    def __str__(self) -> str:
        return " | ".join(self.words)


@dataclass(frozen=True)
class Text:
    """A string."""

    def __str__(self) -> str:
        return "string"


@dataclass(frozen=True)
class Texts:
    """A list of strings."""

    def __str__(self) -> str:
        return "list of strings"


@dataclass(frozen=True)
class Statistics:
    """A string that names a .safetensors file of `mergelang stats`; `what` of `fisher`, `gram`.

    An operator gets the Extent of the tensor of its own name in it, or None.
    """

    what: str

    def __str__(self) -> str:
        return f"string, a file of `mergelang stats --kind {self.what}`"


Kind: TypeAlias = Number | Integer | Boolean | Choice | Text | Texts | Statistics


@dataclass(frozen=True, init=False)
class Each:
    """An option of each input, given in its record, or in the call for all inputs."""

    kind: Kind

    def __init__(self, kind: Kind):
        object.__setattr__(self, "kind", kind)


REQUIRED = inspect.Parameter.empty
"""The default of an option that has none."""


@dataclass(frozen=True)
class Option:
    """One option. `each`: of every input, by record; else of the call."""

    name: str
    kind: Kind
    default: Any = REQUIRED
    each: bool = False


@dataclass(frozen=True)
class Input:
    """One input, or with `many` any number of them from `least` on.

    A `named` input is written `base: x` and stands after all others; an `optional` one is the first
    of them where it is not given.
    """

    name: str
    kind: type
    many: bool = False
    named: bool = False
    optional: bool = False


@dataclass(frozen=True)
class Signature:
    """Everything about an operator but its body.

    `kind` of the result is Model, Delta, Alike or Layers. A `task_vectors` operator takes models
    with `base:` or deltas without it: its body sees deltas in both cases, and with a base the
    result is the base plus what the body returns; one for `points` too takes models without a base
    as they are. `arranges` marks operators on layouts, not on values. `use` says what it is good
    for, `needs` of an option which other one has to have which value for it to count, `apart` which
    option has to be true for all inputs to be one and the same, or two of them with equal options.
    """

    name: str
    inputs: tuple[Input, ...]
    options: tuple[Option, ...]
    kind: type
    least: int
    most: int | None
    task_vectors: bool = False
    points: bool = False
    arranges: bool = False
    version: int = 1
    summary: str = ""
    text: str = ""
    formula: str = ""
    use: str = ""
    paper: str = ""
    mass: Callable[[tuple[Fraction, ...], Mapping[str, Any]], Fraction] | None = field(
        default=None, compare=False, repr=False
    )
    needs: Mapping[str, tuple[str, Any]] = field(default_factory=dict, compare=False)
    apart: str | None = None
    origin: str = "mergelang"

    def option(self, name: str) -> Option | None:
        return next((option for option in self.options if option.name == name), None)

    @property
    def named(self) -> tuple[Input, ...]:
        return tuple(each for each in self.inputs if each.named)

    @property
    def takes_base(self) -> bool:
        return self.task_vectors or any(each.name == "base" for each in self.named)


@dataclass(frozen=True, eq=False)
class Operator:
    """A signature with its body; called with `Value`s (or layouts) it runs the body."""

    signature: Signature
    body: Callable[..., Any]

    @property
    def name(self) -> str:
        return self.signature.name

    @property
    def family(self) -> str:
        """What `mergelang ops` lists it under: `task vectors`, or the package it comes from."""
        if self.signature.origin == "mergelang":
            return self.body.__module__.rpartition(".")[2].replace("_", " ")
        return f"from {self.signature.origin}"

    def __call__(self, *inputs: Any, **options: Any) -> Any:
        """The body's result, with the structural key of this call.

        Named inputs come last. Options by their name in the language; `Each` options as one value
        for all inputs or a sequence with one for each; what is not given takes its default.
        """
        named = {each.name: value for each, value in self._named(inputs)}
        plain = inputs[: len(inputs) - len(named)]
        result = self.body(*plain, **named, **self._arguments(len(plain), options))
        if self.signature.arranges:
            return result
        key = self.key([value.key for value in inputs], options)
        return Value(result.expr, key, result.context)

    def key(self, inputs: Sequence[bytes], options: Mapping[str, Any]) -> bytes:
        """The structural key of a call: the operator, its inputs' keys, the words and draws among
        its options that are not the default. Numbers that steer are left out, on purpose."""
        words = [
            f"{option.name}={options[option.name]}"
            for option in self.signature.options
            if isinstance(option.kind, Choice | Integer)
            and options.get(option.name, option.default) != option.default
        ]
        return structure(self.name, *inputs, *words)

    def _named(self, inputs: Sequence[Any]) -> Iterable[tuple[Input, Any]]:
        named = self.signature.named
        return zip(named, inputs[len(inputs) - len(named) :], strict=True)

    def _arguments(self, count: int, options: Mapping[str, Any]) -> dict[str, Any]:
        arguments = {}
        for option in self.signature.options:
            value = options.get(option.name, option.default)
            if value is REQUIRED:
                raise TypeError(f"{self.name}: {option.name} has no default")
            if option.each and not (isinstance(value, tuple | list) and len(value) == count):
                value = (value,) * count
            arguments[_python_name(option.name, self.body)] = value
        return arguments


@cache
def _python_name(name: str, body: Callable[..., Any]) -> str:
    return name if name in inspect.signature(body).parameters else name + "_"


def signature_of(
    body: Callable[..., Any], *, task_vectors: bool, arranges: bool, **facts: Any
) -> Signature:
    """The signature of a typed function. A trailing `_` of a name (`lambda_`) is not part of it."""
    inputs, options = [], []
    # Annotations may be text: `from __future__ import annotations` makes them so.
    typed = inspect.signature(body, eval_str=True)
    for parameter in typed.parameters.values():
        kind = parameter.annotation
        name = parameter.name.rstrip("_")
        if parameter.kind is parameter.KEYWORD_ONLY and kind in INPUTS:
            optional = parameter.default is None
            inputs.append(Input(name, kind, named=True, optional=optional))
        elif parameter.kind is parameter.KEYWORD_ONLY:
            each = isinstance(kind, Each)
            kind = kind.kind if each else kind
            if not isinstance(kind, Kind):
                raise TypeError(f"{body.__name__}: {parameter.name} needs a kind, not {kind!r}")
            options.append(Option(name, kind, parameter.default, each))
        elif kind in INPUTS:
            many = parameter.kind is parameter.VAR_POSITIONAL
            inputs.append(Input(name, kind, many))
        else:
            known = ", ".join(each.__name__ for each in INPUTS)
            raise TypeError(f"{body.__name__}: {parameter.name} needs one of {known}")
    result = typed.return_annotation
    if result is inspect.Signature.empty:
        result = Alike
    least, most = facts.pop("least", None), facts.pop("most", None)
    many = any(each.many for each in inputs)
    plain = sum(not each.named for each in inputs)
    summary, _, text = (inspect.getdoc(body) or "").partition("\n")
    return Signature(
        name=facts.pop("name", None) or body.__name__.rstrip("_"),
        inputs=tuple(inputs),
        options=tuple(options),
        kind=result,
        least=least if least is not None else plain,
        most=most if many else plain,
        task_vectors=task_vectors,
        arranges=arranges,
        summary=summary.strip(),
        text=text.strip(),
        **facts,
    )
