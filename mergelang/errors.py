"""Everything that can go wrong, as data.

    MergelangError              exit code 1; 3 where files cannot be read and nothing else is wrong
    ├── RecipeError             the text or the models it names are wrong: diagnostics, with places
    ├── InputError              a model, a file, a folder is wrong: one fact, no place in a text
    ├── UsageError              the command line is wrong (exit code 2)
    ├── RunError                the run failed: disk full, unreadable file, non-finite value (3)
    └── Cancelled               the run was cancelled (130)

An error carries a code and facts; the sentences that people read stand in `mergelang.wording`,
keyed by the code. Codes: E01 text, E02 names and imports, E03 calls and options, E04 mass and
kinds, E05 schedules, patterns and layers, E06 models on disk, E07 tensors that do not fit,
E08 outputs, E09 the run, E10 the command line, E11 files of mergekit, E20 what is remembered
between runs, E21 record and lock, E22 adapters and the Hub, E23 mixtures and modules, E24
vocabularies; W.. the warnings of the same areas.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from mergelang.source import Span

UNREADABLE = "E0604"
"""The code of a file that is there and cannot be read."""


@dataclass(frozen=True)
class Diagnostic:
    """One mistake or warning: a code, the facts its sentences are filled with, its places.

    `related` are further spans that matter, in the order of the code's `related` labels.
    """

    code: str
    span: Span | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    related: tuple[Span, ...] = ()

    @property
    def is_error(self) -> bool:
        return self.code.startswith("E")

    def __str__(self) -> str:
        from mergelang.wording import render

        return render(self)


class MergelangError(Exception):
    """The root of the tree above."""

    @property
    def exit_code(self) -> int:
        wrong = {each.code for each in self.diagnostics if each.is_error}
        return 3 if wrong == {UNREADABLE} else 1

    @property
    def diagnostics(self) -> tuple[Diagnostic, ...]:
        return ()

    def __str__(self) -> str:
        return "\n\n".join(str(diagnostic) for diagnostic in self.diagnostics)


class RecipeError(MergelangError):
    """A recipe is wrong; carries every diagnostic of it, errors and warnings."""

    def __init__(self, diagnostics: "tuple[Diagnostic, ...] | list[Diagnostic]"):
        super().__init__()
        self._diagnostics = tuple(diagnostics)

    @property
    def diagnostics(self) -> tuple[Diagnostic, ...]:
        return self._diagnostics


class _Coded(MergelangError):
    def __init__(self, code: str, **facts: Any):
        super().__init__(code, facts)
        self.code = code
        self.facts = facts

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(type(self), self.code, **self.facts), ()

    @property
    def diagnostics(self) -> tuple[Diagnostic, ...]:
        return (Diagnostic(self.code, None, self.facts),)

    def at(self, span: Span | None) -> Diagnostic:
        """This error as a diagnostic at a place in a recipe."""
        return Diagnostic(self.code, span, self.facts)


class InputError(_Coded):
    """A model, a file or a folder cannot be used."""


class UsageError(_Coded):
    """The command line is wrong."""

    exit_code = 2


class RunError(_Coded):
    """The run failed; nothing at the output's path changed."""

    exit_code = 3


class Cancelled(_Coded):
    """The run was cancelled; nothing at the output's path changed."""

    exit_code = 130
