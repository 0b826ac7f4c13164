"""An operator's signature and documentation as text and as plain data."""

from typing import Any

from mergelang.ops.signature import REQUIRED, Option, Signature


def signature_line(signature: Signature) -> str:
    """`dare(*deltas, base, weight = 1, ...) -> Model`, on one line."""
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
    return f"{value:g}" if isinstance(value, int | float) else str(value)


def operator_text(signature: Signature) -> str:
    """Everything about one operator, for a terminal."""
    lines = [signature_line(signature), "", signature.summary]
    if signature.text:
        lines += ["", signature.text]
    if signature.formula:
        lines += ["", f"formula  {signature.formula}"]
    lines += ["", f"inputs   {_inputs(signature)}", f"result   {_result(signature)}"]
    if signature.options:
        lines.append("options")
        width = max(len(option.name) for option in signature.options)
        for option in signature.options:
            default = "required" if option.default is REQUIRED else f"default {_value(option)}"
            scope = ", for each input" if option.each else ""
            lines.append(f"  {option.name:<{width}}  {option.kind}, {default}{scope}")
    if signature.paper:
        lines.append(f"paper    {signature.paper}")
    lines.append(f"version  {signature.version}, from {signature.origin}")
    return "\n".join(lines)


def _inputs(signature: Signature) -> str:
    least, most = signature.least, signature.most
    count = (
        f"{least} or more" if most is None else str(least) if most == least else f"{least}..{most}"
    )
    kinds = " and ".join(dict.fromkeys(_kind(each.kind) for each in signature.inputs))
    if signature.task_vectors:
        return f"{count} models with `base:`, or deltas without it"
    named = "".join(f", and `{each.name}:`" for each in signature.named)
    return f"{count}, {kinds}{named}"


def _result(signature: Signature) -> str:
    if signature.task_vectors:
        return "a model with `base:`, else a delta"
    return _kind(signature.kind)


def _kind(kind: Any) -> str:
    names = {
        "Model": "a model", "Delta": "a delta", "Alike": "models or deltas, all of one kind",
        "Layers": "models or slices of them",
    }  # fmt: skip
    return names[kind.__name__]


def operator_json(signature: Signature) -> dict[str, Any]:
    """The same as plain data."""
    return {
        "name": signature.name,
        "summary": signature.summary,
        "text": signature.text,
        "formula": signature.formula,
        "paper": signature.paper,
        "inputs": [each.name for each in signature.inputs],
        "least": signature.least,
        "most": signature.most,
        "base": signature.task_vectors,
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
