"""The commands. Each takes its read options, calls the API, prints, and gives its exit code.

0 done, 1 the recipe or the inputs are wrong, 2 usage, 3 the run failed, 130 interrupted. What
people asked for goes to stdout, diagnostics and progress to stderr; with `--json` everything is
JSON on stdout.
"""

import gc
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from mergelang.cli import proof
from mergelang.cli.arguments import (
    ALLOW_PICKLE,
    CACHE,
    FRESH,
    INTO,
    JSON,
    MEMORY,
    NO_SOURCES,
    OUTPUTS,
    RECIPE,
    SETTINGS,
    parse_count,
    parse_device,
    parse_port,
    parse_share,
    parse_size,
)  # fmt: skip
from mergelang.cli.command import argument, command, dispatch
from mergelang.errors import MergelangError, RunError
from mergelang.garbage import uncollected

INTERRUPTED = "interrupted: outputs are whole or as they were before\n"


def run(words: Sequence[str] | None = None) -> NoReturn:
    """Reads the command line, runs the command, exits."""
    for stream in (sys.stdout, sys.stderr):
        # What a terminal of another encoding cannot show, and file names that are no text.
        stream.reconfigure(errors="backslashreplace")
    code = main(sys.argv[1:] if words is None else words)
    gc.freeze()  # the interpreter looks through all that was made, on its way out
    sys.exit(code)


def main(words: Sequence[str]) -> int:
    """Runs a command line; gives its exit code."""
    try:
        code = dispatch(words)
        sys.stdout.flush()
        return code
    except MergelangError as error:
        return _failed(error, words)
    except PermissionError as error:  # wherever someone else's folder is met
        reason = error.strerror or str(error)
        return _failed(RunError("E0901", path=str(error.filename), reason=reason), words)
    except KeyboardInterrupt:
        sys.stderr.write(INTERRUPTED)
        return 130
    except BrokenPipeError:
        # Whoever read our output has left (`| head`): nothing more can be said there.
        is_run = "run" in words[:1] and "--dry-run" not in words
        for stream, last in ((sys.stdout, ""), (sys.stderr, INTERRUPTED if is_run else "")):
            try:
                stream.write(last)
                stream.flush()
            except BrokenPipeError:
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        return 130 if is_run else 0


def _failed(error: MergelangError, words: Sequence[str]) -> int:
    from mergelang.cli import show

    show.failure(error, as_json="--json" in words, is_run=words[0] == "run")
    return error.exit_code


def _load(options: Any) -> Any:
    from mergelang.api import load

    pickled = getattr(options, "allow_pickle", False)
    return load(options.recipe, dict(options.settings), allow_pickle=pickled)


@command(RECIPE, SETTINGS, NO_SOURCES, ALLOW_PICKLE, JSON)
def check(options: Any) -> None:
    """Finds every mistake of a recipe, without reading a weight."""
    from mergelang.cli import show

    with uncollected():
        program = _load(options).check(sources=not options.no_sources)
    if options.as_json:
        show.json_object({"ok": True, "diagnostics": show.plain(program.warnings)})
        return
    show.diagnostics(program.warnings)
    parts = [show.counted(len(program.outputs), "output")]
    if program.warnings:
        parts.append(show.counted(len(program.warnings), "warning"))
    print(f"{options.recipe}: ok, {', '.join(parts)}")


@command(
    argument("recipes", metavar="RECIPE", nargs="+", type=Path, help=".merge files"),
    argument("--check", action="store_true", help="changes nothing; exits 1 if a file would"),
    argument("--diff", action="store_true", help="changes nothing; prints what would change"),
)
def fmt(options: Any) -> int:
    """Formats recipes in place."""
    from mergelang.cli.formatting import format_files

    return format_files(options.recipes, check=options.check, diff=options.diff)


def _plan(recipe: Any, options: Any) -> Any:
    return recipe.plan(
        options.outputs, into=options.into, fresh=options.fresh, cache=options.cache,
        cache_limit=options.cache_limit, memory=options.memory,
    )  # fmt: skip


@command(RECIPE, OUTPUTS, INTO, SETTINGS, MEMORY, FRESH, *CACHE, ALLOW_PICKLE, JSON)
def plan(options: Any) -> None:
    """Shows what a run would do: tensors, passes, bytes, memory, disk."""
    with uncollected():
        _show_plan(_plan(_load(options), options), options.as_json)


def _show_plan(planned: Any, as_json: bool) -> None:
    from mergelang.cli import show
    from mergelang.draw.plan_text import plan_json, plan_text

    warnings = planned.graph.program.warnings
    if as_json:
        show.json_object({"diagnostics": show.plain(warnings), **plan_json(planned)})
    else:
        show.diagnostics(warnings)
        print(plan_text(planned))


@command(
    RECIPE, OUTPUTS, INTO, SETTINGS,
    MEMORY,
    argument("--threads", metavar="N", type=parse_count("number of threads", "--threads 2"),
             help="default: the usable cores; with a device at most 8"),
    argument("--device", metavar="NAME", type=parse_device, default="cpu",
             help="where to compute: cpu (the default), cuda or cuda:N for a card (what CUDA takes "
                  "of memory comes on top of --memory), or torch, which takes the steps of a card "
                  "on the processor, as a check"),
    FRESH, *CACHE,
    argument("--allow-nonfinite", action="store_true", help="merges NaN and infinity, too"),
    argument("--frozen", action="store_true", help="refuses anything that the lock does not say"),
    ALLOW_PICKLE,
    argument("--dry-run", action="store_true", help="shows the plan and writes nothing"),
    argument("--json", dest="as_json", action="store_true",
             help="prints the events of the run, one JSON object a line"),
    name="run",
)  # fmt: skip
def run_command(options: Any) -> None:
    """Runs a recipe: writes all its outputs, or those named."""
    recipe = _load(options).on(options.device)
    if not (options.fresh or options.frozen or options.dry_run):
        done = recipe.up_to_date(options.outputs, into=options.into)
        if done:
            from mergelang.cli.progress import up_to_date

            up_to_date(done, options.as_json)
            return
    with uncollected():
        planned = _plan(recipe, options)
    if options.dry_run:
        from mergelang.api import bind
        from mergelang.plan.memory import check_memory

        check_memory(planned)
        bind(planned, recipe.lock, frozen=options.frozen)
        _show_plan(planned, options.as_json)
        return
    from mergelang import api
    from mergelang.cli import show
    from mergelang.cli.progress import ending_as_interrupted, listener

    show.warnings(planned.graph.program.warnings, as_json=options.as_json)
    with listener(options.as_json) as listen, ending_as_interrupted():
        api.run(
            planned, lock=recipe.lock, frozen=options.frozen, memory=options.memory,
            threads=options.threads, fresh=options.fresh,
            allow_nonfinite=options.allow_nonfinite, listener=listen,
        )  # fmt: skip


@command(
    RECIPE, SETTINGS, NO_SOURCES, ALLOW_PICKLE,
    argument("--format", dest="form", metavar="FORMAT",
             help="text (the default), mermaid, dot, svg or json"),
    argument("--json", dest="as_json", action="store_true", help="the same as --format json"),
)  # fmt: skip
def graph(options: Any) -> None:
    """Draws the graph of a recipe."""
    from mergelang.cli.show import drawing, picked_form

    form = picked_form(options.form, options.as_json)
    print(drawing(_load(options), form, sources=not options.no_sources))


@command(
    argument("model", metavar="MODEL", help="a folder, a .safetensors file or hf:org/name"),
    ALLOW_PICKLE, JSON,
)  # fmt: skip
def inspect(options: Any) -> None:
    """Shows a model's tensors, dtypes, shapes, roles and sizes."""
    from mergelang.cli import show
    from mergelang.models.checkpoint import open_model
    from mergelang.models.inspect import describe
    from mergelang.models.reference import parse_reference

    reference = parse_reference(options.model, Path.cwd())
    facts = describe(open_model(reference, allow_pickle=options.allow_pickle))
    if options.as_json:
        show.json_object(facts)
    else:
        show.model(facts)


@command(
    argument("model", metavar="MODEL", help="a folder, a file or hf:org/name"),
    argument("-o", dest="into", metavar="DIR", type=Path, required=True, help="the new folder"),
    ALLOW_PICKLE,
)
def convert(options: Any) -> None:
    """Writes a model as it is, in safetensors."""
    from mergelang import api
    from mergelang.cli.progress import listener

    recipe = api.convert(options.model, options.into, allow_pickle=options.allow_pickle)
    with listener(False) as listen:
        recipe.run(listener=listen)


@command(
    argument("model", metavar="MODEL", help="what the adapter shall make: a folder or hf:org/name"),
    argument("--base", metavar="MODEL", required=True, help="what it is added to"),
    argument("-o", dest="into", metavar="DIR", type=Path, required=True, help="the new folder"),
    argument("--rank", metavar="N", type=parse_count("rank", "--rank 16"),
             help="the rank of every matrix"),
    argument("--energy", metavar="SHARE", type=parse_share,
             help="for each matrix the least rank with this share of its squares: 0.95"),
    ALLOW_PICKLE, JSON,
    name="extract-lora",
)  # fmt: skip
def extract_command(options: Any) -> None:
    """Writes the difference of two models as a LoRA adapter."""
    from mergelang.cli.extract import extract_lora

    extract_lora(options)


@command(
    argument("model", metavar="MODEL", type=Path, help="a folder, with its tokenizer"),
    argument("--data", metavar="FILE", type=Path, required=True,
             help="texts: one a line, or .jsonl with text, or prompt and completion"),
    argument("--kind", choices=("fisher", "gram"), required=True,
             help="for the operator fisher, or for regmean"),
    argument("-o", dest="into", metavar="FILE", type=Path, required=True,
             help="the .safetensors file to write"),
    argument("--length", metavar="N", type=parse_count("number of tokens", "--length 512"),
             default=512, help="tokens of a text that count at most (default: 512)"),
    argument("--limit", metavar="N", type=parse_count("number of texts", "--limit 100"),
             help="uses the first N texts"),
)  # fmt: skip
def stats(options: Any) -> None:
    """Computes statistics of data on a model, for fisher and regmean."""
    from mergelang.cli.progress import counting
    from mergelang.stats import collect

    with counting("texts") as say:
        count = collect(
            options.model, options.data, options.kind, options.into,
            length=options.length, limit=options.limit, say=say,
        )  # fmt: skip
    print(f"{options.into}: {options.kind} statistics of {options.model} on {count} texts")


@command(argument("name", metavar="NAME", nargs="?", help="an operator"), JSON)
def ops(options: Any) -> None:
    """Lists the operators, or tells all about one."""
    from mergelang.cli import operators

    operators.show(options.name, options.as_json)


@command(argument("code", metavar="CODE", nargs="?", help="of an error or a warning: E0402"))
def explain(options: Any) -> None:
    """Explains an error by its code, or lists all codes."""
    from mergelang.cli import show

    show.explanation(options.code)


@command(
    argument("config", metavar="FILE.yml", type=Path, help="a YAML file of mergekit"),
    argument("-o", dest="into", metavar="FILE.merge", type=Path, help="writes it there"),
    name="import",
)
def import_command(options: Any) -> None:
    """Prints the recipe that does what a mergekit file says."""
    from mergelang.cli.convert import import_recipe

    import_recipe(options.config, options.into)


@command(
    RECIPE, SETTINGS,
    argument("output", metavar="OUTPUT", nargs="?", help="as the recipe names it; the only one"),
    argument("-o", dest="into", metavar="FILE.yml", type=Path, help="writes it there"),
    name="export",
)  # fmt: skip
def export_command(options: Any) -> None:
    """Prints the mergekit file that does what a recipe says, where it fits."""
    from mergelang.cli.convert import export_recipe

    export_recipe(_load(options), options.output, options.into)


proof.register()


@command(
    argument("path", metavar="RECIPE", nargs="?", help="a recipe, or a model to look into"),
    SETTINGS, ALLOW_PICKLE,
    argument("--attach", metavar="OUTPUT", type=Path,
             help="watches the run that writes this folder, or the last that did"),
    argument("--theme", choices=("dark", "light"), default="dark", help="default: dark"),
    argument("--serve", action="store_true", help="shows it in a browser instead"),
    argument("--host", metavar="NAME", default="127.0.0.1",
             help="who may see what is served (default: this machine alone)"),
    argument("--port", metavar="N", type=parse_port, default=8000, help="default: 8000"),
)  # fmt: skip
def tui(options: Any) -> None:
    """Opens a recipe in the terminal: edit it, see its graph and plan, run it, watch it."""
    from mergelang.cli.view import open_view

    open_view(options)


@command(
    argument("what", metavar="WHAT", help="ls, size, prune, clear or verify"),
    argument("--keep", metavar="SIZE", type=parse_size, default=None,
             help="prune: removes values, those used least recently first, then notes, down to "
                  "this size (default: 20GB)"),
    JSON,
)  # fmt: skip
def cache(options: Any) -> int:
    """Lists, checks or removes what runs keep for later ones: values, and notes of files."""
    from mergelang.cli.store import cache as do

    return do(options.what, options.keep, options.as_json)
