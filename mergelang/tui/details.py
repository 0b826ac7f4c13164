"""What there is to say about a box of the graph, as styled text. Pure."""

from textwrap import dedent

from rich.text import Text

from mergelang.check.program import Program, Term
from mergelang.check.schedule import ONE, ZERO
from mergelang.draw.graph_json import options
from mergelang.draw.picture import OUTPUT, SOURCE, SUM, Box, Picture, operator_of
from mergelang.draw.units import counted, size
from mergelang.draw.words import schedule_text
from mergelang.ops.registry import operators
from mergelang.tui.progress import OutputState, RunState

LABEL = "bright_black"

HEADLINES = {
    OUTPUT: "an output", SOURCE: "a source", SUM: "a sum of models and task vectors",
}  # fmt: skip


def details(box: Box, picture: Picture, program: Program, run: RunState | None = None) -> Text:
    """Expression, operator, options, mass, tensors, donor of the box; an output's folder."""
    text = Text()
    text.append(box.name or box.text, "bold").append(f"  {_headline(box)}\n", "italic")
    if box.kind == OUTPUT:
        _rows(text, _output_rows(box, run))
        return text
    term = box.node.term
    if box.kind != SOURCE and (box.name or "\n" in term.span.text):
        text.append(dedent_after_first(term.span.text) + "\n", "cyan")
    rows = [(name, value) for name, value in options(box).items()]
    rows += _inputs(box, picture)
    rows += _term_rows(term, program)
    _rows(text, rows)
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
    }[name]


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


def _rows(text: Text, rows: list[tuple[str, str]]) -> None:
    width = max((len(name) for name, _ in rows), default=0)
    for name, value in rows:
        text.append(f"{name:<{width}}  ", LABEL).append(value + "\n")
