"""What the commands print for people, and as JSON."""

import json
import sys
from collections.abc import Iterable
from typing import Any

from mergelang.draw.units import counted, size
from mergelang.errors import Diagnostic, UsageError
from mergelang.wording import KINDS, helps, message, render


def diagnostics(found: Iterable[Diagnostic]) -> None:
    """Diagnostics on stderr, each followed by an empty line."""
    for each in found:
        print(_coloured(render(each)), end="\n\n", file=sys.stderr)


def _coloured(text: str) -> str:
    if not sys.stderr.isatty():
        return text
    head, *rest = text.split("\n")
    tone = "31" if head.startswith("error") else "33"
    word, colon, said = head.partition(": ")
    lines = [f"\x1b[1;{tone}m{word}\x1b[0m{colon}\x1b[1m{said}\x1b[0m"]
    for line in rest:
        lines.append(f"\x1b[36m{line[:5]}\x1b[0m{line[5:]}" if line.startswith("help:") else line)
    return "\n".join(lines)


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


def drawing(recipe: Any, form: str, *, sources: bool) -> str:
    """The graph of a recipe in one of the formats of `graph --format`."""
    from mergelang.draw import graph_text

    forms = {
        "text": lambda graph: "\n".join(graph_text.draw(graph).lines),
        "mermaid": _mermaid,
        "dot": _dot,
        "json": _json,
    }
    if form not in forms:
        raise UsageError("E1007", text=form, what="format", example=" | ".join(forms))
    return forms[form](recipe.graph(sources=sources)).rstrip("\n")


def _mermaid(graph: Any) -> str:
    from mergelang.draw.mermaid import mermaid

    return mermaid(graph)


def _dot(graph: Any) -> str:
    from mergelang.draw.dot import dot

    return dot(graph)


def _json(graph: Any) -> str:
    from mergelang.draw.graph_json import graph_json

    return json.dumps(graph_json(graph), indent=2, ensure_ascii=False)


def model(facts: dict[str, Any]) -> None:
    """A model's tensors as a table, then its totals."""
    rows = [
        (t["name"], t["dtype"], "x".join(map(str, t["shape"])) or "scalar", " ".join(t["roles"]),
         size(t["bytes"]))
        for t in facts["tensors"]
    ]  # fmt: skip
    table([("tensor", "dtype", "shape", "roles", "size"), *rows])
    print()
    total = sum(t["bytes"] for t in facts["tensors"])
    print(f"{counted(len(rows), 'tensor')}, {facts['parameters']:,} parameters, {size(total)}")
    if facts.get("architecture"):
        print(f"architecture {facts['architecture']}, {counted(facts['layers'], 'layer')}")
    for title, key in (("by dtype", "by_dtype"), ("by role", "by_role")):
        parts = [f"{name} {size(count)}" for name, count in facts[key].items()]
        print(f"{title}: {', '.join(parts)}")


def table(rows: list[tuple[str, ...]]) -> None:
    """Left-aligned columns, two spaces apart, the first row a heading."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print("  ".join(cells).rstrip())


def operators_text(name: str | None, as_json: bool) -> None:
    """All operators in a table, or one in full."""
    from difflib import get_close_matches

    from mergelang.draw.operator_text import operator_json, operator_text, signature_line
    from mergelang.ops.registry import operators

    known = operators()
    if name is not None and name not in known:
        close = get_close_matches(name, known, 1)
        raise UsageError("E1009", name=name, suggestion=close[0] if close else None)
    if as_json:
        chosen = known.values() if name is None else [known[name]]
        described = [operator_json(each.signature) for each in chosen]
        json_object(described if name is None else described[0])
    elif name is None:
        rows = [(signature_line(each.signature), each.signature.summary) for each in known.values()]
        for line, summary in rows:
            print(f"{line}\n    {summary}")
    else:
        print(operator_text(known[name].signature))


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
        raise UsageError("E1008", code=code, suggestion=close[0] if close else None)
    print(f"{code.upper()}: {kind.message}\n")
    print(kind.explain.rstrip("\n"))
