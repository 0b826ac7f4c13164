"""`mergelang ops`: all operators by family, or one in full."""

from collections.abc import Iterable
from textwrap import wrap

from mergelang.cli.command import WIDTH, nearest
from mergelang.cli.show import diagnostics, json_object, plain
from mergelang.draw.operator_text import operator_json, operator_text
from mergelang.errors import UsageError
from mergelang.ops.registry import broken_packages, operators
from mergelang.ops.signature import Operator


def show(name: str | None, as_json: bool) -> None:
    """Prints one operator, or all; those of packages that cannot be loaded are a warning."""
    known = operators()
    if name is not None and name not in known:
        raise UsageError("E1009", name=name, suggestion=nearest(name, known))
    broken = broken_packages()
    if not as_json:
        diagnostics(broken)
        print(operator_text(known[name].signature) if name else listing(known.values()))
    elif name:
        json_object(operator_json(known[name].signature))
    else:
        described = [operator_json(each.signature) for each in known.values()]
        json_object({"operators": described, "diagnostics": plain(broken)})


def listing(known: Iterable[Operator]) -> str:
    """Names and summaries under the names of their families."""
    families: dict[str, list[Operator]] = {}
    for each in known:
        families.setdefault(each.family, []).append(each)
    column = 2 + max(len(each.name) for each in known) + 2
    lines = []
    for family, members in families.items():
        lines += ["", family] if lines else [family]
        for each in members:
            summary = wrap(each.signature.summary, WIDTH - column) or [""]
            lines.append(f"  {each.name:<{column - 2}}{summary[0]}".rstrip())
            lines += [" " * column + more for more in summary[1:]]
    return "\n".join([*lines, "", "`mergelang ops NAME` tells all about one."])
