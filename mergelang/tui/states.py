"""The state of each node of a graph: it follows from that of the outputs. Pure."""

from collections.abc import Mapping

from mergelang.draw.picture import OUTPUT, SOURCE, Picture
from mergelang.plan.plan import Plan
from mergelang.tui.progress import CACHED, DONE, FAILED, PENDING, RUNNING, RunState


def output_states(plan: Plan | None, run: RunState | None) -> dict[str, str]:
    """The state of each output: what a run has made of it, else whether it lies there already."""
    states = {
        each.destination.text: CACHED if each.current else PENDING
        for each in (plan.outputs if plan else ())
    }  # fmt: skip
    return states | {name: each.state for name, each in (run.outputs if run else {}).items()}


def box_states(picture: Picture, outputs: Mapping[str, str]) -> dict[str, str]:
    """The state of each box: that of the outputs that are made from it. A source has none of its
    own: it is there from the beginning."""
    used: dict[str, set[str]] = {box.id: set() for box in picture.boxes}
    for box in picture.boxes:
        if box.kind == OUTPUT and box.target.text in outputs:
            used[box.id].add(outputs[box.target.text])
    # Lines stand in the order of their targets, inputs first: backwards, users come first.
    for line in reversed(picture.lines):
        used[line.source] |= used[line.target]
    sources = {box.id for box in picture.boxes if box.kind == SOURCE}
    return {id: _joint(states) for id, states in used.items() if id not in sources}


def _joint(states: set[str]) -> str:
    for each in (FAILED, RUNNING):
        if each in states:
            return each
    if DONE in states:
        return RUNNING if PENDING in states else DONE
    return CACHED if states == {CACHED} else PENDING
