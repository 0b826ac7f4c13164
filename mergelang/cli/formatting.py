"""`mergelang fmt`: one file."""

import difflib
import os
import sys
from pathlib import Path

from mergelang.errors import RecipeError


def format_file(path: Path, *, write: bool, diff: bool) -> bool:
    """Formats a file, in place if `write`; prints the difference if `diff`. True if it changes.

    The file is replaced in one step and keeps its mode. Raises RecipeError for a wrong recipe.
    """
    from mergelang.api import load
    from mergelang.lang import format, parse

    source = load(path).source
    tree, diagnostics = parse(source)
    if any(each.is_error for each in diagnostics):
        raise RecipeError(diagnostics)
    text = format(tree)
    if text == source.text:
        return False
    if diff:
        before, after = source.text.splitlines(True), text.splitlines(True)
        sys.stdout.writelines(difflib.unified_diff(before, after, str(path), f"{path} (formatted)"))
    if write:
        fresh = path.with_name(path.name + ".new")
        fresh.write_bytes(text.encode())
        os.chmod(fresh, path.stat().st_mode)
        os.replace(fresh, path)
        print(f"reformatted {path}", file=sys.stderr)
    return True
