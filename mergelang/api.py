"""The Python interface: load a recipe, check it, plan it, run it. The faces stand on it too."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mergelang.errors import Diagnostic, RecipeError, UsageError
from mergelang.garbage import uncollected
from mergelang.source import Source

if TYPE_CHECKING:
    from mergelang.check.outputs import Spares
    from mergelang.check.program import Destination, Program
    from mergelang.graph.node import Graph
    from mergelang.models.checkpoint import Checkpoint
    from mergelang.models.reference import Reference
    from mergelang.plan.origin import Parent
    from mergelang.plan.plan import Plan
    from mergelang.record.binding import Binding
    from mergelang.run.events import Listener, RecipeChanged
    from mergelang.run.workers import Control


YAML = (".yml", ".yaml")
"""Endings of mergekit's files."""


@dataclass(frozen=True)
class Recipe:
    """A recipe's text, the folder its paths start from, and settings of its params."""

    source: Source
    folder: Path
    settings: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[Diagnostic, ...] = ()
    """Warnings from reading it: of a mergekit file, what has no effect there."""
    path: Path | None = None
    """The file that it was read from, beside which its lock lies."""
    pins: Mapping[str, str] = field(default_factory=dict)
    """Commits of revisions on the Hub, by `org/name` or `org/name@revision`."""
    allow_pickle: bool = False
    """Whether weights that only torch can read (`.bin`) are read by it, as tensors alone."""
    device: str = "cpu"
    """What runs compute on; see `on`."""

    def on(self, device: str) -> "Recipe":
        """The recipe for runs on a device: `cpu`, `cuda`, `cuda:1`, or `torch`, which takes the
        steps of a card by torch on the processor. Plans and locks then name its arithmetic.

        Loads torch for all but `cpu`. Raises UsageError (E1007) for another name, RunError (E0911)
        where there is no such device.
        """
        from mergelang.run.device import open_device

        open_device(device)
        return replace(self, device=device)

    @property
    def lock(self) -> Path | None:
        """The path of its lock, whether it is there or not."""
        return self.path.with_name(self.path.name + ".lock") if self.path else None

    def check(
        self, *, sources: bool = True, reached: bool = False, moving: Collection[str] = ()
    ) -> "Program":
        """The checked program, its warnings in `.warnings`. Raises RecipeError.

        Reads configs and headers of the models, no weights; with `sources=False` the text alone.
        A model on the Hub that cannot be reached is a warning, unless it has to be `reached`. It is
        taken at the commit that the lock has, but for the sources that are `moving`.
        """
        return self._check(self._stands, sources=sources, reached=reached, moving=moving)

    def _check(
        self, spares: "Spares", *, sources: bool = True, reached: bool = False,
        moving: Collection[str] = (),
    ) -> "Program":  # fmt: skip
        """The checked program, for a run that writes nothing to the outputs that it `spares`."""
        from mergelang.check import check
        from mergelang.run.device import open_device

        device = open_device(self.device)
        with uncollected():
            program = check(
                self.source, folder=self.folder, settings=self.settings, sources=sources,
                reached=reached, pins=self._pinned(moving), allow_pickle=self.allow_pickle,
                spares=spares,
            )  # fmt: skip
        found = (*self.notes, *program.diagnostics)
        return replace(
            program, diagnostics=found, device=self.device, arith=device and device.arith
        )

    def _stands(
        self, output: "Destination", checkpoints: "Mapping[Reference, Checkpoint]"
    ) -> bool:
        """Whether an output lies there as a run of these sources would write it."""
        from mergelang.record.current import is_current

        try:
            program = self.check(sources=False)
        except RecipeError:
            return False
        return is_current(replace(program, checkpoints=checkpoints), output)

    def _pinned(self, moving: Collection[str]) -> Mapping[str, str]:
        """The commits that the lock has of revisions on the Hub, and those of `pins`."""
        if self.lock is None or not self.lock.exists():
            return self.pins
        from mergelang.record.lock import locked_commits

        return {**locked_commits(self.lock, moving), **self.pins}

    def graph(self, *, sources: bool = True) -> "Graph":
        """The DAG after all passes. Raises RecipeError."""
        from mergelang.graph import build

        return build(self.check(sources=sources))

    def plan(
        self,
        outputs: Sequence[str] = (),
        *,
        into: Path | str | None = None,
        fresh: bool = False,
        cache: str = "auto",
        cache_limit: int | None = None,
        memory: int | None = None,
    ) -> "Plan":
        """What a run would do, from headers alone. `outputs` names some of them; all by default.

        `into` writes the only output there instead. What an earlier run has written is kept as far
        as nothing has changed, unless `fresh`. `memory` in bytes is what the run may take (default
        1 GiB); what does not fit waits on the disk. `cache` says which values are kept for later
        runs and taken from earlier ones: "auto" (what costs more to compute than to read back),
        "all" or "none"; `cache_limit` bounds the store in bytes (default 20 GB). Raises
        RecipeError, UsageError.
        """
        from mergelang.check import check_outputs
        from mergelang.graph import build

        stands = (lambda *_: False) if fresh else self._stands

        def spares(
            output: "Destination", checkpoints: "Mapping[Reference, Checkpoint]"
        ) -> bool:
            if into is not None or (outputs and output.text not in outputs):
                return True
            return stands(output, checkpoints)

        program = self._check(spares, reached=True)
        chosen = _choose(program, outputs, into)
        if into is not None:
            problems = check_outputs(chosen, program.checkpoints, stands)
            if problems:
                raise RecipeError(problems)
        with uncollected():
            graph = build(replace(program, outputs=chosen))
        return plan_of(graph, fresh=fresh, memory=memory, cache=cache, cache_limit=cache_limit)

    def up_to_date(
        self, outputs: Sequence[str] = (), *, into: Path | str | None = None
    ) -> "tuple[Destination, ...]":
        """The outputs, if all lie there as a run would write them; else none.

        A quick look: at the recipe, and at sizes, times of change and inodes of the inputs' and
        outputs' files. `verify` looks at bytes. Raises RecipeError, UsageError.
        """
        from mergelang.record.binding import is_remembered
        from mergelang.record.current import is_current

        if self.lock is not None and not is_remembered(self.lock):
            return ()
        program = self.check(sources=False)
        chosen = _choose(program, outputs, into)
        return chosen if all(is_current(program, each) for each in chosen) else ()

    def run(
        self,
        outputs: Sequence[str] = (),
        *,
        into: Path | str | None = None,
        memory: int | None = None,
        threads: int | None = None,
        processes: bool | None = None,
        block: int | None = None,
        fresh: bool = False,
        cache: str = "auto",
        cache_limit: int | None = None,
        allow_nonfinite: bool = False,
        frozen: bool = False,
        device: str | None = None,
        listener: "Listener | None" = None,
        control: "Control | None" = None,
    ) -> "Plan":
        """Runs the recipe and gives back the plan that was run.

        A recipe from a file has a lock beside it, which the run writes; a source on this machine
        that is not what the lock says is an error, and with `frozen` any other difference, too.

        Outputs that are up to date are left alone, and what has not changed of others is kept,
        unless `fresh`; `cache` as for `plan`. `memory` in bytes bounds the process (default 1 GiB).
        Of the `threads` (default: one a core) each is a process of its own, unless other threads
        run here or `processes` is false: then they share this process, and take turns. On a
        `device` (see `on`; default: that of the recipe) they always do, up to 8 of them, and what
        CUDA itself takes of memory comes on top. `listener` takes the events of
        `mergelang.run.events`, `control` pauses and cancels. Raises RecipeError, UsageError,
        RunError, Cancelled.
        """
        recipe = self if device is None else self.on(device)
        plan = recipe.plan(
            outputs, into=into, fresh=fresh, cache=cache, cache_limit=cache_limit, memory=memory
        )
        run(
            plan, lock=self.lock, frozen=frozen, memory=memory, threads=threads,
            processes=processes, block=block, fresh=fresh,
            allow_nonfinite=allow_nonfinite, listener=listener, control=control,
        )  # fmt: skip
        return plan


def plan_of(
    graph: "Graph", *, memory: int | None = None, fresh: bool = False, cache: str = "auto",
    cache_limit: int | None = None,
) -> "Plan":  # fmt: skip
    """What a run of a graph would do; see `Recipe.plan`. Its program has the plan's warnings, too.

    Raises RecipeError.
    """
    from mergelang.plan.cached import with_cache
    from mergelang.plan.memory import with_memory
    from mergelang.plan.plan import plan
    from mergelang.plan.previous import with_previous
    from mergelang.plan.shared import with_shared
    from mergelang.record.card import with_warnings
    from mergelang.record.current import with_current
    from mergelang.store.blobs import LIMIT

    with uncollected():
        made = plan(graph)
        made = with_warnings(made if fresh else with_current(with_previous(made)))
        made = with_memory(made, memory)
        made = with_cache(made, cache, LIMIT if cache_limit is None else cache_limit)
        return with_shared(made)


def load(
    path_or_text: str | Path, settings: Mapping[str, Any] | None = None, *,
    allow_pickle: bool = False,
) -> Recipe:  # fmt: skip
    """A recipe from a file, or from a text (anything with a line break in it).

    Paths in a text start from the current folder. `settings` are values of params, as `--set`
    gives them. A mergekit file (.yml, .yaml) becomes the recipe that `import_file` makes of it.
    With `allow_pickle`, weights that only torch can read (`.bin`) are read by it. Raises UsageError
    for a file that cannot be read, RecipeError for one of mergekit that is wrong; a recipe is not
    looked at yet.
    """
    chosen = {name: str(value) for name, value in (settings or {}).items()}
    if isinstance(path_or_text, str) and "\n" in path_or_text:
        source, folder = Source("<text>", path_or_text), Path.cwd()
        return Recipe(source, folder, chosen, allow_pickle=allow_pickle)
    path = Path(path_or_text)
    folder, notes = path.parent.absolute(), ()
    if path.suffix in YAML:
        text, notes = import_file(path)
        source = Source(f"{path} (as a recipe)", text)
    else:
        source = Source(str(path), _read(path))
    return Recipe(source, folder, chosen, notes, path, allow_pickle=allow_pickle)


def convert(model: str, into: Path, *, allow_pickle: bool = False) -> Recipe:
    """The recipe that writes a model as it is, in safetensors.

    `model` is a source as a recipe names it, from the current folder on.
    """
    from mergelang.lang import quoted

    lines = (f"model converted = {quoted(model)}", f"output {quoted(str(into))} = converted", "")
    source = Source("<convert>", "\n".join(lines))
    return Recipe(source, Path.cwd(), allow_pickle=allow_pickle)


def import_file(path: Path, into: Path | None = None) -> tuple[str, tuple[Diagnostic, ...]]:
    """The recipe that does what a mergekit file says, and warnings.

    Its paths are for a recipe in the folder `into`, by default that of the file. Raises UsageError
    for a file that cannot be read, RecipeError for one that is wrong.
    """
    from mergelang.interop import import_yaml

    source = Source(str(path), _read(path))
    return import_yaml(source, path.parent.absolute(), into=into and into.absolute())


def export(
    recipe: Recipe, output: str | None = None
) -> tuple[str, tuple[Diagnostic, ...]]:
    """One output of a recipe (by its path; the only one by default) as a mergekit file.

    Gives its text and warnings. Looks at no model. Raises RecipeError for a wrong recipe, and for
    what does not fit into mergekit's format; UsageError unless the output is one.
    """
    from mergelang.interop import export_yaml
    from mergelang.lang import ast, parse

    recipe.check(sources=False)
    tree, _ = parse(recipe.source)
    outputs = {each.path.value: each for each in tree.statements if isinstance(each, ast.Output)}
    if output is not None and output not in outputs:
        raise UsageError("E1005", name=output, known=", ".join(outputs) or "none")
    if not outputs:
        raise UsageError("E1006", recipe=recipe.source.name)
    if output is None and len(outputs) > 1:
        raise UsageError("E1017", count=len(outputs), known=", ".join(outputs))
    return export_yaml(tree, outputs[output or next(iter(outputs))], recipe.settings)


def _read(path: Path) -> str:
    try:
        text = path.read_bytes().decode("utf-8")
    except OSError as error:
        raise UsageError(
            "E1001", path=str(path), reason=error.strerror.lower(), near=_near(path)
        ) from error
    except UnicodeDecodeError as error:
        raise UsageError("E1002", path=str(path), offset=error.start) from error
    if "\0" in text:
        raise UsageError("E1002", path=str(path), offset=len(text.partition("\0")[0].encode()))
    return text


def _near(path: Path) -> str | None:
    """A recipe beside it whose name is like that of one that is not there."""
    from difflib import get_close_matches

    if path.exists():
        return None
    beside = [each.name for each in path.parent.glob("*.merge")]
    found = get_close_matches(path.name, beside, 1)
    return f"`{path.with_name(found[0])}`" if found else None


def run(
    plan: "Plan", *, lock: Path | None = None, frozen: bool = False, memory: int | None = None,
    threads: int | None = None, processes: bool | None = None, block: int | None = None,
    fresh: bool = False, allow_nonfinite: bool = False, listener: "Listener | None" = None,
    control: "Control | None" = None,
) -> None:  # fmt: skip
    """Executes a plan with a record and a model card in every output. See `Recipe.run`, of which
    this is the second half, with the same options and errors.

    `lock` is the path of the recipe's lock; with None there is none.
    """
    from mergelang.files import cache_folder
    from mergelang.record.keep import Keeper
    from mergelang.record.remember import renew
    from mergelang.run.events import noted, nothing_to_do
    from mergelang.run.writer import left_over, tidy
    from mergelang.store.blobs import Blobs

    try:
        tell = listener or (lambda event: None)
        binding = bind(plan, lock, frozen=frozen)
        if binding.shown_changes:
            tell(changed(binding))
        for output in plan.outputs:
            if output.current:
                renew(plan, output)
                if left_over(output.path):
                    tidy(output.path)
        if all(output.current for output in plan.outputs):
            outputs = ((each.destination.text, str(each.path)) for each in plan.outputs)
            for event in nothing_to_do(outputs):
                tell(event)
        else:
            from mergelang.run.device import open_device
            from mergelang.run.execute import execute
            from mergelang.run.fetch import fetch_sources

            refusal = Blobs().refusal()
            if refusal:
                tell(noted("W2005", path=str(cache_folder()), reason=refusal))
            fetch_sources(plan, listener, control)
            recorder = Keeper(plan, binding)
            execute(
                plan, memory=memory, threads=threads, processes=processes, block=block,
                fresh=fresh, allow_nonfinite=allow_nonfinite, listener=listener, control=control,
                recorder=recorder, device=open_device(plan.graph.program.device),
            )  # fmt: skip
        if lock is not None and not frozen:
            try:
                binding.write(_sources(plan))
            except OSError as error:
                reason = (error.strerror or str(error)).lower()
                tell(noted("W2130", lock=str(lock), reason=reason))
    finally:
        Blobs(plan.limit).settle()


def bind(plan: "Plan", lock: Path | None, *, frozen: bool = False) -> "Binding":
    """What a plan is bound to by the lock at a path. Raises RecipeError where that forbids it."""
    from mergelang.record.binding import Binding

    recipe = str(lock).removesuffix(".lock") if lock else plan.graph.program.tree.source.name
    binding = Binding(plan.graph.program, lock, recipe)
    if frozen:
        binding.refuse_any()
    else:
        binding.refuse_moved(_sources(plan))
    return binding


def _sources(plan: "Plan") -> "list[Parent]":
    return [each for output in plan.outputs for each in output.origin.parents]


def changed(binding: "Binding") -> "RecipeChanged":
    """What a recipe has changed since its lock, as an event."""
    from mergelang.record.lock import fact_text
    from mergelang.run.events import RecipeChanged

    told = ((fact_text(each.name), each.was, each.now) for each in binding.shown_changes)
    return RecipeChanged(binding.path.name if binding.path else "", tuple(told))


def write_lock(recipe: Recipe, update: Sequence[str] = ()) -> "tuple[bool, Binding]":
    """Writes the lock of a recipe; False where it was right already, and what it was bound to.

    Sources keep what the lock says of them, but for those named in `update`. Reads the files of
    sources that have not been read before. Raises RecipeError (E2130) for one that has moved,
    UsageError for a recipe without a file (E2135) and a lock that cannot be written (E1016).
    """
    from mergelang.record.binding import Binding, source_digests
    from mergelang.record.lock import parents_of

    if recipe.lock is None:
        raise UsageError("E2135")
    written = recipe.check(sources=False)  # what the lock has of a source may be gone
    moving = Binding(written, recipe.lock, str(recipe.path)).named(update)
    program = recipe.check(reached=True, moving=moving)
    binding = Binding(program, recipe.lock, str(recipe.path))
    binding.accept(moving)
    sources = parents_of(program)
    binding.refuse_moved(sources, source_digests(sources))
    try:
        return binding.write(sources), binding
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise UsageError("E1016", path=str(recipe.lock), reason=reason) from error


def _choose(
    program: "Program", names: Sequence[str], into: Path | str | None = None
) -> "tuple[Destination, ...]":
    """The outputs of these names, all without; the only one written to `into` if that is given."""
    known = {output.text: output for output in program.outputs}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise UsageError("E1005", name=unknown[0], known=", ".join(known) or "none")
    if not program.outputs:
        raise UsageError("E1006", recipe=program.tree.source.name)
    chosen = tuple(known[name] for name in dict.fromkeys(names)) if names else program.outputs
    if into is None:
        return chosen
    if len(chosen) != 1:
        raise UsageError("E1004", count=len(chosen))
    return (replace(chosen[0], path=str(Path(into).absolute()), text=str(into)),)
