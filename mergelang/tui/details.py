"""What there is to say about a box of the graph, as styled text. Pure."""

from textwrap import dedent
from typing import Any

from rich.text import Text

from mergelang.check.program import Program, Term
from mergelang.check.schedule import ONE, ZERO, Arithmetic, Arms, Constant, Curve, at
from mergelang.draw.cells import cell_count, padded
from mergelang.draw.charts import bar, spark
from mergelang.draw.graph_json import options
from mergelang.draw.picture import OUTPUT, SOURCE, SUM, Box, Picture, operator_of
from mergelang.draw.units import counted, size
from mergelang.draw.words import number_text, schedule_text
from mergelang.ops.registry import operators
from mergelang.tensors import Inventory
from mergelang.tui.parts import Share
from mergelang.tui.progress import OutputState, RunState, took

LABEL = "dim"

HEADLINES = {
    OUTPUT: "an output", SOURCE: "a source", SUM: "a sum of models and task vectors",
}  # fmt: skip

CHART = 32
"""Columns of a chart along the layers."""


def details(
    box: Box, picture: Picture, program: Program, run: RunState | None = None,
    share: Share | None = None, reads: int = 0, key: str | None = None,
) -> Text:  # fmt: skip
    """Expression, operator, options, mass, tensors, donor of the box; an output's folder.

    `share` is how far it has come and what it takes, of `reads` bytes that the run reads in all.
    `key` is its derivation key, empty where there is none yet, None where it is not known whether.
    """
    text = Text()
    text.append(box.name or box.text, "bold").append(f"  {_headline(box)}\n", "italic")
    if box.kind == OUTPUT:
        _rows(text, _output_rows(box, run) + _share_rows(share, reads, run) + _key_rows(key))
        return text
    term = box.node.term
    if box.kind != SOURCE and (box.name or "\n" in term.span.text):
        text.append(dedent_after_first(term.span.text) + "\n", "cyan")
    rows = [(name, value) for name, value in options(box).items()]
    rows += _inputs(box, picture)
    rows += _term_rows(term, program)
    rows += _share_rows(share, reads, run if box.kind != SOURCE else None)
    rows += _key_rows(key)
    _rows(text, rows)
    charts = _charts(box)
    if charts:
        text.append("\nalong the layers\n", LABEL)
        _rows(text, charts)
    return text


def _headline(box: Box) -> str:
    if box.kind in HEADLINES:
        return HEADLINES[box.kind]
    name = operator_of(box.node).op
    if name in operators():
        return f"{name}: {operators()[name].signature.summary}"
    return {
        "slice": "some layers of a model",
        "match": "for each tensor, the first arm that fits",
        "retokenize": "the rows of a model in the order of another vocabulary",
        "module": "a module of a model",
        "graft": "a model with other modules",
        "renamed": "a model under the names of another",
    }.get(name, name)


def dedent_after_first(text: str) -> str:
    """A piece of a recipe, its further lines moved left together."""
    first, _, rest = text.partition("\n")
    lines = dedent(rest).splitlines()
    if len(lines) > 1 and lines[-1].strip() in (")", "}"):
        # What closes the brackets stands further left than what is in them.
        lines = dedent("\n".join(lines)).splitlines()
    return "\n".join([first, *lines])


def _inputs(box: Box, picture: Picture) -> list[tuple[str, str]]:
    boxes = {each.id: each for each in picture.boxes}
    names = []
    for line in picture.lines:
        if line.target == box.id:
            name = boxes[line.source].name or boxes[line.source].text
            names.append(f"{name} ({line.label})" if line.label else name)
    return [("from", ", ".join(names))] if names else []


def _term_rows(term: Term, program: Program) -> list[tuple[str, str]]:
    kind = {ONE: "a model", ZERO: "a task vector"}.get(term.mass)
    mass = schedule_text(term.mass)
    rows = [("mass", f"{mass}, {kind}" if kind else mass)]
    if term.inventory is not None:
        inventory = term.inventory
        dtypes = ", ".join(dict.fromkeys(kind.dtype for kind in inventory.tensors.values()))
        rows.append(("tensors", f"{len(inventory):,}, {size(inventory.nbytes)}, {dtypes}"))
        if inventory.layering.count:
            rows.append(("layers", str(inventory.layering.count)))
    if term.donor is not None:
        rows.append(("config from", term_name(term.donor, program)))
    for reason, names in term.dropped.items():
        rows.append(("left out", f"{counted(len(names), 'tensor')}: {reason}"))
    if term.layout is not None:
        for reason, count in term.layout.dropped.items():
            rows.append(("left out", f"{counted(count, 'tensor')}: {reason}"))
    return rows


def term_name(term: Term, program: Program) -> str:
    """What a recipe calls an expression, else what stands there."""
    for name, each in program.terms.items():
        if each is term:
            return name
    return " ".join(term.span.text.split())


def _output_rows(box: Box, run: RunState | None) -> list[tuple[str, str]]:
    target = box.target
    rows = [("folder", target.path)]
    for name, value in target.options.items():
        if value is not None:
            rows.append((name, size(value) if name == "shards" else str(value).lower()))
    inventory = target.term.inventory
    if inventory is not None:
        rows.append(("tensors", f"{len(inventory):,}"))
    state = (run.outputs if run else {}).get(target.text, OutputState())
    if run is not None:
        count = f", {state.done} of {counted(state.tensors, 'tensor')}" if state.tensors else ""
        rows.append(("run", state.state + count))
    return rows


def _share_rows(share: Share | None, reads: int, run: RunState | None) -> list[tuple[str, str]]:
    """Where the time goes: bytes that are read for its tensors, and what the run took so far."""
    if share is None or not share.of:
        return []
    rows = []
    if reads:
        part = share.reads / reads
        rows.append(("reads", f"{size(share.reads)}, {part:.0%} of all  {bar(part, 10)}".rstrip()))
    if run is not None and share.done:
        rows.append(("done", f"{share.done:,} of {share.of:,} tensors"))
        if run.seconds:
            part = min(share.seconds / run.seconds, 1)
            rows.append(("time", f"{took(share.seconds)}, {part:.0%} of the run"))
    return rows


def _key_rows(key: str | None) -> list[tuple[str, str]]:
    none = "no key until its sources were read"
    return [] if key is None else [("derivation", key or none)]


def _charts(box: Box) -> list[tuple[str, str]]:
    """Options that change along the layers, each as one column a layer: the mean over its tensors.

    Where neighbouring layers have to share a column, the mean over all of them.
    """
    inventory = box.node.term.inventory
    if inventory is None or not inventory.layering.count:
        return []
    rows = []
    for name, schedule in _schedules(box):
        values = by_layer(schedule, inventory, CHART)
        known = [value for value in values if value is not None]
        if known:
            low, high = min(known), max(known)
            ends = f"{low:.3g}" if low == high else f"{low:.3g} to {high:.3g}"
            rows.append((name, f"{spark(values)}  {ends}"))
    return rows


def _schedules(box: Box) -> list[tuple[str, Any]]:
    """The options that are no plain number, with the input where there is one for each."""
    node = operator_of(box.node)
    found = []
    attrs = dict(node.attrs)
    if node.op == "affine":
        attrs = {"weight": attrs["coefficients"]}
    for name, value in attrs.items():
        many = isinstance(value, tuple)
        for number, each in enumerate(value if many else (value,), 1):
            if isinstance(each, Curve | Arms | Arithmetic):
                found.append((f"{name} {number}" if many and len(value) > 1 else name, each))
            elif many and isinstance(each, Constant) and _varies(value):
                found.append((f"{name} {number}", each))
    return found


def _varies(values: tuple[Any, ...]) -> bool:
    return any(isinstance(each, Curve | Arms | Arithmetic) for each in values)


def by_layer(schedule: Any, inventory: Inventory, most: int) -> list[float | None]:
    """A schedule along the layers in at most `most` steps; None where it has no value."""
    layers = inventory.layering.count
    count = min(layers, most)
    found: list[list[float]] = [[] for _ in range(count)]
    for name in inventory:
        place = inventory.place(name)
        if place.layer is not None:
            value = at(schedule, place)
            if value is not None:
                found[place.layer * count // layers].append(float(value))
    return [sum(each) / len(each) if each else None for each in found]


def param_text(value: Any) -> str:
    """The value of a param as a recipe writes it."""
    if isinstance(value, bool):
        return str(value).lower()
    return value if isinstance(value, str) else number_text(value)


def _rows(text: Text, rows: list[tuple[str, str]]) -> None:
    width = max((cell_count(name) for name, _ in rows), default=0)
    for name, value in rows:
        text.append(padded(name, width) + "  ", LABEL).append(value + "\n")
