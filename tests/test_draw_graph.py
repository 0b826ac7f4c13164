"""Drawings of a graph, to the letter; and that every line in one can be followed."""

from dataclasses import replace
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as some

from mergelang.check.schedule import ONE, Arms, Constant, Curve
from mergelang.draw.dot import dot
from mergelang.draw.graph_json import graph_json
from mergelang.draw.graph_text import DOWN, LEFT, RIGHT, UP, Drawing, draw, draw_picture
from mergelang.draw.mermaid import mermaid
from mergelang.draw.picture import OPERATOR, OUTPUT, SOURCE, Box, Line, Picture, picture
from mergelang.draw.words import (
    option_text,
    path_shortened,
    plain_text,
    schedule_text,
    shortened,
)
from mergelang.graph.build import build
from mergelang.lang import ast
from mergelang.source import Source, Span
from tests.terms import SPAN, add, call, program, scale, source, sub, with_base


def written(term, text: str):
    return replace(term, span=span(text))


def span(text: str) -> Span:
    return Span(Source("test.merge", text), 0, len(text))


BASE, CHAT, MATH = source("hf:org/base"), source("./chat"), source("./math")
BLEND = written(
    with_base("ties", CHAT, MATH, base=BASE, weight=(ONE, ONE), density=(ONE, ONE)),
    "ties(chat { weight: 1 }, math { weight: 1 }, base: base)",
)
STEERED = written(add(BLEND, scale("0.4", sub(CHAT, BASE))), "blend + t * (chat - base)")
GRAPH = build(program(STEERED, base=BASE, chat=CHAT, math=MATH, blend=BLEND, steered=STEERED))


def text(graph) -> str:
    return "\n".join(draw(graph).lines) + "\n"


def test_a_small_graph_is_drawn_with_boxes_and_lines():
    assert (
        text(GRAPH)
        == """\
┌─────────────┐  ┌────────┐  ┌────────┐
│    base     │  │  math  │  │  chat  │
│ hf:org/base │  │ ./math │  │ ./chat │
└──────┬──────┘  └────┬───┘  └────┬───┘
       └────┬─────┐   │ ┌─────┬───┘
            │   ┌─▼───▼─▼─┐   │
            │   │  blend  │   │
            │   │  ties   │   │
            │   └────┬────┘   │
            │        │        │
       ┌────▼────────▼────────▼────┐
       │          steered          │
       │ blend + t * (chat - base) │
       └─────────────┬─────────────┘
                     │
                 ┏━━━▼━━━┓
                 ┃ out/0 ┃
                 ┗━━━━━━━┛
"""
    )


def test_mermaid():
    assert (
        mermaid(GRAPH)
        == """\
flowchart TD
  n1["base<br/>hf:org/base"]
  n2["chat<br/>./chat"]
  n3["math<br/>./math"]
  n4("blend<br/>ties")
  n5("steered<br/>blend + t * (chat - base)")
  n6[["out/0"]]
  n2 --> n4
  n3 --> n4
  n1 -->|"base"| n4
  n4 --> n5
  n2 -->|"0.4"| n5
  n1 -->|"-0.4"| n5
  n5 --> n6
"""
    )


def test_mermaid_takes_names_that_it_would_read_as_its_own():
    odd = build(program(written(call("mean", CHAT), 'mean(x["#a"] <b> & c)')))
    assert '  n2("mean(x[#quot;#35;a#quot;] #lt;b#gt; #amp; c)")' in mermaid(odd).splitlines()


def test_dot():
    assert (
        dot(GRAPH)
        == r"""
digraph recipe {
  node [shape=box, style=rounded, fontname="monospace"];
  n1 [label="base\nhf:org/base", style="", shape=box];
  n2 [label="chat\n./chat", style="", shape=box];
  n3 [label="math\n./math", style="", shape=box];
  n4 [label="blend\nties"];
  n5 [label="steered\nblend + t * (chat - base)"];
  n6 [label="out/0", style="", shape=box, penwidth=2];
  n2 -> n4;
  n3 -> n4;
  n1 -> n4 [label="base"];
  n4 -> n5;
  n2 -> n5 [label="0.4"];
  n1 -> n5 [label="-0.4"];
  n5 -> n6;
}
""".lstrip("\n")
    )


def test_json():
    drawn = graph_json(GRAPH)
    assert drawn["nodes"][0] == {
        "id": "n1", "kind": "source", "name": "base", "op": "source", "text": "test",
        "mass": "1", "options": {"source": "hf:org/base"},
    }  # fmt: skip
    assert drawn["nodes"][3] == {
        "id": "n4", "kind": "operator", "name": "blend", "op": "ties",
        "text": "ties(chat { weight: 1 }, math { weight: 1 }, base: base)",
        "mass": "1", "options": {"density": "1", "weight": "1"},
    }  # fmt: skip
    assert drawn["nodes"][5] == {
        "id": "n6",
        "kind": "output",
        "name": None,
        "text": "out/0",
        "path": "/out/0",
    }
    assert drawn["edges"][2] == {"source": "n1", "target": "n4", "label": "base"}
    assert drawn["edges"][6] == {"source": "n5", "target": "n6", "label": ""}
    assert (len(drawn["nodes"]), len(drawn["edges"])) == (6, 7)


def test_the_same_graph_is_drawn_the_same_whatever_was_drawn_before():
    assert draw(GRAPH).lines == draw(build(GRAPH.program)).lines


# What becomes a box


def names(shown: Picture) -> list[str]:
    return [" | ".join(box.lines) for box in shown.boxes]


def test_the_steps_of_a_sum_are_one_box_unless_they_have_a_name():
    half = written(scale("0.5", CHAT), "0.5 * chat")
    soup = written(add(half, scale("0.5", MATH)), "0.5 * chat + 0.5 * math")
    assert names(picture(build(program(soup, soup=soup)))) == [
        "./chat", "./math", "soup | 0.5 * chat + 0.5 * math", "out/0",
    ]  # fmt: skip
    assert names(picture(build(program(soup, half=half, soup=soup)))) == [
        "./chat", "half | 0.5 * chat", "./math", "soup | 0.5 * chat + 0.5 * math", "out/0",
    ]  # fmt: skip


def test_a_delta_with_a_name_is_a_box_of_its_own():
    delta = BLEND.inputs[1]
    assert "delta | test" in names(picture(build(program(BLEND, delta=delta, blend=BLEND))))


def test_named_expressions_that_no_output_uses_are_drawn_too():
    assert names(picture(build(program(base=BASE, chat=CHAT)))) == [
        "base | hf:org/base", "chat | ./chat",
    ]  # fmt: skip


def test_nothing_is_drawn_of_nothing():
    assert draw(build(program())).lines == ()


def test_a_model_used_twice_by_one_call_has_one_line():
    shown = picture(build(program(call("mean", CHAT, CHAT))))
    assert [(line.source, line.target) for line in shown.lines] == [("n1", "n2"), ("n2", "n3")]


# Words


def test_schedules_are_written_as_in_a_recipe():
    curve = Curve((Constant(0).value, Constant(1).value))
    arms = Arms(((ast.Not(ast.Role("norm", span=SPAN), span=SPAN), curve),), ONE)
    assert schedule_text(arms) == "match { !@norm => curve(0, 1), _ => 1 }"
    assert option_text((ONE, ONE)) == "1"
    assert option_text((ONE, curve)) == "1, curve(0, 1)"
    assert option_text(True) == "true"


def test_text_on_one_line_loses_comments_and_line_breaks_but_no_hash_in_a_string():
    assert plain_text(span('ties(  # the best\n  a,\n  "#1",\n)')) == 'ties(a, "#1")'


def test_of_a_long_folder_the_end_is_kept_and_of_a_hub_model_the_beginning():
    assert path_shortened("./models/experiments/seven", 12) == "…ments/seven"
    assert path_shortened("hf:mistralai/Mistral-7B", 12) == "hf:mistrala…"


def test_a_text_is_cut_by_the_columns_that_it_takes():
    assert shortened("混合模型", 8) == "混合模型"
    assert shortened("混合模型", 7) == "混合模…"
    assert shortened("混合模型", 6) == "混合…"
    assert shortened("a混合", 4) == "a混…" and shortened("ab混合", 4) == "ab…"
    assert path_shortened("./混合/模型", 7) == "…/模型"
    assert path_shortened("./混合/模型", 5) == "…模型"
    assert path_shortened("./混合/模型", 4) == "…型"


def test_wide_characters_take_two_columns():
    wide = draw_picture(Picture((Box("n1", SOURCE, None, "模型", None),), ()))
    assert wide.lines == ("┌──────┐", "│ 模型 │", "└──────┘")


# Lines can be followed

ARMS = {
    "│": UP | DOWN, "─": LEFT | RIGHT, "┘": UP | LEFT, "└": UP | RIGHT, "┐": DOWN | LEFT,
    "┌": DOWN | RIGHT, "┤": UP | DOWN | LEFT, "├": UP | DOWN | RIGHT, "┴": LEFT | RIGHT | UP,
    "┬": LEFT | RIGHT | DOWN, "┼": UP | DOWN | LEFT | RIGHT,
}  # fmt: skip
STEPS = {UP: (0, -1, DOWN), DOWN: (0, 1, UP), LEFT: (-1, 0, RIGHT), RIGHT: (1, 0, LEFT)}


def followed(drawing: Drawing) -> set[tuple[str, str]]:
    """The lines that an eye finds: from every exit along the arms, straight over crossings."""
    found = set()
    for box, rect in drawing.boxes.items():
        bottom = rect.y + rect.height - 1
        row = drawing.lines[bottom][rect.x : rect.x + rect.width]
        todo = [(rect.x + x, bottom + 1, UP) for x, char in enumerate(row) if char in "┬┳"]
        seen = set(todo)
        while todo:
            x, y, coming = todo.pop()
            char = drawing.lines[y][x]
            if char == "▼":
                assert coming == UP
                found.add((box, drawing.at(x, y)))
                continue
            arms = ARMS[char]
            assert arms & coming, f"a line breaks off at {x}, {y}"
            for arm, (dx, dy, entering) in STEPS.items():
                straight = arm == {UP: DOWN, DOWN: UP, LEFT: RIGHT, RIGHT: LEFT}[coming]
                if arms & arm and arm != coming and (char != "┼" or straight):
                    step = (x + dx, y + dy, entering)
                    if step not in seen:
                        seen.add(step)
                        todo.append(step)
    return found


@some.composite
def pictures(draw) -> Picture:
    count = draw(some.integers(1, 16))
    boxes, lines = [], []
    for i in range(count):
        above = draw(some.lists(some.integers(0, i - 1), max_size=5, unique=True)) if i else []
        width = draw(some.integers(1, 24))
        kind = SOURCE if not above else draw(some.sampled_from([OPERATOR, OUTPUT]))
        boxes.append(Box(f"n{i}", kind, draw(some.sampled_from([None, "name"])), "x" * width, None))
        lines += [Line(f"n{each}", f"n{i}") for each in above]
    return Picture(tuple(boxes), tuple(lines))


@settings(max_examples=200, deadline=None)
@given(pictures())
def test_every_line_can_be_followed_and_no_other_is_seen(shown):
    drawing = draw_picture(shown)
    assert followed(drawing) == {(line.source, line.target) for line in shown.lines}


@settings(max_examples=100, deadline=None)
@given(pictures())
def test_boxes_stand_apart_and_inputs_above_what_uses_them(shown):
    drawing = draw_picture(shown)
    rects = list(drawing.boxes.values())
    for i, one in enumerate(rects):
        for other in rects[i + 1 :]:
            apart = (
                one.x + one.width < other.x or other.x + other.width < one.x
                or one.y + one.height < other.y or other.y + other.height < one.y
            )  # fmt: skip
            assert apart
    for line in shown.lines:
        upper, lower = drawing.boxes[line.source], drawing.boxes[line.target]
        assert upper.y + upper.height <= lower.y
        runs = drawing.runs[line.source, line.target]
        assert upper.holds(runs[0].x1, runs[0].y1) and lower.holds(runs[-1].x2, runs[-1].y2)
        assert all(a[2:] == b[:2] for a, b in pairwise(runs))
