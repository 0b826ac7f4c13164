"""An operator's signature and documentation as text and as plain data."""

from textwrap import wrap
from typing import Any

from mergelang.ops.signature import REQUIRED, Option, Signature


def signature_line(signature: Signature) -> str:
    """`dare(*deltas, base:, weight: 1, density:)`, on one line."""
    inputs = [
        f"*{each.name}" if each.many else f"{each.name}:" if each.named else each.name
        for each in signature.inputs
    ]
    if signature.task_vectors:
        inputs.append("base:")
    options = [_short(option) for option in signature.options]
    return f"{signature.name}({', '.join([*inputs, *options])})"


def _short(option: Option) -> str:
    return f"{option.name}:" if option.default is REQUIRED else f"{option.name}: {_value(option)}"


def _value(option: Option) -> str:
    value = option.default
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return f"[{', '.join(map(str, value))}]"
    return f"{value:g}" if isinstance(value, int | float) else str(value)


WIDTH = 80
"""Columns of a terminal."""


def operator_text(signature: Signature, width: int = WIDTH) -> str:
    """Everything about one operator, for a terminal."""

    def wrapped(text: str, indent: str = "") -> list[str]:
        return wrap(text, width, subsequent_indent=indent)

    def fact(title: str, text: str) -> list[str]:
        return wrapped(f"{title:<9}{text}", " " * 9)

    lines = [*wrapped(signature_line(signature), "    "), "", *wrapped(signature.summary)]
    for paragraph in signature.text.split("\n\n") if signature.text else ():
        lines += ["", *wrapped(paragraph)]
    lines.append("")
    if signature.formula:
        lines += fact("formula", signature.formula)
    if signature.use:
        lines += fact("use for", signature.use)
    lines += fact("inputs", _inputs(signature)) + fact("result", _result(signature))
    if signature.paper:
        lines += fact("paper", signature.paper)
    lines += fact("version", f"{signature.version}, from {signature.origin}")
    if signature.options:
        lines += ["", "options"]
        column = max(len(option.name) for option in signature.options)
        for option in signature.options:
            default = "required" if option.default is REQUIRED else f"default {_value(option)}"
            scope = ", of each input" if option.each else ""
            line = f"  {option.name:<{column}}  {option.kind}, {default}{scope}"
            lines += wrapped(line, " " * (column + 4))
    return "\n".join(lines)


def _inputs(signature: Signature) -> str:
    least, most = signature.least, signature.most
    count = str(least) if most == least else f"{least} or more" if most is None else (
        f"{least} to {most}"
    )  # fmt: skip
    if signature.task_vectors:
        models = "model" if most == 1 else "models"
        others = "models or task vectors" if signature.points else "task vectors"
        return f"{count} {models} with `base:`, or {others} without it"
    kinds = dict.fromkeys(each.kind for each in signature.inputs if not each.named)
    words = " and ".join(_kind(kind, most == 1) for kind in kinds)
    named = "".join(f", and `{each.name}:`" for each in signature.named)
    return f"{count} {words}{named}"


def _kind(kind: Any, single: bool) -> str:
    one, several = {
        "Model": ("model", "models"),
        "Delta": ("task vector", "task vectors"),
        "Alike": ("model or task vector", "models, or task vectors"),
        "Layers": ("model or slice", "models or slices"),
    }[kind.__name__]
    return one if single else several


def _result(signature: Signature) -> str:
    if signature.task_vectors:
        other = "of the kind of its inputs" if signature.points else "a task vector"
        return f"a model with `base:`, else {other}"
    return {"Model": "a model", "Delta": "a task vector"}.get(
        signature.kind.__name__, "of the kind of its inputs"
    )


def operator_json(signature: Signature) -> dict[str, Any]:
    """The same as plain data."""
    return {
        "name": signature.name,
        "summary": signature.summary,
        "text": signature.text,
        "formula": signature.formula,
        "use": signature.use,
        "paper": signature.paper,
        "inputs": [each.name for each in signature.inputs],
        "least": signature.least,
        "most": signature.most,
        "base": signature.takes_base,
        "options": [
            {
                "name": option.name,
                "kind": str(option.kind),
                "default": None if option.default is REQUIRED else _value(option),
                "each": option.each,
            }
            for option in signature.options
        ],
        "version": signature.version,
        "origin": signature.origin,
    }
