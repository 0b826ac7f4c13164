"""A graph drawn for a terminal: boxes and lines, inputs above what uses them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from mergelang.draw.cells import cell_count, cells
from mergelang.draw.layers import Item, Layers, Passage, arrange
from mergelang.draw.picture import OUTPUT, Box, Picture, picture
from mergelang.draw.routes import Channel, route
from mergelang.graph.node import Graph

LIGHT, HEAVY = "┌─┐│└┘┬", "┏━┓┃┗┛┳"

UP, DOWN, LEFT, RIGHT = 1, 2, 4, 8
ARMS = {
    UP: "│", DOWN: "│", UP | DOWN: "│", LEFT: "─", RIGHT: "─", LEFT | RIGHT: "─",
    UP | LEFT: "┘", UP | RIGHT: "└", DOWN | LEFT: "┐", DOWN | RIGHT: "┌",
    UP | DOWN | LEFT: "┤", UP | DOWN | RIGHT: "├",
    LEFT | RIGHT | UP: "┴", LEFT | RIGHT | DOWN: "┬", UP | DOWN | LEFT | RIGHT: "┼",
}  # fmt: skip


class Rect(NamedTuple):
    """Cells of a box, its border included."""

    x: int
    y: int
    width: int
    height: int

    def holds(self, x: int, y: int) -> bool:
        return self.x <= x < self.x + self.width and self.y <= y < self.y + self.height


class Run(NamedTuple):
    """A straight piece of a line, from cell to cell."""

    x1: int
    y1: int
    x2: int
    y2: int


@dataclass(frozen=True, eq=False)
class Drawing:
    """The text, where each box stands in it, how each line (source, target) runs, its width."""

    lines: tuple[str, ...]
    boxes: Mapping[str, Rect]
    runs: Mapping[tuple[str, str], tuple[Run, ...]]
    width: int
    picture: Picture

    @property
    def is_lanes(self) -> bool:
        """Whether each box is one line of its own."""
        return all(rect.height == 1 for rect in self.boxes.values())

    def at(self, x: int, y: int) -> str | None:
        """The box at a cell."""
        return next((box for box, rect in self.boxes.items() if rect.holds(x, y)), None)


def graph_text(graph: Graph) -> str:
    """The drawing as text."""
    return "\n".join(draw(graph).lines) + "\n"


def draw(graph: Graph) -> Drawing:
    """Draws a graph as its recipe has it. The same graph gives the same text."""
    return draw_picture(picture(graph))


def draw_picture(shown: Picture) -> Drawing:
    boxes = {box.id: box for box in shown.boxes}
    inputs = {id: 0 for id in boxes}
    for line in shown.lines:
        inputs[line.target] += 1
    # Three columns for each line that enters leave one that no line from above stands in.
    widths = {
        id: max(*(cell_count(text) + 4 for text in box.lines), 3 * inputs[id] + 2)
        for id, box in boxes.items()
    }
    layers = arrange(widths, [(line.source, line.target) for line in shown.lines])
    channels = route(layers, widths)
    tops, bottoms, height = _heights(layers, channels, boxes)
    rects = {
        item: Rect(layers.left[item], tops[i], widths[item], len(boxes[item].lines) + 2)
        for i, row in enumerate(layers.rows)
        for item in row
        if not isinstance(item, Passage)
    }
    pieces = _pieces(channels, tops, bottoms, rects)
    width = max(
        *(rect.x + rect.width for rect in rects.values()),
        *(run.x2 + 1 for runs in pieces.values() for run in runs),
        0, 0,
    )  # fmt: skip
    canvas = _Canvas(width, height)
    for runs in pieces.values():
        for run in runs:
            canvas.run(run)
    for id, rect in rects.items():
        canvas.box(boxes[id], rect)
    for i, channel in enumerate(channels):
        for (source, target), column in channel.entries.items():
            if source in rects:
                rect = rects[source]
                style = HEAVY if boxes[source].kind == OUTPUT else LIGHT
                canvas.put(channel.exits[source], rect.y + rect.height - 1, style[6])
            if target in rects:
                canvas.put(column, tops[i + 1], "▼")
    whole = {
        (line.source, line.target): _whole(line.source, line.target, layers, pieces)
        for line in shown.lines
    }
    return Drawing(canvas.lines(), {id: rects[id] for id in boxes}, whole, width, shown)


def _heights(
    layers: Layers, channels: tuple[Channel, ...], boxes: Mapping[str, Box]
) -> tuple[list[int], list[int], int]:
    """First and last text line of each layer, and the number of lines."""
    tops, bottoms, y = [], [], 0
    for i, row in enumerate(layers.rows):
        tops.append(y)
        y += 2 + max((len(boxes[each].lines) for each in row if each in boxes), default=1)
        bottoms.append(y - 1)
        if i < len(channels):
            y += max(1, len(channels[i].tracks))
    return tops, bottoms, y


def _pieces(
    channels: tuple[Channel, ...], tops: list[int], bottoms: list[int],
    rects: Mapping[Item, Rect],
) -> dict[tuple[Item, Item], tuple[Run, ...]]:  # fmt: skip
    """The runs of each line between neighbouring layers; a passage's own belongs to its entry."""
    pieces = {}
    for i, channel in enumerate(channels):
        for (source, target), entry in channel.entries.items():
            exit = channel.exits[source]
            start = rects[source].y + rects[source].height - 1 if source in rects else bottoms[i]
            end = tops[i + 1] if target in rects else bottoms[i + 1]
            track = channel.track(source, entry)
            if track is None:
                pieces[source, target] = (Run(exit, start, exit, end),)
                continue
            y = bottoms[i] + 1 + track
            pieces[source, target] = (
                Run(exit, start, exit, y), Run(exit, y, entry, y), Run(entry, y, entry, end),
            )  # fmt: skip
    return pieces


def _whole(
    source: str, target: str, layers: Layers, pieces: Mapping[tuple[Item, Item], tuple[Run, ...]]
) -> tuple[Run, ...]:
    """The runs of a line from box to box, through its passages."""
    at: Item = source
    runs: list[Run] = []
    while at != target:
        below = layers.below[at]
        following = target if target in below else next(x for x in below if isinstance(x, Passage))
        runs += pieces[at, following]
        at = following
    return tuple(runs)


class _Canvas:
    """Cells of a text; lines are kept as arms until the end, so that they join by themselves."""

    def __init__(self, width: int, height: int):
        self._arms = [[0] * width for _ in range(height)]
        self._text = [[""] * width for _ in range(height)]
        self._covered = [[False] * width for _ in range(height)]

    def run(self, run: Run) -> None:
        if run.x1 == run.x2:
            low, high = sorted((run.y1, run.y2))
            for y in range(low, high + 1):
                self._arms[y][run.x1] |= (UP if y > low else 0) | (DOWN if y < high else 0)
        else:
            low, high = sorted((run.x1, run.x2))
            row = self._arms[run.y1]
            for x in range(low, high + 1):
                row[x] |= (LEFT if x > low else 0) | (RIGHT if x < high else 0)

    def put(self, x: int, y: int, char: str) -> None:
        self._text[y][x] = char
        self._covered[y][x] = True

    def box(self, box: Box, rect: Rect) -> None:
        corners = HEAVY if box.kind == OUTPUT else LIGHT
        top_left, across, top_right, side, bottom_left, bottom_right, _ = corners
        inner = rect.width - 2
        rows = [top_left + across * inner + top_right]
        for text in box.lines:
            space = inner - cell_count(text)
            rows.append(side + " " * (space // 2) + text + " " * (space - space // 2) + side)
        rows.append(bottom_left + across * inner + bottom_right)
        for y, row in enumerate(rows, rect.y):
            for x, cell in enumerate(cells(row), rect.x):
                self.put(x, y, cell)

    def lines(self) -> tuple[str, ...]:
        return tuple(
            "".join(
                text if covered else ARMS.get(arms, " ")
                for text, covered, arms in zip(*row, strict=True)
            ).rstrip()
            for row in zip(self._text, self._covered, self._arms, strict=True)
        )
