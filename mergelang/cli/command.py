"""How a command is called: the table of commands, their arguments, their help.

Knows no command by itself: `app` registers them. Mistakes are UsageErrors, so that they look like
all others. argparse does the reading and is imported when a command is asked for.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from mergelang import __version__
from mergelang.errors import UsageError

PROGRAM = "mergelang"
WIDTH = 80
"""Columns of a help text."""

HEAD = """\
usage: mergelang COMMAND ...

Composes models out of models: write a recipe, check it, plan it, run it.

commands:
"""

TAIL = """
options:
  --version   Shows the version.
  -h, --help  Shows this help, or with a command its arguments and options.
"""

Argument = tuple[tuple[str, ...], dict[str, Any]]
"""The names of an argument or option, and what argparse wants to know about it."""


@dataclass(frozen=True)
class Command:
    """`body` takes the read options and gives the exit code, None for 0."""

    name: str
    body: Callable[[Any], int | None]
    arguments: tuple[Argument, ...]

    @property
    def summary(self) -> str:
        return self.body.__doc__.partition("\n")[0]


COMMANDS: dict[str, Command] = {}


def argument(*names: str, **facts: Any) -> Argument:
    """An argument (`recipe`) or an option (`--set`), as argparse's `add_argument` takes it."""
    return names, facts


def command(*arguments: Argument, name: str | None = None) -> Callable[[Any], Any]:
    """Registers a function as a command. The first line of its docstring is its summary."""

    def register(body: Any) -> Any:
        made = Command(name or body.__name__, body, arguments)
        COMMANDS[made.name] = made
        return body

    return register


def dispatch(words: Sequence[str]) -> int:
    """Runs the command that the words of a command line ask for; gives its exit code."""
    import sys

    if not words:
        print(overview(), end="", file=sys.stderr)
        return 2
    first, *rest = words
    if first in ("-h", "--help"):
        print(overview(), end="")
        return 0
    if first == "--version":
        print(f"{PROGRAM} {__version__}")
        return 0
    if first.startswith("-"):
        raise _unknown_option(PROGRAM, first, ("--help", "--version"))
    chosen = COMMANDS.get(first)
    if chosen is None:
        raise UsageError("E1010", name=first, suggestion=nearest(first, COMMANDS))
    return _parser(chosen).read(rest, chosen)


def overview() -> str:
    """The help of the whole."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {each.summary}\n" for name, each in COMMANDS.items()]
    return HEAD + "".join(lines) + TAIL


def nearest(name: str, known: Any) -> str | None:
    """The known name most like this one."""
    from difflib import get_close_matches

    return next(iter(get_close_matches(name, known, 1)), None)


def _unknown_option(path: str, option: str, known: Sequence[str]) -> UsageError:
    option = option.partition("=")[0]
    return UsageError("E1011", command=path, option=option, suggestion=nearest(option, known))


def _parser(chosen: Command) -> Any:
    """The parser of one command."""
    from argparse import ArgumentParser, HelpFormatter

    class Parser(ArgumentParser):
        def error(self, message: str) -> NoReturn:
            raise UsageError("E1012", command=self.prog, message=message)

        def read(self, words: Sequence[str], chosen: Command) -> int:
            try:
                options, extra = self.parse_known_intermixed_args(words)
            except SystemExit:  # `--help` has been shown
                return 0
            for word in extra:
                if word.startswith("-") and word != "-":
                    known = [name for names, _ in chosen.arguments for name in names]
                    raise _unknown_option(self.prog, word, known)
                raise UsageError("E1013", command=self.prog, text=word)
            return chosen.body(options) or 0

    parser = Parser(
        prog=f"{PROGRAM} {chosen.name}", description=chosen.body.__doc__, add_help=False,
        allow_abbrev=False,
        formatter_class=lambda prog: HelpFormatter(prog, max_help_position=24, width=WIDTH),
    )  # fmt: skip
    arguments, options = map(parser.add_argument_group, ("arguments", "options"))
    for names, facts in chosen.arguments:
        group = options if names[0].startswith("-") else arguments
        group.add_argument(*names, **facts)
    options.add_argument("-h", "--help", action="help", help="shows this help")
    return parser
