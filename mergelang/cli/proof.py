"""`lock`, `lineage`, `verify`: what a run is bound to, what a model was made of, and whether it
still is that."""

import sys
from pathlib import Path
from typing import Any

from mergelang.cli.arguments import (
    ALLOW_PICKLE,
    JSON,
    MEMORY,
    RECIPE,
    SETTINGS,
    parse_device,
    parse_how_many,
)  # fmt: skip
from mergelang.cli.command import argument, command
from mergelang.errors import UsageError

MADE = argument("path", metavar="DIR|FILE", type=Path, help="an output, or a .safetensors file")


def register() -> None:
    """Puts the commands into the table, behind those that are there."""
    command(
        RECIPE, SETTINGS,
        argument("--update", metavar="MODEL", action="append", default=[],
                 help="takes this source as it is now; may be repeated"),
        argument("--device", metavar="NAME", type=parse_device, default="cpu",
                 help="where its runs compute: cpu (the default), cuda, cuda:N or torch"),
        ALLOW_PICKLE,
    )(lock)  # fmt: skip
    command(
        MADE,
        argument("--format", dest="form", metavar="FORMAT",
                 help="text (the default), mermaid or json"),
        argument("--recipe", action="store_true", help="prints the recipe, to run it again"),
        argument("-o", dest="into", metavar="FILE.merge", type=Path,
                 help="with --recipe: writes it there, and those it uses beside it"),
        JSON,
    )(lineage)  # fmt: skip
    command(
        argument("path", metavar="DIR|FILE", type=Path,
                 help="an output, or a .safetensors file"),
        argument("--parents", action="store_true", help="reads the sources, too"),
        argument("--rebuild", metavar="K|all", type=parse_how_many,
                 help="computes K random tensors again, or all, and compares bytes"),
        argument("--folder", metavar="DIR", type=Path,
                 help="where the recipe's paths start (default: found from its output)"),
        MEMORY,
        ALLOW_PICKLE,
        JSON,
    )(verify)  # fmt: skip
    command(
        argument("a", metavar="A", type=Path, help="a recipe, a lock or a model"),
        argument("b", metavar="B", type=Path, help="another of the same kind"),
        JSON,
    )(diff)  # fmt: skip


def lock(options: Any) -> None:
    """Writes the lock of a recipe: what its runs are bound to."""
    from mergelang.api import changed, load, write_lock
    from mergelang.cli import progress, show

    settings, pickled = dict(options.settings), options.allow_pickle
    recipe = load(options.recipe, settings, allow_pickle=pickled).on(options.device)
    written, binding = write_lock(recipe, options.update)
    show.diagnostics(binding.program.warnings)
    told = changed(binding)
    progress.changed(told.lock, told.changes)
    what = "wrote" if written else "nothing has changed in"
    print(f"{what} {recipe.lock}")


def lineage(options: Any) -> None:
    """Draws what a model was made of: its parents, and theirs, as far as records tell."""
    from mergelang.cli import show
    from mergelang.record import lineage as tree

    record = tree.record_of(options.path, str(options.path))
    if options.recipe:
        _recipe(options, record)
        return
    if options.into is not None:
        raise UsageError("E1012", command="mergelang lineage", message="`-o` goes with --recipe")
    form = show.picked_form(options.form, options.as_json, ("text", "mermaid", "json"))
    top = tree.family(record)
    if form == "json":
        show.json_object(tree.tree_json(top))
    elif form == "mermaid":
        print(tree.tree_mermaid(top), end="")
    else:
        print(tree.tree_text(top))


def diff(options: Any) -> None:
    """Tells how two recipes, two locks or two models differ."""
    from mergelang.cli.differences import show_diff

    show_diff(options.a, options.b, options.as_json)


def _recipe(options: Any, record: Any) -> None:
    from mergelang.record.again import recipe_of, write_recipes

    for name, given in (("--json", options.as_json), (f"--format {options.form}", options.form)):
        if given:
            raise UsageError("E1014", one="--recipe", other=name)
    if options.into is not None:
        for path in write_recipes(record, options.into, str(options.path)):
            print(f"wrote {path}", file=sys.stderr)
        return
    print(recipe_of(record, str(options.path)), end="")
    if record["used"]:
        from mergelang.check.suggest import listed
        from mergelang.cli import show
        from mergelang.errors import Diagnostic

        names = listed(record["used"])
        show.diagnostics([Diagnostic("W2101", None, {"names": names, "path": str(options.path)})])


def verify(options: Any) -> int:
    """Finds every byte of an output that is not as it was written."""
    from mergelang.cli import show
    from mergelang.cli.progress import counting
    from mergelang.record.verify import verify as look

    wants_sources = options.parents or options.rebuild is not None
    if options.folder is not None and not wants_sources:
        message = "`--folder` goes with --parents or --rebuild"
        raise UsageError("E1012", command="mergelang verify", message=message)
    for name, given in (("--memory", options.memory is not None),
                        ("--allow-pickle", options.allow_pickle)):  # fmt: skip
        if given and options.rebuild is None:
            message = f"`{name}` goes with --rebuild"
            raise UsageError("E1012", command="mergelang verify", message=message)
    with counting("bytes") as say:
        found = look(options.path, str(options.path), say)
    problems = list(found.problems)
    facts: dict[str, Any] = {
        "files": found.files, "tensors": found.tensors, "bytes": found.nbytes
    }  # fmt: skip
    said = [
        f"{show.counted(found.files, 'file')} and {show.counted(found.tensors, 'tensor')}, "
        f"{show.size(found.nbytes)}"
    ]
    if options.parents:
        from mergelang.record.sources import verify_sources

        count, wrong = verify_sources(options.path, str(options.path), options.folder)
        facts["source_files"] = count
        said.append(show.counted(count, "file") + " of the sources")
        problems += wrong
    if options.rebuild is not None:
        from mergelang.record.rebuild import rebuild

        with counting("tensors") as say:
            names, wrong = rebuild(
                options.path, str(options.path), options.rebuild, options.folder, say,
                options.memory, options.allow_pickle,
            )
        facts["rebuilt"] = names
        said.append(show.counted(len(names), "tensor") + " computed again")
        problems += wrong
    if options.as_json:
        plain = show.plain(problems)
        show.json_object({"ok": not problems, **facts, "diagnostics": plain})
        return 1 if problems else 0
    show.diagnostics(problems)
    looked = "; ".join(said)
    if problems:
        print(f"{options.path}: {show.counted(len(problems), 'thing')} wrong in {looked}")
        return 1
    print(f"{options.path}: {looked}: all as it was written")
    return 0
