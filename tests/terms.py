"""Terms and programs made by hand, for tests of what comes after the checker."""

from fractions import Fraction
from pathlib import Path

from mergelang.check.program import Destination, Program, Term
from mergelang.check.schedule import ONE, Constant, Schedule, arithmetic
from mergelang.lang import ast
from mergelang.models.reference import Reference, parse_reference
from mergelang.source import Source, Span

TEXT = Source("test.merge", "test")
SPAN = Span(TEXT, 0, 4)


def number(value) -> Schedule:
    return value if not isinstance(value, int | str | Fraction) else Constant(Fraction(value))


def source(text: str, **more) -> Term:
    return Term("source", (), {"reference": reference(text)}, SPAN, ONE, **more)


def reference(text: str) -> Reference:
    return parse_reference(text, Path("/recipes"))


def add(left: Term, right: Term, **more) -> Term:
    return Term("add", (left, right), {}, SPAN, arithmetic("+", left.mass, right.mass), **more)


def sub(left: Term, right: Term, **more) -> Term:
    return Term("sub", (left, right), {}, SPAN, arithmetic("-", left.mass, right.mass), **more)


def scale(by, one: Term, **more) -> Term:
    by = number(by)
    return Term("scale", (one,), {"by": by}, SPAN, arithmetic("*", by, one.mass), **more)


def as_model(one: Term, **more) -> Term:
    return Term("as_model", (one,), {}, SPAN, ONE, **more)


def call(op: str, *inputs: Term, mass=None, **options) -> Term:
    facts = ("seed", "name", "policy", "inventory")
    more = {key: options.pop(key) for key in facts if key in options}
    return Term(op, inputs, options, SPAN, inputs[0].mass if mass is None else mass, **more)


def with_base(op: str, *models: Term, base: Term, **options) -> Term:
    """`op(models, base: base)` as the checker writes it."""
    deltas = [sub(each, base) for each in models]
    delta = call(op, *deltas, **options)
    return Term("from_base", (base, delta), {}, SPAN, base.mass)


def match(**arms: Term) -> Term:
    """Arms by a word of the tensor's name; `_` for all others."""
    patterns = tuple(
        ast.Anything(span=SPAN) if word == "_" else ast.Word(word, span=SPAN) for word in arms
    )
    return Term("match", tuple(arms.values()), {"patterns": patterns}, SPAN, ONE)


def program(*outputs: Term, **terms: Term) -> Program:
    tree = ast.Recipe(TEXT, ())
    targets = tuple(
        Destination(f"out/{i}", f"/out/{i}", term, {"dtype": None, "shards": 5 * 10**9}, SPAN)
        for i, term in enumerate(outputs)
    )
    return Program(tree, targets, terms, {}, {}, 0)
