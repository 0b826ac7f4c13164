"""A model or a task vector is wanted: whether an expression is one, and what to write if not."""

import re
from collections.abc import Mapping
from fractions import Fraction

from mergelang.check import mass as masses
from mergelang.check.program import Term, walk
from mergelang.check.report import Report
from mergelang.check.schedule import ONE, ZERO, Constant
from mergelang.check.suggest import show
from mergelang.check.value import File, Value
from mergelang.source import Span

_WHOLE = re.compile(r"[\w.]+(\(.*\))?")
"""Texts that need no parentheses: names and calls."""


class Wanted:
    """Checks masses, and words the way out in the recipe's own names. A term is reported once."""

    def __init__(self, report: Report, names: Mapping[str, Value | None]):
        self._report = report
        self._names = names
        self._reported: set[int] = set()

    def model(self, term: Term, span: Span) -> bool:
        """Whether the mass is 1 at every tensor; reported if not."""
        wrong = masses.elsewhere(term.mass, Fraction(1), term.inventory)
        if wrong is None:
            return True
        if not self._again(term):
            place, value = wrong
            facts = {"mass": show(value), "text": _short(span.text)}
            related = _origin(term, span)
            if place is not None:
                facts["tensor"] = place.name if term.inventory else None
                self._report.add("E0411", span, *related, wanted="1", **facts)
            elif value == 0:
                sum_ = f"{self._base(term)} + {_wrapped(span.text)}"
                self._report.add("E0403", span, *related, **facts, sum=sum_)
            else:
                self._report.add(
                    "E0402", span, *related, **facts, **self._ways_out(term)
                )
        return False

    def delta(self, term: Term, span: Span) -> bool:
        """Whether the mass is 0 at every tensor; reported if not."""
        wrong = masses.elsewhere(term.mass, Fraction(0), term.inventory)
        if wrong is None:
            return True
        if not self._again(term):
            place, value = wrong
            text = _short(span.text)
            related = _origin(term, span)
            if place is not None:
                self._report.add(
                    "E0411", span, *related, wanted="0", mass=show(value), text=text,
                    tensor=place.name if term.inventory else None,
                )  # fmt: skip
            else:
                base = self._known("base") or "base"
                model = f"{_wrapped(span.text)} - {base}" if value == 1 else None
                self._report.add(
                    "E0404", span, *related, mass=show(value), text=text, delta=model,
                    what="a model" if value == 1 else f"of mass {show(value)}",
                )  # fmt: skip
        return False

    def _again(self, term: Term) -> bool:
        known = id(term) in self._reported
        self._reported.add(id(term))
        return known

    def _ways_out(self, term: Term) -> dict[str, str | None]:
        """What the author may have meant: a mean, or a model plus a task vector."""
        parts = _summands(term)
        texts = [self._called(each) for each in parts]
        if len(parts) > 1 and all(each.mass == ONE for each in parts):
            base = self._known("base") or "base"
            first = base if base in texts else texts[0]
            rest = " + ".join(f"({text} - {base})" for text in texts if text != first)
            tuned = f"{first} + {rest}" if rest else None
            return {"mean": f"mean({', '.join(texts)})", "tuned": tuned}
        if len(parts) > 1 and all(each.op == "scale" and each.mass != ZERO for each in parts):
            inputs = [
                f"{self._called(each.inputs[0])} {{ weight: "
                f"{show(each.options['by'].value)} }}"
                for each in parts
                if isinstance(each.options["by"], Constant)
            ]
            if len(inputs) == len(parts):
                return {"linear": f"linear({', '.join(inputs)})"}
        return {}

    def _base(self, term: Term) -> str:
        """The model that a task vector was most likely taken from."""
        for each in walk(term):
            if each.op == "sub" and each.inputs[1].mass == ONE:
                return self._called(each.inputs[1])
        return self._known("base") or "base"

    def _called(self, term: Term) -> str:
        """What this file calls a term: its name, or its text."""
        for name, value in self._names.items():
            if value is term:
                return name
            if isinstance(value, File):
                for inner, each in value.names.items():
                    if each is term:
                        return f"{name}.{inner}"
        return _short(term.span.text)

    def _known(self, name: str) -> str | None:
        value = self._names.get(name)
        return name if isinstance(value, Term) else None


def _origin(term: Term, span: Span) -> tuple[Span, ...]:
    """Where a term was written, if it stands behind a name here."""
    return (term.span,) if term.op != "source" and term.span != span else ()


def _summands(term: Term) -> list[Term]:
    if term.op == "add":
        return [part for each in term.inputs for part in _summands(each)]
    return [term]


def _wrapped(text: str) -> str:
    text = _short(text)
    return text if _WHOLE.fullmatch(text) else f"({text})"


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= 60 else f"{text[:56]} ..."
