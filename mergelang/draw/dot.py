"""A graph in Graphviz' language."""

from mergelang.draw.picture import OUTPUT, SOURCE, picture
from mergelang.graph.node import Graph

STYLES = {SOURCE: "shape=box", OUTPUT: "shape=box, penwidth=2"}


def dot(graph: Graph) -> str:
    """The text of the graph; the same graph gives the same text."""
    shown = picture(graph)
    lines = ["digraph recipe {", '  node [shape=box, style=rounded, fontname="monospace"];']
    for box in shown.boxes:
        style = STYLES.get(box.kind)
        attributes = f"label={_quoted(*box.lines)}" + (f', style="", {style}' if style else "")
        lines.append(f"  {box.id} [{attributes}];")
    for line in shown.lines:
        label = f" [label={_quoted(line.label)}]" if line.label else ""
        lines.append(f"  {line.source} -> {line.target}{label};")
    return "\n".join([*lines, "}"]) + "\n"


def _quoted(*lines: str) -> str:
    escaped = (line.replace("\\", "\\\\").replace('"', '\\"') for line in lines)
    return '"' + "\\n".join(escaped) + '"'
