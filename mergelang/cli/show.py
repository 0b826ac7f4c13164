"""What the commands print for people, and as JSON."""

import json
import os
import sys
from collections.abc import Iterable, Sequence
from typing import Any, TextIO

from mergelang.draw.units import counted, size
from mergelang.errors import Diagnostic, MergelangError, UsageError
from mergelang.wording import KINDS, helps, message, render


def diagnostics(found: Iterable[Diagnostic]) -> None:
    """Diagnostics on stderr, with a line between them."""
    texts = [_coloured(render(each)) for each in found]
    if texts:
        print("\n\n".join(texts), file=sys.stderr)


def warnings(found: Sequence[Diagnostic], *, as_json: bool) -> None:
    """Warnings before a run: on stderr, or as the first of its events."""
    if not as_json:
        diagnostics(found)
    elif found:
        _event(found)


def failure(error: MergelangError, *, as_json: bool, is_run: bool) -> None:
    """Why a command failed: on stderr, or as its JSON object, or as the last event of a run."""
    if not as_json:
        diagnostics(error.diagnostics)
    elif is_run:
        _event(error.diagnostics)
    else:
        json_object({"ok": False, "diagnostics": plain(error.diagnostics)})


def _event(found: Sequence[Diagnostic]) -> None:
    said = {"event": "Diagnostics", "diagnostics": plain(found)}
    print(json.dumps(said, separators=(",", ":")), flush=True)


def _coloured(text: str) -> str:
    if not colourful(sys.stderr):
        return text
    head, *rest = text.split("\n")
    tone = "31" if head.startswith("error") else "33"
    word, colon, said = head.partition(": ")
    lines = [f"\x1b[1;{tone}m{word}\x1b[0m{colon}\x1b[1m{said}\x1b[0m"]
    for line in rest:
        lines.append(f"\x1b[36m{line[:5]}\x1b[0m{line[5:]}" if line.startswith("help:") else line)
    return "\n".join(lines)


def colourful(stream: TextIO) -> bool:
    """Whether a stream is a terminal that shows colours, and nobody has asked for none."""
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return stream.isatty() and not plain


def json_object(value: Any) -> None:
    print(json.dumps(value, indent=2, ensure_ascii=False))


def plain(found: Iterable[Diagnostic]) -> list[dict[str, Any]]:
    """Diagnostics as plain data."""
    return [
        {
            "code": each.code,
            "severity": "error" if each.is_error else "warning",
            "message": message(each),
            "help": helps(each),
            **_place(each),
        }
        for each in found
    ]


def _place(diagnostic: Diagnostic) -> dict[str, Any]:
    if diagnostic.span is None:
        return {}
    span = diagnostic.span
    line, column = span.source.position(span.start)
    end_line, end_column = span.source.position(span.end)
    return {
        "file": span.source.name,
        "line": line,
        "column": column,
        "end_line": end_line,
        "end_column": end_column,
    }


FORMS = ("text", "mermaid", "dot", "svg", "json")
"""What `graph --format` knows."""


def picked_form(form: str | None, as_json: bool, forms: Sequence[str] = FORMS) -> str:
    """The format that `--format` and `--json` ask for together."""
    if form is not None and form not in forms:
        from mergelang.check.suggest import listed

        raise UsageError("E1007", text=form, what="format", example=listed(forms, last="or"))
    if as_json and form not in (None, "json"):
        raise UsageError("E1014", one="--json", other=f"--format {form}")
    return "json" if as_json else form or "text"


def drawing(recipe: Any, form: str, *, sources: bool) -> str:
    """The graph of a recipe in one of the forms."""
    graph = recipe.graph(sources=sources)
    if form == "json":
        from mergelang.draw.graph_json import graph_json

        found = plain(graph.program.warnings)
        shown = {"diagnostics": found, **graph_json(graph)}
        return json.dumps(shown, indent=2, ensure_ascii=False)
    diagnostics(graph.program.warnings)
    if form == "mermaid":
        from mergelang.draw.mermaid import mermaid as draw
    elif form == "dot":
        from mergelang.draw.dot import dot as draw
    elif form == "svg":
        from mergelang.draw.svg import svg as draw
    else:
        from mergelang.draw.graph_text import graph_text as draw
    return draw(graph).rstrip("\n")


def model(facts: dict[str, Any]) -> None:
    """A model's tensors as a table, then its totals."""
    rows = [
        (t["name"], t["dtype"], "x".join(map(str, t["shape"])) or "scalar", size(t["bytes"]),
         " ".join(t["roles"]))
        for t in facts["tensors"]
    ]  # fmt: skip
    table([("tensor", "dtype", "shape", "size", "roles"), *rows], right=(3,))
    print()
    total = sum(t["bytes"] for t in facts["tensors"])
    print(f"{counted(len(rows), 'tensor')}, {facts['parameters']:,} parameters, {size(total)}")
    if facts.get("architecture"):
        print(f"architecture {facts['architecture']}, {counted(facts['layers'], 'layer')}")
    for title, key in (("by dtype", "by_dtype"), ("by role", "by_role")):
        parts = [f"{name} {size(count)}" for name, count in facts[key].items()]
        print(f"{title}: {', '.join(parts)}")


def table(rows: list[tuple[str, ...]], right: Sequence[int] = ()) -> None:
    """Columns two spaces apart, those in `right` aligned there; the first row is a heading."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        cells = [
            cell.rjust(widths[i]) if i in right else cell.ljust(widths[i])
            for i, cell in enumerate(row)
        ]
        print("  ".join(cells).rstrip())


def explanation(code: str | None) -> None:
    """One code explained, or a list of all."""
    if code is None:
        for each, kind in sorted(KINDS.items()):
            print(f"{each}  {kind.message}")
        return
    kind = KINDS.get(code.upper())
    if kind is None:
        from difflib import get_close_matches

        close = get_close_matches(code.upper(), KINDS, 1)
        raise UsageError("E1008", name=code, suggestion=close[0] if close else None)
    print(f"{code.upper()}: {kind.message}\n")
    print(kind.explain.rstrip("\n"))
