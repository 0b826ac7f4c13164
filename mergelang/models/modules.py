"""The modules of a model: parts that are models themselves, by the names of their tensors.

`vlm.language_model` is the text model inside a vision-language one, under the names that it would
have alone; `t5.encoder` is half of a model, which has no config of its own.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from mergelang.models.towers import MODES, mode_of
from mergelang.tensors import Layering

HEAD = "lm_head."

ROLES = ("language_model", "vision_tower", "audio_tower")
"""Words that name what plays that part, whatever it is called; so do others like them."""

_PARTS = frozenset({"model", "tower", "encoder", "decoder", "backbone"})


@dataclass(frozen=True)
class Module:
    """A part of a model: its tensors by the names they have in it, and where its config stands.

    `section` is the key of the whole's config, None where it has none for this part.
    """

    word: str
    tensors: Mapping[str, str]
    section: str | None


def find_module(
    names: Iterable[str], layering: Layering, config: Mapping[str, Any], word: str
) -> Module | None:
    """The module that a word names: one component of tensors' names, outside the layers.

    `language_model`, `text_model`, `vision_tower` and the like also name what plays their part.
    None where there is no such part.
    """
    role = _role(word)
    names = list(names)
    outside = _outer_parts(names, layering)
    section = _section(config, word)
    prefix = _prefix(outside, word)
    if prefix is not None:
        if role == "text" and "." in prefix[:-1]:
            return Module(word, _as_a_model(names, prefix), section)
        return Module(word, _below(names, prefix), section)
    if role is None:
        return None
    known = {
        name: next((part for part in parts if mode_of(part) == role), None)
        for name, parts in outside.items()
    }
    prefixes = {
        name[: name.index(f"{part}.") + len(part) + 1] for name, part in known.items() if part
    }
    if len(prefixes) == 1:
        return Module(word, _below(names, prefixes.pop()), section)
    others = [name for name, parts in outside.items() if any(map(_of_another_kind, parts))]
    if role != "text" or not others:
        return None
    kept = set(names) - set(others)
    return Module(word, {name: name for name in names if name in kept}, section)


def module_words(names: Iterable[str], layering: Layering) -> list[str]:
    """The words that name modules of more than one tensor, outermost first."""
    outside = _outer_parts(names, layering)
    depths: dict[str, int] = {}
    for parts in outside.values():
        for depth, part in enumerate(parts):
            depths[part] = min(depth, depths.get(part, depth))
    prefixes = {word: _prefix(outside, word) for word in sorted(depths, key=lambda w: depths[w])}
    return [
        word for word, prefix in prefixes.items()
        if prefix and sum(name.startswith(prefix) for name in outside) > 2
    ]  # fmt: skip


def _outer_parts(names: Iterable[str], layering: Layering) -> dict[str, list[str]]:
    """For each tensor the components of its name that hold others, above the layers."""
    found = {}
    for name in names:
        tower = layering.tower(name)
        above = name if tower is None else tower.prefix + "x"
        found[name] = above.split(".")[:-1]
    return found


def _prefix(outside: Mapping[str, list[str]], word: str) -> str | None:
    """What stands before the names of a module with exactly this name; None if there is none, or
    more than one."""
    prefixes = {
        ".".join(parts[: parts.index(word) + 1]) + "."
        for parts in outside.values()
        if word in parts
    }
    shallow = {each for each in prefixes if each.count(".") == 1}
    chosen = shallow or prefixes
    return chosen.pop() if len(chosen) == 1 else None


def _below(names: list[str], prefix: str) -> dict[str, str]:
    return {name[len(prefix) :]: name for name in names if name.startswith(prefix)}


def _as_a_model(names: list[str], prefix: str) -> dict[str, str]:
    """The names of a text model that lies inside another module, with its head beside it."""
    above = prefix[: prefix[:-1].rindex(".") + 1]
    inside = {above + inner: name for inner, name in _below(names, prefix).items()}
    return inside | {name: name for name in names if name.startswith(HEAD)}


def _role(word: str) -> str | None:
    """The mode that a word asks for, if it says nothing else."""
    mode = mode_of(word)
    plain = mode is not None and {*word.split("_")} <= {*MODES[mode], *_PARTS}
    return mode if plain else None


def _of_another_kind(part: str) -> bool:
    return mode_of(part) in ("vision", "audio") or "projector" in part


def _section(config: Mapping[str, Any], word: str) -> str | None:
    """The key under which the config speaks of a module."""
    sections = [key for key, value in config.items() if isinstance(value, Mapping)]
    for key in (word, f"{word}_config"):
        if key in sections:
            return key
    mode = mode_of(word)
    named = [key for key in sections if key.endswith("_config") and mode_of(key) == mode]
    return named[0] if mode and len(named) == 1 else None
