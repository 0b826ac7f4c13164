"""The commands. Each reads its arguments, calls the API, prints, and leaves with an exit code.

0 done, 1 the recipe or the inputs are wrong, 2 usage, 3 the run failed, 130 interrupted. What
people asked for goes to stdout, diagnostics and progress to stderr.
"""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from mergelang import __version__
from mergelang.errors import MergelangError

app = typer.Typer(
    name="mergelang",
    help="Compose models out of models.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

RecipePath = Annotated[Path, typer.Argument(metavar="RECIPE", help="A .merge file.")]
Settings = Annotated[
    list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="Sets a param.")
]
Json = Annotated[bool, typer.Option("--json", help="Prints one JSON object.")]


def run(arguments: list[str] | None = None) -> None:
    """Parses, runs a command, exits."""
    try:
        code = app(args=arguments, standalone_mode=False, prog_name="mergelang")
    except MergelangError as error:
        _complain(error)
        code = error.exit_code
    except KeyboardInterrupt:
        print("interrupted: nothing was changed", file=sys.stderr)
        code = 130
    except typer.Exit as leaving:
        code = leaving.exit_code
    except Exception as error:
        if not hasattr(error, "format_message"):
            raise
        # An error of typer's own: usage, with the command it belongs to.
        if not error.format_message():
            code = 2  # no arguments: the help has been shown
        else:
            print(f"error: {error.format_message()}", file=sys.stderr)
            context = getattr(error, "ctx", None)
            path = context.command_path if context else "mergelang"
            print(f"help: `{path} --help` shows how it is used", file=sys.stderr)
            code = 2
    sys.exit(code or 0)


def _complain(error: MergelangError) -> None:
    from mergelang.cli.show import diagnostics

    diagnostics(error.diagnostics)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"mergelang {__version__}")
        raise typer.Exit()


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Shows the version.")
    ] = False,
) -> None:
    """Compose models out of models: write a recipe, check it, plan it, run it."""


def _load(path: Path, settings: list[str] | None) -> Any:
    from mergelang.api import load
    from mergelang.cli.arguments import parse_settings

    return load(path, parse_settings(settings or []))


@app.command()
def check(
    recipe: RecipePath,
    settings: Settings = None,
    no_sources: Annotated[
        bool, typer.Option("--no-sources", help="Looks at the text alone, at no model.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Finds every mistake of a recipe, without reading a weight."""
    from mergelang.cli import show

    loaded = _load(recipe, settings)
    try:
        program = loaded.check(sources=not no_sources)
    except MergelangError as error:
        if not as_json:
            raise
        show.json_object({"ok": False, "diagnostics": show.plain(error.diagnostics)})
        raise typer.Exit(error.exit_code) from None
    if as_json:
        show.json_object({"ok": True, "diagnostics": show.plain(program.warnings)})
        return
    show.diagnostics(program.warnings)
    count = len(program.outputs)
    warned = f", {show.counted(len(program.warnings), 'warning')}" if program.warnings else ""
    print(f"{recipe}: ok, {show.counted(count, 'output')}{warned}")


@app.command()
def fmt(
    recipes: Annotated[list[Path], typer.Argument(metavar="RECIPE...", help=".merge files.")],
    check_only: Annotated[
        bool, typer.Option("--check", help="Changes nothing; exits 1 if a file would change.")
    ] = False,
    diff: Annotated[bool, typer.Option("--diff", help="Prints the change instead.")] = False,
) -> None:
    """Formats recipes in place."""
    from mergelang.cli.formatting import format_file

    write = not (check_only or diff)
    changed = [path for path in recipes if format_file(path, write=write, diff=diff)]
    if check_only and changed:
        if not diff:
            for path in changed:
                print(f"would reformat {path}")
        raise typer.Exit(1)


@app.command()
def plan(
    recipe: RecipePath,
    outputs: Annotated[list[str] | None, typer.Argument(metavar="[OUTPUT]...")] = None,
    into: Annotated[Path | None, typer.Option("-o", metavar="DIR")] = None,
    settings: Settings = None,
    as_json: Json = False,
) -> None:
    """Shows what a run would do: tensors, passes, bytes, memory, disk."""
    from mergelang.cli import show
    from mergelang.draw.plan_text import plan_json, plan_text

    planned = _load(recipe, settings).plan(outputs or (), into=into)
    show.diagnostics(planned.graph.program.warnings)
    if as_json:
        show.json_object(plan_json(planned))
    else:
        print(plan_text(planned))


@app.command("run")
def run_command(
    recipe: RecipePath,
    outputs: Annotated[
        list[str] | None, typer.Argument(metavar="[OUTPUT]...", help="Default: all.")
    ] = None,
    into: Annotated[
        Path | None, typer.Option("-o", metavar="DIR", help="Writes the only output there.")
    ] = None,
    settings: Settings = None,
    memory: Annotated[str, typer.Option(metavar="SIZE", help="Bounds the whole process.")] = "1GiB",
    threads: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Default: the usable cores.")
    ] = None,
    allow_nonfinite: Annotated[
        bool, typer.Option("--allow-nonfinite", help="Merges NaN and infinity all the same.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Prints the plan only.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Prints the events, one JSON object a line.")
    ] = False,
) -> None:
    """Runs a recipe: writes all its outputs, or those named."""
    from mergelang import api
    from mergelang.cli import show
    from mergelang.cli.arguments import parse_size

    limit = parse_size(memory)
    planned = _load(recipe, settings).plan(outputs or (), into=into)
    show.diagnostics(planned.graph.program.warnings)
    if dry_run:
        from mergelang.draw.plan_text import plan_text

        print(plan_text(planned))
        return
    from mergelang.cli.progress import listener

    with listener(as_json) as listen:
        api.run(
            planned, memory=limit, threads=threads, allow_nonfinite=allow_nonfinite,
            listener=listen,
        )  # fmt: skip


@app.command()
def graph(
    recipe: RecipePath,
    settings: Settings = None,
    form: Annotated[
        str, typer.Option("--format", metavar="text|mermaid|dot|json", help="How to draw it.")
    ] = "text",
    no_sources: Annotated[bool, typer.Option("--no-sources", help="Looks at no model.")] = False,
) -> None:
    """Draws the graph of a recipe."""
    from mergelang.cli.show import drawing

    print(drawing(_load(recipe, settings), form, sources=not no_sources))


@app.command()
def inspect(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A folder or .safetensors file.")],
    as_json: Json = False,
) -> None:
    """Shows a model's tensors, dtypes, shapes, roles and sizes."""
    from mergelang.cli import show
    from mergelang.models.checkpoint import open_model
    from mergelang.models.inspect import describe
    from mergelang.models.reference import parse_reference

    facts = describe(open_model(parse_reference(model, Path.cwd())))
    if as_json:
        show.json_object(facts)
    else:
        show.model(facts)


@app.command()
def ops(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]")] = None, as_json: Json = False
) -> None:
    """Lists the operators, or describes one: signature, meaning, formula, paper."""
    from mergelang.cli import show

    show.operators_text(name, as_json)


@app.command()
def explain(code: Annotated[str | None, typer.Argument(metavar="[CODE]")] = None) -> None:
    """Explains the code of an error, with an example; without a code lists them all."""
    from mergelang.cli import show

    show.explanation(code)


@app.command()
def tui(recipe: RecipePath, settings: Settings = None) -> None:
    """Opens the terminal view of a recipe: its graph, the details, and `r` to run it."""
    from mergelang.cli.arguments import parse_settings

    parsed = parse_settings(settings or [])
    _load(recipe, settings)
    from mergelang.tui.app import run as open_view

    open_view(recipe, parsed)
