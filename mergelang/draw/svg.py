"""A graph as an SVG picture: the drawing for terminals, with real boxes and lines."""

from html import escape

from mergelang.draw.graph_text import Rect, Run, draw
from mergelang.draw.picture import OUTPUT, SOURCE
from mergelang.graph.node import Graph

CELL_WIDTH, CELL_HEIGHT, MARGIN = 8.5, 16, 12
"""Pixels of a cell of the drawing, and around it."""

STYLE = """\
  text { font: 13px ui-monospace, Menlo, Consolas, monospace; text-anchor: middle; fill: #1f2328 }
  rect { fill: #fff; stroke: #57606a }
  .source { fill: #ddf4ff }
  .output { fill: #dafbe1; stroke-width: 2.5 }
  path { fill: none; stroke: #57606a; marker-end: url(#arrow) }
  .label { font-size: 11px }
  .halo { font-size: 11px; stroke: #fff; stroke-width: 4 }
"""

ARROW = """\
  <marker id="arrow" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" orient="auto">
    <path d="M0 0L8 4L0 8z" style="fill: #57606a; stroke: none; marker-end: none"/>
  </marker>
"""  # noqa: E501


def svg(graph: Graph) -> str:
    """The text of the picture; the same graph gives the same text."""
    drawing = draw(graph)
    width = drawing.width * CELL_WIDTH + 2 * MARGIN
    height = len(drawing.lines) * CELL_HEIGHT + 2 * MARGIN
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:g}" height="{height:g}" '
        f'viewBox="{-MARGIN} {-MARGIN} {width:g} {height:g}">',
        f"<style>\n{STYLE}</style>\n<defs>\n{ARROW}</defs>",
    ]
    labels = []
    for line in drawing.picture.lines:
        runs = drawing.runs[line.source, line.target]
        lines.append(f'<path d="{_path(runs, drawing.boxes[line.target])}"/>')
        if line.label:
            x, y = _middle(runs[-1].x2), _middle(runs[-1].y2 - 1, CELL_HEIGHT)
            labels += [
                f'<text class="{part}" x="{x:g}" y="{y:g}">{escape(line.label)}</text>'
                for part in ("halo", "label")
            ]
    for box in drawing.picture.boxes:
        rect = drawing.boxes[box.id]
        kind = {SOURCE: "source", OUTPUT: "output"}.get(box.kind, "operator")
        left, top = _middle(rect.x), _middle(rect.y, CELL_HEIGHT)
        wide, high = (rect.width - 1) * CELL_WIDTH, (rect.height - 1) * CELL_HEIGHT
        lines.append(
            f'<rect class="{kind}" x="{left:g}" y="{top:g}" width="{wide:g}" height="{high}" '
            'rx="4"/>'
        )
        centre = left + wide / 2
        for number, text in enumerate(box.lines, 1):
            y = top + number * CELL_HEIGHT + 4
            lines.append(f'<text x="{centre:g}" y="{y:g}">{escape(text)}</text>')
    return "\n".join([*lines, *labels, "</svg>"]) + "\n"


def _path(runs: tuple[Run, ...], target: Rect) -> str:
    """Down, across and down again, from the border of one box to that of the other."""
    points = [(runs[0].x1, runs[0].y1)]
    points += [(run.x2, run.y2) for run in runs]
    points[-1] = (points[-1][0], target.y)
    steps = [f"{_middle(x):g} {_middle(y, CELL_HEIGHT):g}" for x, y in dict.fromkeys(points)]
    return "M" + "L".join(steps)


def _middle(cell: int, size: float = CELL_WIDTH) -> float:
    return (cell + 0.5) * size
