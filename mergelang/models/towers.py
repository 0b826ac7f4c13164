"""Where a model's layers are: its numbered towers, and what the config says of each.

Found from the names of tensors (`model.layers.3.`, `vision_tower.encoder.layers.3.`) and from the
numbers in the config, nested or not. Knows no architecture by name.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any

from mergelang.tensors import Layering

_NUMBERED = re.compile(r"\.(\d+)\.")
_NUMBER = re.compile(r"\.\d+(?=\.)")

STATES = re.compile(
    r"(?:(?:n|num)_)?(?:(?:hidden|encoder|decoder|text|vision|audio)_)*(?:layers?|blocks?)|depth"
)
"""Keys of a config that say how many layers there are."""

MODES = {
    "text": {"text", "language", "llm"},
    "vision": {"vision", "visual", "vit", "image"},
    "audio": {"audio", "speech"},
}
"""What parts of a model are for, by the words in names of tensors and in sections of a config."""

SIDES = {"encoder", "decoder"}

SPARE = "num_nextn_predict_layers"
"""The key that says how many layers there are beyond those that are counted."""

FEWEST = 3
"""Layers of a tower that no config speaks of."""


@lru_cache(maxsize=8)
def alike(names: tuple[str, ...]) -> Mapping[str, str]:
    """For each name what it has in common with those that differ from it in numbers alone: the name
    with 0 for all of them. Kept, since the models of one recipe mostly have the same names."""
    return {name: _NUMBER.sub(".0", name) for name in names}


def layering_of(names: Iterable[str], config: Mapping[str, Any] | None = None) -> Layering:
    """How the layers of these tensors are numbered: the first number in a name counts them.

    A tower is a prefix with the numbers 0, 1, 2, ... that the config states, or one of several
    layers of several parts. The first is the one for text, if it can be told, else the largest.
    """
    config = config or {}
    stated = tuple(
        (path, value_at(config, path), value_at(config, (*path[:-1], SPARE)) or 0)
        for path in statements(config)
    )
    return _layering(tuple(names), stated)


Statement = tuple[tuple[str, ...], int, int]
"""Keys of a config, the number of layers under them, and how many there are beyond those."""


@lru_cache(maxsize=8)
def _layering(names: tuple[str, ...], stated: tuple[Statement, ...]) -> Layering:
    """Kept, since the models of one recipe mostly have the same names."""
    parts: dict[str, dict[int, set[str]]] = {}
    for name in names:
        before, *found = _NUMBERED.split(name, 1)
        if found:
            number, rest = found
            layers = parts.setdefault(f"{before}.", {})
            layers.setdefault(int(number), set()).add(rest)
    whole = {prefix: layers for prefix, layers in parts.items() if max(layers) + 1 == len(layers)}
    deep = {
        prefix: layers for prefix, layers in whole.items()
        if any("." in rest for rests in layers.values() for rest in rests)
    }  # fmt: skip
    towers = [_tower(each, layers, stated) for each, layers in (deep or whole).items()]
    sure = [each for each in towers if each.stated or each.count >= FEWEST]
    towers = sorted(sure or towers, key=lambda each: _rank(each, parts[each.prefix]))
    if not towers:
        return Layering()
    if not sure:
        towers = towers[:1]
    first, *others = map(_own_key, towers, [towers] * len(towers))
    return replace(first, others=tuple(others))


def statements(config: Mapping[str, Any], above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The keys, from the outermost, under which a config states a number of layers."""
    for key, value in config.items():
        if isinstance(value, Mapping) and len(above) < 4:
            yield from statements(value, (*above, key))
        elif type(value) is int and value > 0 and STATES.fullmatch(key):
            yield (*above, key)


def mode_of(text: str) -> str | None:
    """What a part of a model is for, by the words of a name: `text`, `vision`, `audio`, unknown."""
    words = set(re.split(r"[._]", text))
    return next((mode for mode, known in MODES.items() if words & known), None)


def value_at(config: Mapping[str, Any], path: Iterable[str]) -> Any:
    """What stands in a config under nested keys; None where nothing does."""
    found: Any = config
    for key in path:
        found = found.get(key) if isinstance(found, Mapping) else None
    return found


def _tower(
    prefix: str, layers: Mapping[int, set[str]], stated: tuple[Statement, ...]
) -> Layering:
    count = len(layers)
    first, rest = layers[0], [layers[number] for number in range(1, count)]
    usual = set().union(*rest)
    alone = frozenset(first - usual) if rest and usual < first else frozenset()
    best: tuple[int, tuple[str, ...], int] | None = None
    for path, value, spare in stated:
        score = _affinity(prefix, path, stated) if count in (value, value + spare) else None
        if score is not None and (best is None or score > best[0]):
            best = (score, path, value)
    # Layers beyond those that the config counts predict further tokens; they are none of these.
    path, count = ((), count) if best is None else best[1:]
    return Layering(prefix, count, path, alone=alone)


def _affinity(
    prefix: str, path: tuple[str, ...], stated: tuple[Statement, ...]
) -> int | None:
    """How well a key of the config goes with a prefix; None if not at all."""
    mode, wanted = mode_of(prefix), mode_of(".".join(path))
    words = set(re.split(r"[._]", prefix))
    sides = SIDES & set(re.split(r"[._]", ".".join(path)))
    if not sides <= words:
        return None
    score = 2 * len(sides) - len(path) + 8
    if wanted == mode:
        return score + 4
    if wanted is None:
        # A section of its own would say it.
        others = any(mode_of(".".join(each)) == mode for each, _, _ in stated)
        return None if others else score
    return score if mode is None and wanted == "text" else None


def _rank(tower: Layering, layers: Mapping[int, set[str]]) -> tuple[bool, bool, int]:
    """Text first, then what the config states, then by the number of tensors."""
    tensors = sum(map(len, layers.values()))
    return mode_of(tower.prefix) not in (None, "text"), not tower.stated, -tensors


def _own_key(tower: Layering, towers: list[Layering]) -> Layering:
    """The tower with a key of its own, where an encoder and its decoder share one."""
    shared = any(each is not tower and each.stated == tower.stated for each in towers)
    if not tower.stated or not shared or "decoder" not in tower.prefix:
        return tower
    return replace(tower, stated=(*tower.stated[:-1], "num_decoder_layers"))
