"""`mergelang fmt`: recipes formatted in place, or what would change."""

import difflib
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import NamedTemporaryFile

from mergelang.cli.show import diagnostics
from mergelang.errors import MergelangError, RecipeError, UsageError


def format_files(paths: Sequence[Path], *, check: bool, diff: bool) -> int:
    """Formats each file; the exit code. A file that is wrong does not keep others from it."""
    code = 0
    for path in paths:
        try:
            changed = format_file(path, write=not (check or diff), diff=diff)
        except MergelangError as error:
            diagnostics(error.diagnostics)
            code = max(code, error.exit_code)
            continue
        if changed and check:
            code = max(code, 1)
            if not diff:
                print(f"would reformat {path}")
    return code


def format_file(path: Path, *, write: bool, diff: bool) -> bool:
    """Formats a file, in place if `write`; prints the difference if `diff`. True if it changes.

    The file is replaced in one step and keeps its mode; a link stays a link. Raises RecipeError for
    a wrong recipe, UsageError for a file that cannot be read or written.
    """
    from mergelang.api import YAML, load
    from mergelang.lang import format, parse

    if path.suffix in YAML:
        recipe = str(path.with_suffix(".merge"))
        raise UsageError("E1003", path=str(path), command="fmt", recipe=recipe)
    source = load(path).source
    tree, found = parse(source)
    if any(each.is_error for each in found):
        raise RecipeError(found)
    text = format(tree)
    if text == source.text:
        return False
    if diff:
        before, after = source.text.splitlines(True), text.splitlines(True)
        sys.stdout.writelines(difflib.unified_diff(before, after, str(path), f"{path} (formatted)"))
    if write:
        _replace(path, text.encode())
        print(f"reformatted {path}", file=sys.stderr)
    return True


def _replace(path: Path, content: bytes) -> None:
    target = path.resolve()
    try:
        with NamedTemporaryFile(dir=target.parent, prefix=target.name, delete=False) as fresh:
            fresh.write(content)
        os.chmod(fresh.name, target.stat().st_mode)
        os.replace(fresh.name, target)
    except OSError as error:
        raise UsageError("E1016", path=str(path), reason=error.strerror.lower()) from error
