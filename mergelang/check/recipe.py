"""A recipe file, statement by statement; and the files that it uses."""

import os.path
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from mergelang.check.expressions import Expressions
from mergelang.check.modules import Modules
from mergelang.check.outputs import Spares, check_output, check_outputs
from mergelang.check.params import check_param, check_settings
from mergelang.check.program import Destination, Parameter, Program, Term
from mergelang.check.report import Report
from mergelang.check.scope import NAMING, Scope
from mergelang.check.shapes import check_shapes
from mergelang.check.tensors import Comparisons
from mergelang.check.terms import Terms
from mergelang.check.usage import Usage
from mergelang.check.value import UNKNOWN, File, Opened, Value
from mergelang.check.vocabularies import Vocabularies
from mergelang.check.wanted import Wanted
from mergelang.check.windows import check_windows
from mergelang.errors import Diagnostic, InputError, RecipeError
from mergelang.files import facts_below
from mergelang.lang import ast, parse
from mergelang.models.checkpoint import Checkpoint, open_model
from mergelang.models.hub import Hub
from mergelang.models.reference import Reference, local_path, parse_reference
from mergelang.models.sidecars import module_files
from mergelang.ops.registry import broken_packages
from mergelang.source import Source, Span

EDITION = 1
"""The edition of the language that this version reads."""

Found = TypeVar("Found")
Opener = Callable[[Reference, Hub, bool], Checkpoint]


@dataclass
class Shared:
    """What all files of one check have in common; `folder` is that of the main one."""

    folder: Path
    sources: bool
    reached: bool
    hub: Hub
    allow_pickle: bool
    report: Report = field(default_factory=Report)
    comparisons: Comparisons = field(default_factory=Comparisons)
    usage: Usage = field(default_factory=Usage)
    checkpoints: dict[Reference, Checkpoint] = field(default_factory=dict)
    opened: dict[tuple[Opener, Reference], Checkpoint | None] = field(default_factory=dict)
    """None for a source that is wrong, which has been reported."""
    places: dict[str, Reference] = field(default_factory=dict)
    """Every source, whether it was looked at or not, by the text of its reference."""
    vocabularies: Vocabularies = field(init=False)
    files: dict[Path, File] = field(default_factory=dict)
    trees: dict[Path, ast.Recipe] = field(default_factory=dict)
    texts: Mapping[Path, str] = field(default_factory=dict)
    templates: dict[Path, str] = field(default_factory=dict)
    stack: list[Path] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.vocabularies = Vocabularies(self.checkpoints)

    def template(self, path: Path) -> str:
        """The text of a file of an output's own."""
        path = path.resolve()
        text = self.texts.get(path)
        self.templates[path] = path.read_text(encoding="utf-8") if text is None else text
        return self.templates[path]


def check(
    source: Source, *, folder: Path, settings: Mapping[str, Any] | None = None,
    sources: bool = True, places: bool = True, used: Mapping[str, str] | None = None,
    reached: bool = False, pins: Mapping[str, str] | None = None,
    allow_pickle: bool = False, spares: Spares = lambda output, checkpoints: False,
) -> Program:  # fmt: skip
    """The typed program of a recipe.

    `folder` is where its paths start. `settings` are values of params (text as `--set` gives it,
    or numbers). With `sources=False` no model is looked at: what only headers can tell (tensors,
    layers) is not checked, and inventories are None. With `places=False` it does not matter where
    outputs go. `used` are texts to use in place of files that the recipe names (other recipes, chat
    templates), by their path from `folder`.
    Reads recipes, configs and headers.

    A source on the Hub that cannot be reached is a warning, and its tensors are not known; an error
    if it has to be `reached`. `pins` are commits for revisions there, by `org/name@revision`.
    With `allow_pickle` weights that only torch can read are read by it. `spares` as for
    `check_outputs`.

    Raises RecipeError with everything that is wrong, warnings included, in the order of the text;
    else the warnings are the program's `diagnostics`.
    """
    folder = Path(folder)
    shared = Shared(folder, sources, reached, Hub(pins or {}), allow_pickle)
    shared.stack.append((folder / Path(source.name).name).resolve())
    shared.texts = {(folder / path).resolve(): text for path, text in (used or {}).items()}
    recipe = _File(source, folder, shared, settings or {}, main=True)
    recipe.check()
    if sources:
        shared.report.extend(check_windows(recipe.outputs, shared.checkpoints))
        shared.report.extend(check_shapes(recipe.outputs, shared.checkpoints))
    if sources and places:
        shared.report.extend(check_outputs(recipe.outputs, shared.checkpoints, spares))
        shared.vocabularies.report(shared.report, (each.term for each in recipe.outputs))
    shared.usage.warn(shared.report)
    shared.report.extend(broken_packages())
    recipe.warn_unused()
    found = shared.report.sorted(source)
    if shared.report.has_errors:
        raise RecipeError(found)
    terms = shared.vocabularies.in_force(recipe.terms_by_name(), recipe.outputs)
    return Program(
        tree=recipe.tree, outputs=tuple(recipe.outputs), terms=terms,
        params=recipe.params, checkpoints=shared.checkpoints, places=shared.places,
        seed=recipe.seed, diagnostics=found,
        declared=tuple(recipe.outputs), folder=folder,
        used=_by_path(shared.trees, folder.resolve()),
        templates=_by_path(shared.templates, folder.resolve()),
    )  # fmt: skip


def _by_path(files: Mapping[Path, Found], folder: Path) -> dict[str, Found]:
    """What is in files by their path from a folder, in the order of these."""
    named = {Path(os.path.relpath(path, folder)).as_posix(): each for path, each in files.items()}
    return dict(sorted(named.items()))


class _File:
    """One file: its statements in order."""

    def __init__(
        self, source: Source, folder: Path, shared: Shared, settings: Mapping[str, Any], *,
        main: bool,
    ):  # fmt: skip
        self.shared, self.folder, self.settings, self.main = shared, folder, settings, main
        self.report = shared.report
        self.source = source
        self.tree, problems = parse(source)
        self.report.extend(problems)
        if any(each.is_error for each in problems):
            self.report.broken.add(source)
        self.scope = Scope(source, self.report)
        self.seed = self._seed()
        self.outputs: list[Destination] = []
        self.params: dict[str, Parameter] = {}
        terms = Terms(
            self.report, self.seed, shared.comparisons, shared.usage, shared.vocabularies
        )
        self._values: dict[str, Value] = {}
        wanted = Wanted(self.report, self._values)
        modules = Modules(self.report, shared.checkpoints)
        self.expressions = Expressions(
            self.report, self.scope, terms, wanted, modules, self._open
        )

    def check(self) -> None:
        repeated = self.scope.declare(self.tree.statements)
        for statement in self.tree.statements:
            self._statement(statement, bound=id(statement) not in repeated)
        if self.main:
            named = {
                each.name.id: None for each in self.tree.statements if isinstance(each, ast.Param)
            }
            if self.source not in self.report.broken:
                check_settings(self.settings, named, self.report)

    def terms_by_name(self) -> dict[str, Term]:
        return {name: value for name, value in self._values.items() if isinstance(value, Term)}

    def _bind(self, name: ast.Name, value: Value, bound: bool) -> None:
        if bound:
            self.scope.bind(name, value)
            self._values[name.id] = value

    def _statement(self, statement: ast.Statement, bound: bool) -> None:
        self.scope.current = statement.name.id if isinstance(statement, NAMING) and bound else None
        match statement:
            case ast.Edition(number) if number != EDITION:
                self.report.add("E0210", statement.span, number=number, known=EDITION)
            case ast.Use(_, name):
                self._bind(name, self._use(statement), bound)
            case ast.Param(name):
                settings = self.settings if self.main else {}
                value, made = check_param(statement, self.expressions, settings)
                if made is not None and bound:
                    self.params[name.id] = made
                self._bind(name, value, bound)
            case ast.Model(name):
                self._bind(name, self._model(statement), bound)
            case ast.Let(name, expr):
                self._bind(name, self._let(name.id, expr), bound)
            case ast.Output() if self.main:
                made = check_output(
                    statement, self.expressions, self.folder, self.shared.template
                )
                if made is not None:
                    self.outputs.append(made)

    def _seed(self) -> int:
        seeds = [each for each in self.tree.statements if isinstance(each, ast.Seed)]
        for again in seeds[1:]:
            self.report.add("E0211", again.span, seeds[0].span)
        return seeds[0].value if seeds else 0

    def _let(self, name: str, expr: ast.Expr) -> Value:
        value = self.expressions.value(expr)
        if isinstance(value, File):
            self.expressions.unfit(expr, value, "a value")
            return UNKNOWN
        if isinstance(value, Term) and value.name is None:
            named = replace(value, name=name)
            self.shared.vocabularies.rename(value, named)
            return named
        return value

    def _model(self, statement: ast.Model) -> Value:
        opened = self._open(statement.source.value, statement.source.span)
        if opened is None:
            return UNKNOWN
        inventory = opened.checkpoint and opened.checkpoint.inventory
        term = self.expressions.terms.source(opened.reference, inventory, statement.span)
        return replace(term, name=statement.name.id)

    def _open(
        self, text: str, span: Span, open: Opener = open_model
    ) -> Opened | None:
        """The source of this name; None, and reported, where the name is wrong. A source that is
        wrong itself is reported once, and has no checkpoint. `open` reads its headers."""
        shared = self.shared
        try:
            reference = parse_reference(text, self.folder)
        except InputError as error:
            self.report.extend([error.at(span)])
            return None
        reference = replace(reference, text=self._from_main(text, reference))
        shared.places[reference.text] = reference
        if shared.sources and (open, reference) not in shared.opened:
            shared.opened[open, reference] = None
            try:
                path = reference.path
                before = facts_below(path, module_files(path)) if path else {}
                found = open(reference, shared.hub, shared.allow_pickle)
                found = shared.opened[open, reference] = replace(found, facts=before)
                shared.checkpoints[reference] = found
            except InputError as error:
                self._wrong(error, span)
            else:
                self._note(found, span)
        return Opened(reference, shared.opened.get((open, reference)))

    def _from_main(self, text: str, reference: Reference) -> str:
        """The text by which the main recipe would name a source: two files in two folders may say
        the same and mean two places."""
        if self.main or reference.path is None or Path(text).expanduser().is_absolute():
            return text
        main = self.shared.folder.resolve()
        if self.folder == main:
            return text
        short = Path(os.path.relpath(self.folder / text, main))
        if (main / short).resolve() != reference.path:  # a `..` behind a link leads elsewhere
            short = Path(os.path.relpath(self.folder, main), text)
        return short.as_posix()

    def _wrong(self, error: InputError, span: Span) -> None:
        """Reports a source that cannot be used, or not now."""
        if error.code == "E2220" and not self.shared.reached:
            self.report.extend([Diagnostic("W2220", span, error.facts)])
        else:
            self.report.extend([error.at(span)])

    def _note(self, opened: Checkpoint, span: Span) -> None:
        """Reports a source that may have moved."""
        origin = opened.origin
        if origin is not None and origin.stale:
            name = origin.name._replace(revision=origin.commit)
            inner = f"/{name.subfolder}" if name.subfolder else ""
            self.report.add(
                "W2221", span, text=opened.reference.text, commit=origin.commit[:12],
                reason=origin.stale, pinned=f"hf:{name.pinned}{inner}",
            )  # fmt: skip

    def _use(self, statement: ast.Use) -> Value:
        text, span = statement.path.value, statement.path.span
        shared = self.shared
        try:
            path = local_path(text, self.folder).resolve()
        except InputError as error:
            self.report.extend([error.at(span)])
            return UNKNOWN
        if path in shared.stack:
            chain = [each.name for each in shared.stack[shared.stack.index(path) :]]
            if len(chain) == 1:
                self.report.add("E0206", span, path=text, chain=None, itself=text)
            else:
                route = " -> ".join([*chain, path.name])
                self.report.add("E0206", span, path=text, chain=route, itself=None)
            return UNKNOWN
        if path in shared.files:
            return shared.files[path]
        try:
            content = shared.texts.get(path) or path.read_bytes().decode("utf-8")
        except OSError as error:
            reason = "it is not there" if isinstance(error, FileNotFoundError) else error.strerror
            self.report.add("E0205", span, path=text, reason=reason.lower())
            return UNKNOWN
        except UnicodeDecodeError:
            self.report.add("E0205", span, path=text, reason="it is not a UTF-8 text")
            return UNKNOWN
        name = str(Path(self.source.name).parent / text) if not Path(text).is_absolute() else text
        shared.stack.append(path)
        inner = _File(Source(name, content), path.parent, shared, {}, main=False)
        inner.check()
        shared.stack.pop()
        shared.files[path] = File(text, inner._values, inner.source)
        shared.trees[path] = inner.tree
        return shared.files[path]

    def warn_unused(self) -> None:
        """Names that nothing uses, unless others will: a recipe without outputs is for use."""
        if self.report.has_errors:
            # A slip in a name leaves the name that was meant unused: that is one mistake.
            return
        statements = self.tree.statements
        for statement in statements:
            self.scope.mark_used(_expressions_of(statement))
        has_outputs = any(isinstance(each, ast.Output) for each in statements)
        if not has_outputs:
            self.report.add("W0801", None, recipe=self.source.name)
            return
        for binding in self.scope.bindings.values():
            if not binding.used:
                self.report.add("W0201", binding.span, name=binding.name, what=binding.what)


def _expressions_of(statement: ast.Statement) -> tuple[Any, ...]:
    match statement:
        case ast.Param(_, value, record):
            return value, record
        case ast.Let(_, value):
            return (value,)
        case ast.Output(_, value, record):
            return value, record
    return ()
