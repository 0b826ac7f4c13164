"""How two recipes, or two locks, differ: in what they come to, not in how they are written."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mergelang.record.facts import Facts
from mergelang.record.lock import Change, Name, changes, fact_text

ADDED, REMOVED, CHANGED, RENAMED = "added", "removed", "changed", "renamed"

KINDS = {"node": "node", "output": "output"}


@dataclass(frozen=True)
class Difference:
    """One thing that is not the same: a node, an output, a parameter of one, or another fact.

    `kind` is node, output, parameter or fact; `was` and `now` its text, None where it is not there;
    of something renamed the two names.
    """

    how: str
    kind: str
    name: str
    was: str | None
    now: str | None


def differences(was: Mapping[Name, str], now: Mapping[Name, str]) -> list[Difference]:
    """What differs between the facts of two recipes or two locks, nodes before all else.

    A node or output that came or went is told once, without its parameters; one that only has
    another name is renamed. Digests of texts are left out where other facts show what is new.
    """
    renamed = _renamed(was, now)
    was = _under_new_names(was, renamed)
    found = [Difference(RENAMED, "node", new, old, new) for old, new in renamed.items()]
    changed = changes(was, now)
    alone = {  # nodes and outputs that stand on one side only
        each.name[1] for each in changed
        if each.name[0] in KINDS and None in (each.was, each.now)
    }  # fmt: skip
    for each in changed:
        if each.name[0] == "option" and each.name[1].partition(".")[0] in alone:
            continue
        if each.name[0] == "option" and each.name[1] in alone:
            continue
        found.append(_difference(each))
    texts = ("recipe", "use")
    rest = [each for each in found if each.name.partition(" ")[0] not in texts]
    found = rest or found
    order = {"node": 0, "output": 1, "parameter": 2, "fact": 3}
    return sorted(found, key=lambda each: order[each.kind])


def _difference(change: Change) -> Difference:
    how = ADDED if change.was is None else REMOVED if change.now is None else CHANGED
    word, *rest = change.name
    if word in KINDS:
        return Difference(how, KINDS[word], rest[0], change.was, change.now)
    if word == "option":
        return Difference(how, "parameter", " ".join(rest), change.was, change.now)
    return Difference(how, "fact", fact_text(change.name), change.was, change.now)


def _renamed(was: Mapping[Name, str], now: Mapping[Name, str]) -> dict[str, str]:
    """Nodes that went, and those that came and are the same in all but their name."""
    gone = {name[1]: _whole(was, name[1]) for name in was.keys() - now.keys() if name[0] == "node"}
    come = {name[1]: _whole(now, name[1]) for name in now.keys() - was.keys() if name[0] == "node"}
    found: dict[str, str] = {}
    for old in sorted(gone):
        same = sorted(new for new in come.keys() - found.values() if come[new] == gone[old])
        if same:
            found[old] = same[0]
    return found


def _whole(facts: Mapping[Name, str], name: str) -> tuple[Any, ...]:
    """A node's text and parameters, whatever it is called."""
    options = [
        (key[1].removeprefix(name), key[2], value) for key, value in facts.items()
        if key[0] == "option" and (key[1] == name or key[1].startswith(f"{name}."))
    ]  # fmt: skip
    return facts["node", name], tuple(sorted(options))


def _under_new_names(facts: Mapping[Name, str], renamed: Mapping[str, str]) -> Facts:
    if not renamed:
        return dict(facts)
    found: Facts = {}
    for name, value in facts.items():
        if name[0] in ("node", "output"):
            value = _replaced(value, renamed)
        if name[0] in ("node", "option") and len(name) > 1:
            owner, dot, path = name[1].partition(".")
            name = (name[0], renamed.get(owner, owner) + dot + path, *name[2:])
        found[name] = value
    return found


def _replaced(text: str, renamed: Mapping[str, str]) -> str:
    """A node's text with other names in it; what stands in quotes stays."""
    import re

    def new(match: re.Match[str]) -> str:
        return match[0] if match[0].startswith('"') else renamed.get(match[0], match[0])

    return re.sub(r'"[^"]*"|[^\W\d]\w*', new, text)
