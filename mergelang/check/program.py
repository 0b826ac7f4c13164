"""The typed program: what the checker makes of a recipe, and all that graph and plan need of it.

A `Term` is a model-valued expression whose names are resolved, whose options are complete and in
range, whose mass is known. Terms share: a `let` used twice is one object.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mergelang.check.schedule import Schedule
from mergelang.errors import Diagnostic
from mergelang.lang import ast
from mergelang.models.checkpoint import Checkpoint
from mergelang.models.reference import Reference
from mergelang.models.target import Target
from mergelang.models.vocabulary import Vocabulary
from mergelang.ops.layout import Layout
from mergelang.source import Span
from mergelang.tensors import Inventory


@dataclass(frozen=True, eq=False, repr=False)
class Term:
    """One model-valued expression.

    `op` says which, with these inputs and options:

        source      none              {"reference": Reference}
        lora        none              {"reference": Reference}  (of an adapter)
        adapted     base              {"reference": Reference}  (of the adapter merged into it)
        resized     base, givers      {"reference": Reference, "words": Vocabulary}  (the base with
                                      the tables that an adapter holds whole)
        add, sub    left, right       {}
        scale       one               {"by": Schedule}        (`x * t`, `t * x`, `x / t`, `-x`)
        as_model    one               {}
        slice       one               {"low": int, "high": int | None}
        module      one               {"words": (str,)}
        graft       whole, modules    {"words": tuple[str, ...]}  (which module each one becomes)
        renamed     one               {"names"}   (under another model's names for its tensors)
        match       one an arm        {"patterns": tuple[ast.Pattern, ...]}
        retokenize  source, givers    {"alignment": Alignment}   (givers: whose rows it takes)
        from_base   base, delta       {}   (`base:` of a task-vector operator: base plus delta)
        an operator its inputs        its options, complete: a Schedule for every `Number`, Python
                                      values for the others; for an `each` option a tuple, one for
                                      every input

    A task-vector operator with `base:` is checked into `from_base(base, op(sub(x1, base), ...))`,
    so that operators of that kind only ever see deltas.

    `policy` holds `missing:` and `mismatch:` of a call: the word "skip" or a Term (`from(x)`). With
    `base:` it stands on the `from_base`; the terms below that hold only what all inputs have alike.
    `donor` is the Term that config, sidecar files and the default dtype come from. `name` is the
    name that a statement gave to the expression. `seed` is that of the file where it stands.
    `inventory` (and `layout` of an operator that arranges, and of a slice) is None when the sources
    were not looked at. `dropped`: reason -> names of input tensors that this expression leaves out.
    `mixed`: tensors whose rows stand for other tokens in other inputs, so that a `mismatch:` policy
    answers for them too.
    """

    op: str
    inputs: "tuple[Term, ...]"
    options: Mapping[str, Any]
    span: Span
    mass: Schedule
    seed: int = 0
    name: str | None = None
    policy: "Mapping[str, Term | str]" = field(default_factory=dict)
    donor: "Term | None" = None
    inventory: Inventory | None = None
    layout: Layout | None = None
    dropped: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    mixed: frozenset[str] = frozenset()

    def __repr__(self) -> str:
        """One level only: terms share, so all of them would be written again and again."""
        return f"{self.op}({', '.join(each.op for each in self.inputs)})"


def walk(
    term: Term, below: Callable[[Term], Sequence[Term]] = lambda term: term.inputs
) -> Iterator[Term]:
    """A term and all below it, each once, before what is below it, in the order of the text."""
    stack, seen = [term], set()
    while stack:
        each = stack.pop()
        if each not in seen:
            seen.add(each)
            yield each
            stack += reversed(below(each))


@dataclass(frozen=True, eq=False)
class Destination:
    """One `output` statement.

    `path` is absolute; `text` as written. `options` are complete: dtype (safetensors' name, or
    None for that of the donor), shards (bytes). `template` is its chat template, if it asks for
    one; `vocabulary` what its tables have rows for,
    where that is not what they have in the model that its config comes from.
    """

    text: str
    path: str
    term: Term
    options: Mapping[str, Any]
    span: Span
    template: str | None = None
    vocabulary: Vocabulary | Target | None = None


@dataclass(frozen=True, eq=False)
class Parameter:
    """One `param` of the main file, with the value in force."""

    name: str
    value: Any
    default: Any
    record: Mapping[str, Any]
    span: Span


@dataclass(frozen=True, eq=False)
class Program:
    """A checked recipe. `terms`: every named model expression of the main file, in its order.

    `checkpoints`: each opened source by its reference; empty when sources were not looked at.
    `places`: each source, looked at or not, by its text as the main recipe would write it.
    `declared` are all outputs of the recipe, `outputs` those that are wanted this time. `folder` is
    where the recipe's paths start; `used`: the recipes that it uses, and that those use, by their
    path from there; `templates` the texts of the chat templates that it has in files, likewise.
    `device` is the name of what it is computed on, `arith` the arithmetic of a card; None for that
    of the processor.
    """

    tree: ast.Recipe
    outputs: tuple[Destination, ...]
    terms: Mapping[str, Term]
    params: Mapping[str, Parameter]
    checkpoints: Mapping[Reference, Checkpoint]
    seed: int
    diagnostics: tuple[Diagnostic, ...] = ()
    folder: Path = Path()
    places: Mapping[str, Reference] = field(default_factory=dict)
    declared: tuple[Destination, ...] = ()
    used: Mapping[str, ast.Recipe] = field(default_factory=dict)
    templates: Mapping[str, str] = field(default_factory=dict)
    device: str = "cpu"
    arith: str | None = None

    @property
    def warnings(self) -> tuple[Diagnostic, ...]:
        return tuple(each for each in self.diagnostics if not each.is_error)
