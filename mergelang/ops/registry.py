"""The operators by name: ours, and those of installed packages.

A package brings its own with an entry point in the group `mergelang.operators` that names a module
whose import registers them. One that fails is set aside as a whole and told as a warning. Nothing
here imports torch.
"""

from collections.abc import Callable
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from mergelang.errors import Diagnostic
from mergelang.ops.signature import Operator, signature_of

OURS = (
    "means", "spheres", "task_vectors", "pruning", "agreement", "toward", "spectral", "statistics",
    "deltas", "layouts", "mixture",
)  # fmt: skip
"""The modules of `mergelang.ops` that hold operators."""

GROUP = "mergelang.operators"
"""The group of entry points that name modules of operators."""

_operators: dict[str, Operator] = {}
_broken: list[Diagnostic] = []
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
    summary that `mergelang ops` shows, the rest its text. Further facts: `name`, `least` and `most`
    (inputs), `points` (with `task_vectors`: without a base it takes models as they are), `version`
    (raise it when the bytes of a result change), `formula`, `use` (what it is good for), `paper`,
    `mass`, `needs` (which other option one counts with), `apart` (which option lets all inputs be
    one, or two of them one with the same options).
    """

    def register(function: Callable[..., Any]) -> Operator:
        facts.setdefault("origin", function.__module__.partition(".")[0])
        signature = signature_of(
            function, task_vectors=task_vectors, arranges=arranges, **facts
        )
        known = _operators.get(signature.name)
        if known is not None and known.body.__module__ != function.__module__:
            raise ValueError(
                f"operator `{signature.name}` is there already, from {known.signature.origin}"
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
        _import_ours()
        points = entry_points(group=GROUP)
        for point in sorted(points, key=lambda each: (_package(each), each.name)):
            _load(point)
    return _operators


def _import_ours() -> None:
    """Ours first and in their order, whoever has imported one of them before."""
    modules = [import_module(f"mergelang.ops.{name}").__name__ for name in OURS]
    place = {module: number for number, module in enumerate(modules)}
    ordered = sorted(
        _operators.items(), key=lambda item: place.get(item[1].body.__module__, len(place))
    )
    _operators.clear()
    _operators.update(ordered)


def broken_packages() -> tuple[Diagnostic, ...]:
    """A warning for each installed package whose operators could not be loaded."""
    operators()
    return tuple(_broken)


def _load(point: EntryPoint) -> None:
    before = dict(_operators)
    try:
        point.load()
    except Exception as error:
        _operators.clear()
        _operators.update(before)
        reason = f"{type(error).__name__}: {error}".partition("\n")[0]
        _broken.append(Diagnostic("W0301", None, {"package": _package(point), "reason": reason}))


def _package(point: EntryPoint) -> str:
    return point.dist.name if point.dist else point.module
