"""Where to look at a schedule, so that all of its numbers are seen.

At the real tensors when they are known: one for each way in which the schedule can tell them apart.
Else at made-up ones that take each arm and each point of a curve.
"""

from collections.abc import Iterator
from fnmatch import fnmatchcase
from itertools import islice
from math import lcm
from weakref import WeakKeyDictionary

from mergelang.check.schedule import Arithmetic, Arms, Constant, Curve, Schedule
from mergelang.lang import ast
from mergelang.tensors import Inventory, Place

MOST_LAYERS = 240
"""How finely curves are looked at when the number of layers is not known."""

_places: WeakKeyDictionary[Inventory, list[Place]] = WeakKeyDictionary()
_apart: WeakKeyDictionary[Inventory, dict[frozenset, list[Place]]] = WeakKeyDictionary()


def all_places(inventory: Inventory) -> list[Place]:
    """The places of all tensors, made once for each inventory."""
    found = _places.get(inventory)
    if found is None:
        found = _places[inventory] = list(map(inventory.place, inventory))
    return found


def places(schedule: Schedule, inventory: Inventory | None) -> list[Place]:
    """Places enough to see every number that the schedule takes."""
    if inventory is None:
        return _made_up(schedule)
    if isinstance(schedule, Constant):
        return [inventory.place(name) for name in islice(inventory, 1)]
    atoms = frozenset(
        atom
        for part in parts(schedule)
        if isinstance(part, Arms)
        for pattern, _ in part.arms
        for atom in atoms_of(pattern)
        if isinstance(atom, ast.Word | ast.Glob)
    )
    known = _apart.setdefault(inventory, {})
    if atoms not in known:
        known[atoms] = _told_apart(all_places(inventory), atoms)
    return known[atoms]


def _told_apart(all: list[Place], atoms: frozenset[ast.Word | ast.Glob]) -> list[Place]:
    """One place for each layer, set of roles, and set of words and globs that name it."""
    words = frozenset(atom.value for atom in atoms if isinstance(atom, ast.Word))
    globs = [atom.value for atom in atoms if isinstance(atom, ast.Glob)]
    found: dict[tuple, Place] = {}
    for place in all:
        named = words.intersection(place.name.split(".")) if words else words
        globbed = tuple(fnmatchcase(place.name, glob) for glob in globs)
        found.setdefault((place.tower, place.layer, place.roles, named, globbed), place)
    return list(found.values())


def _made_up(schedule: Schedule) -> list[Place]:
    steps, groups, bounds = set(), {(): None}, {0, 1}
    for part in parts(schedule):
        if isinstance(part, Curve):
            steps.add(max(1, len(part.points) - 1))
        elif isinstance(part, Arms):
            for pattern, _ in part.arms:
                for atom in atoms_of(pattern):
                    if isinstance(atom, ast.Layers):
                        bounds |= {atom.range.low or 0, atom.range.high or 0}
                        groups[(atom,) if atom.module else ()] = None
                    else:
                        groups[(atom,)] = None
                groups[_together(pattern)] = None
    # Twice the points, so that products of curves are seen between them too.
    last = 2 * lcm(*steps)
    last = min(last, MOST_LAYERS)
    while last < max(bounds) + 1:
        last *= 2
    inside = range(last + 1) if steps else sorted(b for b in bounds if b <= last)
    layers = [None, *inside]
    return [_place(atoms, layer, last + 1) for atoms in groups for layer in layers]


def _place(atoms: tuple[ast.Pattern, ...], layer: int | None, layers: int) -> Place:
    """A tensor that all of these words, or the first of these globs, and these roles name."""
    words = [atom.value for atom in atoms if isinstance(atom, ast.Word)]
    globs = [atom.value for atom in atoms if isinstance(atom, ast.Glob)]
    roles = frozenset(atom.value for atom in atoms if isinstance(atom, ast.Role))
    name = ".".join(["model", *words, "weight"])
    if globs:
        name = globs[0].replace("*", "x").replace("?", "x")
    modules = [atom.module for atom in atoms if isinstance(atom, ast.Layers) and atom.module]
    return Place(name, layer, layers, roles, f"{modules[0]}." if modules else "")


def parts(schedule: Schedule) -> Iterator[Schedule]:
    """A schedule and all schedules in it."""
    yield schedule
    match schedule:
        case Arms(arms, default):
            for _, value in arms:
                yield from parts(value)
            if default is not None:
                yield from parts(default)
        case Arithmetic(_, left, right):
            yield from parts(left)
            yield from parts(right)


def _together(pattern: ast.Pattern) -> tuple[ast.Pattern, ...]:
    """What has to hold of a tensor for a pattern of `&` to match it."""
    match pattern:
        case ast.And(left, right):
            return (*_together(left), *_together(right))
        case ast.Or(left, _):
            return _together(left)
        case ast.Word() | ast.Glob() | ast.Role():
            return (pattern,)
        case ast.Layers(module=str()):
            return (pattern,)
    return ()


def atoms_of(pattern: ast.Pattern) -> Iterator[ast.Pattern]:
    """The patterns of which one is made with `!`, `&` and `|`."""
    match pattern:
        case ast.Not(operand):
            yield from atoms_of(operand)
        case ast.And(left, right) | ast.Or(left, right):
            yield from atoms_of(left)
            yield from atoms_of(right)
        case ast.Anything():
            pass
        case _:
            yield pattern
