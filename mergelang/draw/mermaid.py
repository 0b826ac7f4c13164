"""A graph as a Mermaid flowchart, as Markdown on the Hub and on GitHub draws it."""

from mergelang.draw.picture import OUTPUT, SOURCE, Box, picture
from mergelang.graph.node import Graph

ESCAPES = str.maketrans({"#": "#35;", '"': "#quot;", "<": "#lt;", ">": "#gt;", "&": "#amp;"})

BRACKETS = {SOURCE: ("[", "]"), OUTPUT: ("[[", "]]")}


def mermaid(graph: Graph) -> str:
    """The text of the chart; the same graph gives the same text."""
    shown = picture(graph)
    lines = ["flowchart TD"]
    lines += [f"  {box.id}{_shape(box)}" for box in shown.boxes]
    for line in shown.lines:
        label = f'|"{line.label.translate(ESCAPES)}"|' if line.label else ""
        lines.append(f"  {line.source} -->{label} {line.target}")
    return "\n".join(lines) + "\n"


def _shape(box: Box) -> str:
    text = "<br/>".join(line.translate(ESCAPES) for line in box.lines)
    left, right = BRACKETS.get(box.kind, ("(", ")"))
    return f'{left}"{text}"{right}'
