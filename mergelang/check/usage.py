"""Which arms of a `match` name tensors, over all its uses; warnings about those that never do."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mergelang.check.places import all_places, atoms_of
from mergelang.check.report import Report
from mergelang.check.schedule import Arithmetic, Arms, matches
from mergelang.check.suggest import counted, nearest
from mergelang.lang import ast
from mergelang.ops.layout import several
from mergelang.tensors import Inventory, Layering


@dataclass
class _Seen:
    """An arm: whether any tensor matches it, whether it is ever the first to match, whether it
    always names layers that are not there, and where it leaves open which of several towers."""

    pattern: ast.Pattern
    matched: bool
    taken: bool
    beyond: bool
    inventory: Inventory
    several: ast.Layers | None = None


class Usage:
    """Collects the arms of schedules and model expressions wherever tensors are known."""

    def __init__(self) -> None:
        self._seen: dict[int, _Seen] = {}
        self._done: set[tuple[int, int]] = set()
        self._kept: list[Any] = []

    def look(self, schedule: Any, inventory: Inventory | None) -> None:
        """Takes in the arms of a schedule that is used over these tensors."""
        if inventory is None:
            return
        match schedule:
            case Arms(arms, default):
                self._look_at_arms(schedule, inventory)
                for _, value in arms:
                    self.look(value, inventory)
                self.look(default, inventory)
            case Arithmetic(_, left, right):
                self.look(left, inventory)
                self.look(right, inventory)

    def look_at_patterns(
        self, patterns: Sequence[ast.Pattern], hits: Sequence[int], inventory: Inventory,
    ) -> None:  # fmt: skip
        """Takes in the patterns of a model expression, with how many tensors each one got."""
        for pattern, count in zip(patterns, hits, strict=True):
            matched = count > 0
            if not matched:
                places = all_places(inventory)
                matched = any(matches(pattern, place) for place in places)
            self._note(pattern, matched, count > 0, inventory)

    def _look_at_arms(self, arms: Arms, inventory: Inventory) -> None:
        key = (id(arms), id(inventory))
        if key in self._done:
            return
        self._done.add(key)
        self._kept.append((arms, inventory))
        rest = all_places(inventory)
        everything = rest
        for pattern, _ in arms.arms:
            left = [place for place in rest if not matches(pattern, place)]
            taken = len(left) < len(rest)
            matched = taken or any(matches(pattern, place) for place in everything)
            self._note(pattern, matched, taken, inventory)
            rest = left

    def _note(
        self, pattern: ast.Pattern, matched: bool, taken: bool, inventory: Inventory
    ) -> None:
        if isinstance(pattern, ast.Anything):
            return
        seen = self._seen.setdefault(id(pattern), _Seen(pattern, False, False, True, inventory))
        seen.matched |= matched
        seen.taken |= taken
        # How many layers there are is not known of an adapter.
        seen.beyond &= not inventory.sparse and _beyond(pattern, inventory.layering)
        if seen.several is None and inventory.layering.others:
            seen.several = _unclear(pattern)

    def warn(self, report: Report) -> None:
        """Reports the arms that no tensor ever took."""
        for seen in self._seen.values():
            pattern, inventory = seen.pattern, seen.inventory
            text = pattern.span.text
            if seen.several is not None:
                layers, facts = seen.several, several(inventory.layering)
                words = f"layers({facts['module']}) {layers.range.span.text}"
                report.add("E2303", layers.span, text=layers.span.text, example=words, **facts)
                continue
            if seen.beyond:
                most = max((each.count for each in inventory.layering.towers), default=0)
                layers = counted(most, "layer")
                report.add("W0502", pattern.span, text=text, layers=layers)
                continue
            if seen.taken:
                continue
            if seen.matched:
                report.add("W0503", pattern.span, text=text)
                continue
            suggestion = None
            if isinstance(pattern, ast.Word):
                words = dict.fromkeys(part for name in inventory for part in name.split("."))
                suggestion = nearest(pattern.value, words)
            report.add(
                "W0501", pattern.span, text=text, suggestion=suggestion,
                example=next(iter(inventory), None) if suggestion is None else None,
            )  # fmt: skip


def _beyond(pattern: ast.Pattern, layering: Layering) -> bool:
    """Whether a pattern names layers that a model does not have."""
    match pattern:
        case ast.Layers(range, module):
            counts = [
                tower.count for tower in layering.towers
                if not module or f".{module}." in f".{tower.prefix}"
            ] or [0]  # fmt: skip
            return (range.low or 0) >= max(counts) or (range.high or 0) > max(counts)
        case ast.Not(operand):
            return _beyond(operand, layering)
        case ast.And(left, right) | ast.Or(left, right):
            return _beyond(left, layering) or _beyond(right, layering)
    return False


def _unclear(pattern: ast.Pattern) -> ast.Layers | None:
    """Where a pattern numbers layers without saying in which of several towers."""
    for atom in atoms_of(pattern):
        if isinstance(atom, ast.Layers) and atom.module is None:
            low, high = atom.range.low, atom.range.high
            if low or high is not None:
                return atom
    return None
