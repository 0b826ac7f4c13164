"""A recipe looked at: everything that the pages show of it, made in one go on a thread. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mergelang.api import Recipe
from mergelang.check.program import Program
from mergelang.draw.graph_text import Drawing, draw_picture
from mergelang.draw.lanes import draw_lanes
from mergelang.draw.picture import Picture, picture
from mergelang.errors import Diagnostic, MergelangError
from mergelang.graph import build
from mergelang.graph.node import Graph
from mergelang.plan.plan import Plan, plan
from mergelang.plan.previous import with_previous
from mergelang.record.current import with_current
from mergelang.source import Source

MOST_BOXES = 40
"""From more nodes than that on, a graph is shown as lanes."""


@dataclass(frozen=True, eq=False)
class Seen:
    """A graph with its two drawings; boxes only where they are not too many to be drawn at once."""

    program: Program
    graph: Graph
    picture: Picture
    lanes: Drawing
    boxes: Drawing | None


@dataclass(frozen=True, eq=False)
class Look:
    """What was found in a text. `seen` is None where the recipe is wrong, `plan` where it cannot
    be planned; `unplanned` then says why."""

    source: Source
    settings: Mapping[str, str] = field(default_factory=dict)
    diagnostics: tuple[Diagnostic, ...] = ()
    seen: Seen | None = None
    plan: Plan | None = None
    unplanned: tuple[Diagnostic, ...] = ()

    @property
    def errors(self) -> tuple[Diagnostic, ...]:
        return tuple(each for each in self.diagnostics if each.is_error)


def look(
    source: Source, folder: Path, settings: Mapping[str, str],
    notes: tuple[Diagnostic, ...] = (),
) -> Look:  # fmt: skip
    """Checks, draws and plans a recipe."""
    recipe = Recipe(source, folder, settings, notes)
    try:
        program = recipe.check()
        graph = build(program)
    except MergelangError as error:
        return Look(source, settings, error.diagnostics)
    shown = picture(graph)
    boxes = draw_picture(shown) if len(shown.boxes) <= 4 * MOST_BOXES else None
    seen = Seen(program, graph, shown, draw_lanes(shown), boxes)
    found = program.diagnostics
    if not program.outputs:
        return Look(source, settings, found, seen)
    try:
        planned = with_current(with_previous(plan(graph)))
        return Look(source, settings, found, seen, planned)
    except MergelangError as error:
        return Look(source, settings, found, seen, None, error.diagnostics)
