"""Graphs drawn in lanes: to the letter, every line can be followed, and fast for any size."""

import time

from hypothesis import given, settings

from mergelang.draw.graph_text import DOWN, LEFT, RIGHT, UP, Drawing
from mergelang.draw.lanes import MARK, MARKS, draw_lanes
from mergelang.draw.picture import OPERATOR, OUTPUT, SOURCE, Box, Line, Picture
from tests.test_draw_graph import GRAPH, pictures
from tests.test_draw_graph import picture as picture_of

ALL = {MARK, *MARKS.values()}

ARMS = {
    "│": UP | DOWN, "─": LEFT | RIGHT, "┼": UP | DOWN | LEFT | RIGHT,
    "•": UP | DOWN | LEFT | RIGHT, "├": UP | DOWN | RIGHT, "┤": UP | DOWN | LEFT,
    "└": UP | RIGHT, "┘": UP | LEFT, "┴": UP | LEFT | RIGHT,
}  # fmt: skip


def test_a_small_graph():
    assert (
        "\n".join(draw_lanes(picture_of(GRAPH)).lines)
        == """\
◇      chat     ./chat
│ ◇    math     ./math
│ │ ◇  base     hf:org/base
├─○─┤  blend    ties
○─┴─┘  steered  blend + t * (chat - base)
◆      out/0"""
    )


def followed(drawing: Drawing) -> set[tuple[str, str]]:
    """The lines that an eye finds: from every mark down its lane, at every joint along the row."""
    rows = {rect.y: box for box, rect in drawing.boxes.items()}
    found = set()
    for box, rect in drawing.boxes.items():
        x = next(i for i, char in enumerate(drawing.lines[rect.y]) if char in ALL)
        for y in range(rect.y + 1, len(drawing.lines)):
            char = drawing.lines[y][x : x + 1]
            if char in ALL:
                found.add((box, rows[y]))
                break
            if not ARMS.get(char, 0) & UP:
                break
            if char in "├┤•└┘┴":
                found.add((box, rows[y]))
            if not ARMS[char] & DOWN:
                break
    return found


def reaches_its_mark(drawing: Drawing, y: int, x: int) -> bool:
    """Whether a joint's row leads on to the mark of the row without a gap."""
    line = drawing.lines[y]
    mark = next(i for i, char in enumerate(line) if char in ALL)
    low, high = sorted((x, mark))
    return all(char in "─┼•┴" for char in line[low + 1 : high])


@settings(max_examples=200, deadline=None)
@given(pictures())
def test_every_line_can_be_followed_and_no_other_is_seen(shown):
    drawing = draw_lanes(shown)
    assert followed(drawing) == {(line.source, line.target) for line in shown.lines}
    for rect in drawing.boxes.values():
        for x, char in enumerate(drawing.lines[rect.y][: rect.x]):
            if char in "├┤•└┘┴":
                assert reaches_its_mark(drawing, rect.y, x)


@settings(max_examples=100, deadline=None)
@given(pictures())
def test_each_node_has_a_line_and_inputs_stand_above(shown):
    drawing = draw_lanes(shown)
    assert drawing.is_lanes
    assert sorted(rect.y for rect in drawing.boxes.values()) == list(range(len(shown.boxes)))
    for line in shown.lines:
        assert drawing.boxes[line.source].y < drawing.boxes[line.target].y
        runs = drawing.runs[line.source, line.target]
        ends = drawing.boxes[line.source].y, drawing.boxes[line.target].y
        assert (runs[0].y1, runs[-1].y2) == ends


def large(count: int) -> Picture:
    """Chains that take from far above, as long recipes have them."""
    boxes = [Box(f"n{i}", SOURCE, f"m{i}", f"./m{i}", None) for i in range(8)]
    lines = []
    for i in range(8, count - 1):
        boxes.append(Box(f"n{i}", OPERATOR, f"s{i}", "ties", None))
        lines += [Line(f"n{each}", f"n{i}") for each in sorted({i - 1, i % 8, i // 2})]
    boxes.append(Box("out", OUTPUT, None, "out/x", None))
    return Picture(tuple(boxes), (*lines, Line(f"n{count - 2}", "out")))


def test_two_hundred_nodes_are_drawn_in_no_time():
    shown = large(200)
    draw_lanes(shown)
    # The least of several: what a busy machine adds is not the drawing's.
    times = []
    for _ in range(20):
        start = time.process_time()
        draw_lanes(shown)
        times.append(time.process_time() - start)
    assert min(times) < 0.05
