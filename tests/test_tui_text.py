"""What the view says: boxes of a graph, the state of a run. Pure text, no terminal."""

import re
from dataclasses import replace

from rich.cells import cell_len

from mergelang.check.schedule import ONE
from mergelang.draw.picture import picture
from mergelang.graph import build
from mergelang.run import events
from mergelang.source import Source, Span
from mergelang.tensors import Inventory, Layering, TensorType
from mergelang.tui.details import details
from mergelang.tui.progress import DONE, PENDING, RunState, after, clock, progress_text
from mergelang.tui.run_page import nodes_text
from mergelang.tui.states import box_states, output_states
from tests.terms import add, program, scale, source, with_base


def span(text: str) -> Span:
    return Span(Source("demo.merge", text), 0, len(text))


TENSORS = Inventory(
    {f"model.layers.{i}.mlp.up_proj.weight": TensorType("BF16", (8, 8)) for i in range(4)},
    Layering("model.layers.", 4),
)
BASE, CHAT, MATH = (
    replace(source(f"./{name}"), span=span(f'"./{name}"'), inventory=TENSORS)
    for name in ("base", "chat", "math")
)
BLEND = replace(
    with_base("ties", CHAT, MATH, base=BASE, weight=(ONE, ONE), density=(ONE, ONE)),
    span=span("ties(\n  chat,\n  math,\n  base: base,\n)"), inventory=TENSORS, donor=BASE,
)  # fmt: skip
SOUP = replace(
    add(scale("0.6", CHAT), scale("0.4", MATH)),
    span=span("0.6 * chat + 0.4 * math"), inventory=TENSORS, donor=CHAT,
)  # fmt: skip
PROGRAM = program(BLEND, SOUP, base=BASE, chat=CHAT, math=MATH, blend=BLEND, soup=SOUP)
BOXES = {(box.name or box.text): box for box in picture(build(PROGRAM)).boxes}


# What is said about a box


def about(name: str, run: RunState | None = None) -> str:
    return str(details(BOXES[name], picture(build(PROGRAM)), PROGRAM, run))


def test_details_of_a_sum():
    assert (
        about("soup")
        == """\
soup  a sum of models and task vectors
0.6 * chat + 0.4 * math
from         chat (0.6), math (0.4)
mass         1, a model
tensors      4, 512 B, BF16
layers       4
config from  chat
"""
    )


def test_details_of_a_call_with_a_base():
    shown = about("blend")
    assert shown.startswith("blend  ties: ")
    assert (
        shown.split("\n", 1)[1]
        == """\
ties(
  chat,
  math,
  base: base,
)
density      1
weight       1
from         chat, math, base (base)
mass         1, a model
tensors      4, 512 B, BF16
layers       4
config from  base
"""
    )


def test_the_derivation_key_is_told_or_why_there_is_none():
    for name in ("blend", "out/0"):
        known = details(BOXES[name], picture(build(PROGRAM)), PROGRAM, key="3f2a")
        assert re.search(r"^derivation +3f2a$", str(known), re.M)
        unknown = details(BOXES[name], picture(build(PROGRAM)), PROGRAM, key="")
        assert re.search(r"^derivation +no key until its sources", str(unknown), re.M)


def test_details_of_an_output():
    assert (
        about("out/0")
        == """\
out/0  an output
folder   /out/0
shards   5 GB
tensors  4
"""
    )


# Progress


def test_the_state_of_a_run_follows_from_its_events():
    state = RunState()
    for event in (
        events.RunStarted(("a", "b"), 3, 300, 100, 1),
        events.OutputStarted("a", "/a", 2, 60),
        events.TensorDone("a", "t", "copy", 30, 1, ""),
        events.Progress(70, 30, 2.0, 5),
    ):
        state = after(state, event)
    assert (state.phase, state.share, state.seconds) == ("running", 0.25, 2.0)
    assert (state.outputs["a"].done, state.outputs["a"].tensors) == (1, 2)
    assert str(progress_text(state))[24:] == "   25%  100 B of 400 B  50 B/s  0:06 left"
    stopped = after(state, events.RunFailed("E0906", "the run was cancelled"))
    assert (stopped.phase, stopped.outputs["a"].state) == ("cancelled", "failed")
    assert stopped.outputs["b"].state == "pending"


def test_what_comes_before_the_first_tensor_is_told():
    state = after(RunState(), events.FetchStarted(2, 400))
    state = after(state, events.Fetching("hf:org/name", "model.safetensors", 100, 2.0))
    assert str(progress_text(state))[24:] == (
        "   25%  100 B of 400 B  50 B/s  0:06 left\nfetching model.safetensors"
    )
    state = after(state, events.FetchDone(400, 8.0))
    assert str(progress_text(state)) == "starting"
    state = after(state, events.RunStarted(("a",), 3, 300, 100, 1))
    state = after(state, events.Preparing("the gates of out/a"))
    assert str(progress_text(state)).endswith("\npreparing the gates of out/a")
    state = after(state, events.OutputStarted("a", "/a", 2, 60))
    assert "preparing" not in str(progress_text(state))


def test_a_box_of_two_outputs_is_running_until_both_are_done():
    shown = picture(build(PROGRAM))
    state = after(RunState(), events.RunStarted(("out/0", "out/1"), 1, 1, 1, 1))
    state = after(state, events.OutputStarted("out/0", "", 1, 1))
    state = after(state, events.OutputDone("out/0", "", 1, 1.0))
    states = box_states(shown, output_states(None, state))
    assert states[BOXES["blend"].id] == "done"
    assert BOXES["chat"].id not in states, "a source is there from the beginning"
    assert states[BOXES["soup"].id] == "pending"


def test_the_bar_fits_eighty_columns():
    state = after(RunState(), events.RunStarted(("a",), 3, 123 * 10**9, 456 * 10**9, 1))
    state = after(state, events.Progress(12 * 10**9, 321 * 10**9, 4000.0, 5))
    assert len(progress_text(state)) <= 78
    state = after(state, events.RunDone(123 * 10**9, 456 * 10**9, 12345.6, 999 * 10**6))
    assert len(progress_text(state)) <= 78


def test_times_are_written_as_on_a_clock():
    assert [clock(s) for s in (7, 750, 3725)] == ["0:07", "12:30", "1:02:05"]


def test_bars_of_nodes_begin_in_one_column_whatever_their_names_are_made_of():
    rows = [("out/混合", DONE, 1.0, "21 of 21"), ("plain", PENDING, 0.0, "0 of 21")]
    lines = nodes_text(rows, 50).plain.splitlines()
    assert lines[0].startswith("✓ out/混合  ") and lines[1].startswith("· plain     ")
    assert [cell_len(line) for line in lines] == [42, 42]
    long = [("out/" + "混合" * 10, DONE, 1.0, "1 of 1"), ("plain", DONE, 1.0, "1 of 1")]
    assert [cell_len(line) for line in nodes_text(long, 40).plain.splitlines()] == [40, 40]
