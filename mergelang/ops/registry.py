"""The operators by name: ours, and those of installed packages.

A package brings its own with an entry point in the group `mergelang.operators` that names a module
whose import registers them. Nothing here imports torch.
"""

from collections.abc import Callable
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

from mergelang.ops.signature import Operator, signature_of

OURS = (
    "means", "spheres", "task_vectors", "pruning", "agreement", "toward", "spectral", "statistics",
    "deltas", "layouts", "mixture",
)  # fmt: skip
"""The modules of `mergelang.ops` that hold operators."""

_operators: dict[str, Operator] = {}
_loaded = False


def operator(
    body: Callable[..., Any] | None = None,
    *,
    task_vectors: bool = False,
    arranges: bool = False,
    **facts: Any,
) -> Any:
    """Registers a typed function as an operator of the language.

    Positional parameters are the inputs (`Model`, `Delta`, `Alike`, `Layers`; `*inputs` for any
    number), keyword-only ones the options (`Number(0, 1)`, `Each(Number())`, `Choice("a", "b")`,
    ...), the return annotation is the kind of the result. The docstring's first line is the
    summary that `mergelang ops` shows, the rest its text. Further facts: `name`, `least` (inputs),
    `version` (raise it when the bytes of a result change), `formula`, `paper`, `mass`.
    """

    def register(function: Callable[..., Any]) -> Operator:
        facts.setdefault("origin", function.__module__.partition(".")[0])
        signature = signature_of(
            function, task_vectors=task_vectors, arranges=arranges, **facts
        )
        known = _operators.get(signature.name)
        if known is not None and known.body.__module__ != function.__module__:
            raise ValueError(
                f"operator {signature.name} of {function.__module__} is already defined by "
                f"{known.body.__module__}"
            )
        made = Operator(signature, function)
        _operators[signature.name] = made
        return made

    return register if body is None else register(body)


def operators() -> dict[str, Operator]:
    """All operators by name; the first call imports ours and those of installed packages."""
    global _loaded
    if not _loaded:
        _loaded = True
        for module in OURS:
            import_module(f"mergelang.ops.{module}")
        for point in entry_points(group="mergelang.operators"):
            point.load()
    return _operators
