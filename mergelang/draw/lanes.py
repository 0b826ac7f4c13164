"""A graph drawn in lanes: one line a node, inputs above what uses them, for graphs of any size.

A node's lane runs down from its mark to its last user, which may take it over. Where a user's line
meets a lane it takes, the lane bends in (`└ ┘ ┴`) when it ends there, else there is a joint
(`├ ┤ •`). A crossing (`┼`) joins nothing.
"""

from mergelang.draw.cells import cell_count, padded
from mergelang.draw.graph_text import Drawing, Rect, Run
from mergelang.draw.picture import OUTPUT, SOURCE, Box, Picture

MARKS = {SOURCE: "◇", OUTPUT: "◆"}
MARK = "○"
"""What a node that is neither source nor output is marked with."""


def draw_lanes(shown: Picture) -> Drawing:
    """Draws boxes and lines in lanes. The same picture gives the same text."""
    inputs: dict[str, list[str]] = {box.id: [] for box in shown.boxes}
    users: dict[str, int] = {box.id: 0 for box in shown.boxes}
    for line in shown.lines:
        inputs[line.target].append(line.source)
        users[line.source] += 1
    order = _order(shown, inputs)
    lane: dict[str, int] = {}
    rows: dict[str, int] = {}
    open_lanes: dict[int, str] = {}
    drawn: list[dict[int, str]] = []
    runs: dict[tuple[str, str], tuple[Run, ...]] = {}
    left = dict(users)
    resting: set[int] = set()
    for y, box in enumerate(order):
        rows[box.id] = y
        taken = {lane[source]: source for source in inputs[box.id]}
        ends = {x for x, source in taken.items() if left[source] == 1}
        here = min(ends) if ends else _free(open_lanes, resting)
        drawn.append(_row(here, open_lanes, taken, ends, MARKS.get(box.kind, MARK)))
        for x, source in taken.items():
            left[source] -= 1
            way = [Run(2 * x, rows[source], 2 * x, y)]
            if x != here:
                way.append(Run(2 * x, y, 2 * here, y))
            runs[source, box.id] = tuple(way)
        for x in ends:
            del open_lanes[x]
        lane[box.id] = here
        # Right under a node that nothing uses no other may stand: it would look like its user.
        resting = set() if users[box.id] else {here}
        if users[box.id]:
            open_lanes[here] = box.id
    width = max((max(row) for row in drawn), default=0) + 1
    names = max((cell_count(_name(box)) for box in order), default=0)
    lines, rects = [], {}
    for y, (box, row) in enumerate(zip(order, drawn, strict=True)):
        drawing = "".join(row.get(x, " ") for x in range(width))
        said = padded(_name(box), names) + ("" if box.name is None else f"  {box.text}")
        lines.append(f"{drawing}  {said}".rstrip())
        rects[box.id] = Rect(width + 1, y, cell_count(said.rstrip()) + 2, 1)
    widest = max((cell_count(line) for line in lines), default=0) + 1
    return Drawing(
        tuple(lines), {box.id: rects[box.id] for box in shown.boxes}, runs, widest, shown
    )


def _name(box: Box) -> str:
    return box.text if box.name is None else box.name


def _order(shown: Picture, inputs: dict[str, list[str]]) -> list[Box]:
    """Inputs before users, and each source as late as it can, right above its first user."""
    boxes = {box.id: box for box in shown.boxes}
    placed: dict[str, None] = {}

    def place(id: str) -> None:
        stack = [(id, False)]
        while stack:
            each, ready = stack.pop()
            if each in placed:
                continue
            if ready:
                placed[each] = None
            else:
                stack.append((each, True))
                stack.extend((source, False) for source in reversed(inputs[each]))

    used = {line.source for line in shown.lines}
    for box in shown.boxes:
        if box.id not in used:
            place(box.id)
    return [boxes[id] for id in placed]


def _free(open_lanes: dict[int, str], resting: set[int]) -> int:
    """The first lane that a node may begin."""
    taken = {*open_lanes, *resting}
    return next(x for x in range(len(taken) + 1) if x not in taken)


def _row(
    here: int, open_lanes: dict[int, str], taken: dict[int, str], ends: set[int], mark: str
) -> dict[int, str]:
    """The characters of a row by column; lanes stand in every second one."""
    row = {2 * x: "│" for x in open_lanes}
    low, high = min([here, *taken]), max([here, *taken])
    for column in range(2 * low, 2 * high + 1):
        x, between = divmod(column, 2)
        if between or x not in open_lanes:
            row[column] = "─"
        elif x in taken:
            row[column] = _joint(x, low, high, x in ends)
        else:
            row[column] = "┼"
    row[2 * here] = mark
    return row


def _joint(x: int, low: int, high: int, ends: bool) -> str:
    if x == low:
        return "└" if ends else "├"
    if x == high:
        return "┘" if ends else "┤"
    return "┴" if ends else "•"
