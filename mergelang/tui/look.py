"""A recipe looked at: everything that the pages show of it, made in one go on a thread. Pure.

What that needs is imported there.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from mergelang.errors import Diagnostic, MergelangError
from mergelang.source import Source

if TYPE_CHECKING:
    from mergelang.api import Recipe
    from mergelang.check.program import Program
    from mergelang.draw.graph_text import Drawing
    from mergelang.draw.picture import Picture
    from mergelang.graph.node import Graph
    from mergelang.plan.plan import Plan

MOST_BOXES = 40
"""From more nodes than that on, a graph is shown as lanes."""

AWAY = "W2220"
"""A source on the Hub cannot be reached: the recipe can be drawn, but not planned."""


@dataclass(frozen=True, eq=False)
class Seen:
    """A graph with its two drawings; boxes only where they are not too many to be drawn at once."""

    program: "Program"
    graph: "Graph"
    picture: "Picture"
    lanes: "Drawing"
    boxes: "Drawing | None"


@dataclass(frozen=True, eq=False)
class Look:
    """What was found in a text. `seen` is None where the text is wrong by itself, `plan` where the
    recipe cannot be planned; `unplanned` then says why, or the errors do."""

    source: Source
    settings: Mapping[str, str] = field(default_factory=dict)
    diagnostics: tuple[Diagnostic, ...] = ()
    seen: Seen | None = None
    plan: "Plan | None" = None
    unplanned: tuple[Diagnostic, ...] = ()

    @property
    def errors(self) -> tuple[Diagnostic, ...]:
        return tuple(each for each in self.diagnostics if each.is_error)


def look(
    source: Source, path: Path | None, folder: Path, settings: Mapping[str, str],
    notes: tuple[Diagnostic, ...] = (), *, allow_pickle: bool = False,
) -> Look:  # fmt: skip
    """Checks, draws and plans a recipe. `path` is its file, beside which its lock may lie."""
    from mergelang.api import Recipe, plan_of

    recipe = Recipe(source, folder, settings, notes, path, allow_pickle=allow_pickle)
    try:
        seen = _seen(recipe.check())
    except MergelangError as error:
        return Look(source, settings, error.diagnostics, _without_sources(recipe))
    found = seen.program.diagnostics
    if not seen.program.outputs:
        return Look(source, settings, found, seen)
    away = tuple(each for each in found if each.code == AWAY)
    if away:
        return Look(source, settings, found, seen, None, away)
    try:
        planned = plan_of(seen.graph)
        return Look(source, settings, planned.graph.program.diagnostics, seen, planned)
    except MergelangError as error:
        return Look(source, settings, found, seen, None, error.diagnostics)


def _seen(program: "Program") -> Seen:
    from mergelang.draw.graph_text import draw_picture
    from mergelang.draw.lanes import draw_lanes
    from mergelang.draw.picture import picture
    from mergelang.graph import build

    graph = build(program)
    shown = picture(graph)
    boxes = draw_picture(shown) if len(shown.boxes) <= 4 * MOST_BOXES else None
    return Seen(program, graph, shown, draw_lanes(shown), boxes)


def _without_sources(recipe: "Recipe") -> Seen | None:
    """The graph of a recipe that is right but for its models, which may not be there yet."""
    try:
        return _seen(recipe.check(sources=False))
    except MergelangError:
        return None
