"""A run and its lock: what the run may use, what has changed, and what is refused."""

import os
import shlex
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from mergelang.check.program import Destination, Program
from mergelang.errors import Diagnostic, InputError, RecipeError, UsageError
from mergelang.files import cache_folder
from mergelang.graph.node import Graph, Node
from mergelang.plan.origin import Parent
from mergelang.record.facts import Facts
from mergelang.record.lock import (
    GATES,
    OF_SOURCES,
    Change,
    changes,
    fact_text,
    gates_facts,
    lock_text,
    moved,
    parents_of,
    read_lock,
    recipe_facts,
    source_facts,
    whole_graph,
)
from mergelang.store import digests as store
from mergelang.store.whole import write_whole

DIGESTS = ("recipe", "use")
"""The first words of facts that are digests of whole texts."""


class Binding:
    """What a checked recipe is bound to by the lock at `path`, if one is there.

    `recipe` is how messages call the recipe. With `path` None there is no lock, and nothing is
    refused. Raises InputError (E2131) for a lock that cannot be read.
    """

    def __init__(self, program: Program, path: Path | None, recipe: str):
        self.program, self.path, self.recipe = program, path, recipe
        self.was: Facts | None = read_lock(path) if path else None
        self._accepted: set[str] = set()
        self._frozen = False

    @cached_property
    def _graph(self) -> Graph:
        return whole_graph(self.program)

    @cached_property
    def facts(self) -> Facts:
        """The facts of the recipe as it is now."""
        return recipe_facts(self._graph)

    @cached_property
    def changes(self) -> list[Change]:
        """What the recipe has changed since the lock was written."""
        if self.was is None:
            return []
        found = (*OF_SOURCES, GATES)
        old = {name: value for name, value in self.was.items() if name[0] not in found}
        return changes(old, self.facts)

    @property
    def shown_changes(self) -> list[Change]:
        """The changes without the digests of texts, where they show in others."""
        return [each for each in self.changes if each.name[0] not in DIGESTS] or self.changes

    def accept(self, sources: Iterable[str]) -> None:
        """Takes sources as they are now."""
        self._accepted.update(sources)

    def refuse_moved(
        self, parents: Iterable[Parent], digests: Mapping[Path, str] | None = None
    ) -> None:
        """Raises RecipeError (E2130) where the bytes of a source are not those of the lock.

        Files whose digest is neither known nor given are not read: their sizes are compared.
        """
        kept = [each for each in self._written(parents) if each.source not in self._accepted]
        others = moved(self.was or {}, kept, digests or {})
        if others:
            command = self._locking([*self._accepted, *(each.name[1] for each in others)])
            raise RecipeError([
                Diagnostic("E2130", None, self._said(each) | {
                    "file": each.name[2], "source": each.name[1], "command": command,
                })
                for each in others
            ])  # fmt: skip

    def _written(self, parents: Iterable[Parent]) -> list[Parent]:
        """Sources by all their texts in the recipe: a place may be written in two ways there, of
        which one may lead somewhere else the next time."""
        places = self.program.places
        return [
            replace(each, source=text)
            for each in parents
            for text, place in places.items() if place == places[each.source]
        ]  # fmt: skip

    def refuse_any(self) -> None:
        """Raises RecipeError where anything at all differs from the lock, as far as is known
        without reading weights, and from now on; InputError (E2132) where there is no lock."""
        self._frozen = True
        if self.was is None:
            raise InputError("E2132", recipe=self.recipe, path=str(self.path or "x.merge.lock"))
        parents = parents_of(self.program)
        known = {f.path: store.identity(f.path) or "" for each in parents for f in each.files}
        names = source_facts(parents, known)
        lacks = [Change(name, None, value) for name, value in names.items() if name not in self.was]
        there = {name[1] for name in names if name[0] == "source"}
        gone = [
            Change(name, value, None) for name, value in self.was.items()
            if name[0] == "source" and name[1] not in there
        ]  # fmt: skip
        commits = [
            Change(name, self.was[name], value) for name, value in names.items()
            if name[0] == "source" and name in self.was and value != self.was[name]
        ]  # fmt: skip
        found = [
            Diagnostic("E2133", None, self._said(each) | {"command": self._accepting(each)})
            for each in (*self.shown_changes, *lacks, *gone, *commits)
        ]
        if found:
            raise RecipeError(found)
        self.refuse_moved(parents, known)

    def refuse_other_gates(self, outputs: Iterable[tuple[Destination, Node]]) -> None:
        """Raises RecipeError (E2133) where a lock that nothing may differ from says other gates
        than those that were made. It may say none: then they had not been made."""
        now = gates_facts(self.program, outputs) if self._frozen else {}
        was = {name: value for name, value in (self.was or {}).items() if name in now}
        now = {name: value for name, value in now.items() if name in was}
        found = [
            Diagnostic("E2133", None, self._said(each) | {"command": self._accepting(each)})
            for each in changes(was, now)
        ]
        if found:
            raise RecipeError(found)

    def _said(self, change: Change) -> dict[str, str]:
        return {
            "fact": fact_text(change.name), "was": change.was or "nothing",
            "now": change.now or "nothing", "lock": self.path.name if self.path else "",
        }  # fmt: skip

    def _accepting(self, change: Change) -> str:
        """The command that makes the lock say what is so now."""
        moves = change.name[0] == "source" and change.was and change.now
        return self._locking([change.name[1]] if moves else [])

    def _locking(self, update: Iterable[str]) -> str:
        """The command that locks the recipe with the settings and the device of this one, and takes
        some sources as they are."""
        words = ["mergelang", "lock", self.recipe]
        for name, value in self.facts.items():
            if name[0] == "set":
                words += ["--set", f"{name[1]}={value}"]
        if self.program.device != "cpu":
            words += ["--device", self.program.device]
        for name in sorted({self._name(each) for each in update}):
            words += ["--update", name]
        return shlex.join(words)

    @property
    def _sources(self) -> dict[str, str]:
        """The text of each source by its names in the recipe."""
        return {
            name: term.options["reference"].text
            for name, term in self.program.terms.items() if term.op == "source"
        }  # fmt: skip

    def _name(self, source: str) -> str:
        """What a source is called on the command line: by its name in the recipe if it has one."""
        return next((name for name, text in self._sources.items() if text == source), source)

    def named(self, names: Iterable[str]) -> list[str]:
        """The sources that are called by these names, or as they are written in the recipe."""
        known = {text: text for text in self.program.places} | self._sources
        found = []
        for name in names:
            if name not in known:
                from mergelang.check.suggest import listed, nearest

                suggestion = nearest(name, known)
                models = [self._name(text) for text in self.program.places]
                raise UsageError("E2134", name=name, suggestion=suggestion,
                                 known=None if suggestion else listed(models))  # fmt: skip
            found.append(known[name])
        return found

    def text(
        self, output: tuple[Destination, Node], parents: Iterable[Parent],
        digests: Mapping[Path, str],
    ) -> str:  # fmt: skip
        """The text of a lock with one output's sources and gates."""
        gates = gates_facts(self.program, [output])
        return lock_text(self.facts | source_facts(self._written(parents), digests) | gates)

    def write(self, parents: Iterable[Parent]) -> bool:
        """Writes the lock, with digests of these sources and those known of others; True where it
        has changed. Raises OSError."""
        assert self.path is not None
        parents = list(parents)
        everything = parents_of(self.program)
        sources = {each.source for each in everything}
        kept = {
            name: value for name, value in (self.was or {}).items()
            if name[0] in OF_SOURCES and name[1] in sources and name[1] not in self._accepted
        }  # fmt: skip
        known = {f.path: store.identity(f.path) or "" for p in everything for f in p.files}
        fresh = source_facts(everything, known | source_digests(parents))
        text = lock_text(self.facts | fresh | kept | self._gates())
        _remember(self.path, text)
        if self.was is not None and self.path.read_text(encoding="utf-8") == text:
            return False
        fresh_file = self.path.with_name(f".{self.path.name}.new")
        fresh_file.write_text(text, encoding="utf-8", newline="\n")
        os.replace(fresh_file, self.path)
        return True

    def _gates(self) -> Facts:
        """What gates are: those that are made, and those that the lock has of the same recipe."""
        same = self.was is not None and not self.changes and not self._accepted
        old = {name: value for name, value in self.was.items() if name[0] == GATES} if same else {}
        return old | gates_facts(self.program, self._graph.outputs)


def _remembered(path: Path) -> Path:
    return cache_folder() / "locks" / store.of_bytes(os.fsencode(path.resolve()))[:40]


def _remember(path: Path, text: str) -> None:
    """Keeps that a lock of this text says what is so."""
    with suppress(OSError):
        write_whole(_remembered(path), store.of_bytes(text.encode()).encode())


def is_remembered(path: Path) -> bool:
    """Whether a lock is there as it was when a run last wrote it, or found it right."""
    try:
        text = store.of_bytes(path.read_bytes())
        return _remembered(path).read_text() == text
    except (OSError, ValueError):
        return False


def source_digests(parents: Iterable[Parent]) -> dict[Path, str]:
    """The digests of all files of sources; those not known yet are read, in parallel."""
    found: dict[Path, str] = {}
    unknown = []
    for each in (file for parent in parents for file in parent.files):
        known = each.digest or store.identity(each.path)
        if known:
            found[each.path] = known
        else:
            unknown.append(each.path)
    read = store.digests(unknown)
    return found | {path: f"blake3:{read[str(path)]}" for path in unknown}
