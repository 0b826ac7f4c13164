"""`x.merge.lock`: what a run of `x.merge` is bound to, one fact a line, sorted.

A fact is words and a value: `option blend density = 0.5`. No times, hosts or absolute paths are
among them, so the same facts give the same bytes and a difference in version control is the change.
Files of sources have size and digest: of the Hub the sha256 that it states, of this machine BLAKE3.
"""

import json
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from mergelang.check.program import Destination, Program
from mergelang.errors import InputError, RunError
from mergelang.graph import Graph, build
from mergelang.graph.node import Node
from mergelang.models.reference import hub_name
from mergelang.ops.registry import operators
from mergelang.plan.arithmetic import arithmetic, tied
from mergelang.plan.cost import order
from mergelang.plan.keys import ENGINE
from mergelang.plan.lower import Lowering, merges
from mergelang.plan.origin import Parent, parent, path_in_recipe
from mergelang.plan.prepare import preparations
from mergelang.record.facts import Facts, Name, facts_of
from mergelang.store import digests as store

HEAD = "# mergelang lock 1"
_PLAIN = re.compile(r"[^\s\"'=#\\]+")
_WORD = re.compile(r'"(?:[^"\\]|\\.)*"|[^\s"=]+')
_LINE = re.compile(rf"((?:{_WORD.pattern})(?: (?:{_WORD.pattern}))*) = (.*)")

OF_SOURCES = ("source", "file")
"""The first words of facts that sources have, and not the recipe."""

GATES = "gates"
"""The first word of what a mixture's gates are, which a run makes of recipe and sources."""


@dataclass(frozen=True)
class Change:
    """A fact that is another than it was; None where it is not there at all."""

    name: Name
    was: str | None
    now: str | None


def lock_text(facts: Mapping[Name, str]) -> str:
    """The text of a lock."""
    lines = (f"{fact_text(name)} = {_escaped(facts[name])}" for name in sorted(facts))
    return "\n".join([HEAD, *lines, ""])


def is_lock(path: Path) -> bool:
    """Whether a file begins as a lock does, whatever it is called."""
    try:
        with open(path, "rb") as file:
            return file.read(len(HEAD)) == HEAD.encode()
    except OSError:
        return False


def fact_text(name: Name) -> str:
    """The name of a fact on one line."""
    return " ".join(
        word if _PLAIN.fullmatch(word) else json.dumps(word, ensure_ascii=False) for word in name
    )


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")


def read_lock(path: Path) -> Facts | None:
    """The facts of a lock; None where there is none. Raises InputError (E2131) where it is none;
    RunError (E0901) where it may not be read."""
    try:
        lines = path.read_bytes().decode("utf-8").split("\n")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise RunError("E0901", path=str(path), reason=error.strerror or str(error)) from error
    except UnicodeDecodeError as error:
        raise InputError("E2131", path=str(path), line=1) from error
    found: Facts = {}
    for number, line in enumerate(lines, 1):
        if number == 1 and line != HEAD:
            raise InputError("E2131", path=str(path), line=1)
        if not line or line.startswith("#"):
            continue
        fact = _fact(line)
        if fact is None:
            raise InputError("E2131", path=str(path), line=number)
        found[fact[0]] = fact[1]
    return found


def _fact(line: str) -> tuple[Name, str] | None:
    """The fact of a line; None where it is none as we write them."""
    match = _LINE.fullmatch(line)
    if match is None:
        return None
    words, value = match.groups()
    try:
        name = tuple(
            json.loads(word) if word.startswith('"') else word for word in _WORD.findall(words)
        )
    except ValueError:
        return None
    if fact_text(name) != words:
        return None
    unescaped = re.sub(r"\\(.)", lambda x: {"n": "\n", "r": "\r"}.get(x[1], x[1]), value)
    return name, unescaped


def whole_graph(program: Program) -> Graph:
    """The graph of all outputs of a recipe, whichever of them are wanted."""
    return build(replace(program, outputs=program.declared))


def recipe_facts(graph: Graph) -> Facts:
    """All facts of a recipe but those of its sources, of all its outputs."""
    found = facts_of(graph.program)
    found["engine",] = str(ENGINE)
    nodes = (node for node in graph.nodes if node.op in operators())
    names = {name for node in nodes for name in _ties(graph, node)}
    if names:
        found["arith",] = " and ".join(sorted(names))
    return dict(sorted(found.items()))


def _ties(graph: Graph, node: Node) -> set[str]:
    """The arithmetic that an operator is tied to, since it goes through a linear algebra library,
    whose bytes are those of a build and a class of CPU or a card: a mixture whose gates a model
    makes, on the processor; of others seen on the first tensor of each number of dimensions that it
    computes."""
    if node.term.layout is not None and node.term.layout.prepare is not None:
        return {arithmetic()}
    arith = graph.program.arith
    inventory = node.term.inventory
    firsts: dict[int, str] = {}
    for name in inventory:
        dtype, shape = inventory[name]
        if len(shape) not in firsts and merges(dtype):
            inputs = (each.term.inventory for each in node.inputs)
            if all(each.sparse or name in each for each in inputs):
                firsts[len(shape)] = name
    lowering = Lowering(graph.program.checkpoints)
    roots = (lowering.value(node, name).expr for name in firsts.values())
    calls = any(expr.op in tied(arith) for root in roots for expr in order(root))
    return {arith or arithmetic()} if calls else set()


def gates_facts(program: Program, outputs: Iterable[tuple[Destination, Node]]) -> Facts:
    """The digests of the gates of outputs' mixtures, by name or else by output, as far as they are
    made."""
    found: Facts = {}
    for target, node in outputs:
        unnamed = 0
        for each in preparations([node], program.checkpoints):
            name = each.node.term.name
            unnamed += not name
            place = (path_in_recipe(program, target), *([str(unnamed)] if unnamed > 1 else []))
            if each.ready:
                found[GATES, *([name] if name else place)] = each.digest
    return found


def parents_of(program: Program) -> list[Parent]:
    """All sources of a recipe; one that it writes in two ways is there twice."""
    return [
        replace(parent(program.checkpoints[place]), source=text)
        for text, place in program.places.items() if place in program.checkpoints
    ]  # fmt: skip


def source_facts(parents: Iterable[Parent], digests: Mapping[Path, str]) -> Facts:
    """What sources are: the commit, and each file whose digest is known."""
    found: Facts = {}
    for each in parents:
        found["source", each.source] = each.commit or "local"
        for file in each.files:
            digest = file.digest or digests.get(file.path)
            if digest:
                found["file", each.source, file.name] = f"{file.size} {digest}"
    return found


def locked_commits(path: Path, but: Collection[str] = ()) -> dict[str, str]:
    """The commits of a lock's sources on the Hub, by repository and revision as a recipe has them;
    without those of some sources.

    Empty for a lock that cannot be read: that is told where a run is bound to it.
    """
    try:
        facts = read_lock(path) or {}
        return {
            hub_name(name[1][3:], name[1]).pinned: commit for name, commit in facts.items()
            if name[0] == "source" and name[1].startswith("hf:") and name[1] not in but
        }  # fmt: skip
    except InputError:
        return {}


def changes(was: Mapping[Name, str], now: Mapping[Name, str]) -> list[Change]:
    """The facts that differ, in their order."""
    names = sorted(name for name in was.keys() | now.keys() if was.get(name) != now.get(name))
    return [Change(name, was.get(name), now.get(name)) for name in names]


def moved(lock: Facts, parents: Iterable[Parent], digests: Mapping[Path, str]) -> list[Change]:
    """Files of sources that are not what a lock says, as far as is known without reading them.

    `digests` are those known already. A digest of the kind that the lock has is compared.
    """
    found = []
    for each in parents:
        names = {file.name for file in each.files}
        found += [
            Change(name, value, None) for name, value in lock.items()
            if name[:2] == ("file", each.source) and name[2] not in names
        ]  # fmt: skip
        for file in each.files:
            name = ("file", each.source, file.name)
            if name not in lock:
                continue
            size, _, digest = lock[name].partition(" ")
            kind = digest.partition(":")[0]
            now = next(
                (d for d in (file.digest, digests.get(file.path)) if (d or "").startswith(kind)), ""
            )
            if not now:
                known = store.known(file.path, kind)
                now = f"{kind}:{known}" if known else ""
            if str(file.size) != size or (now and now != digest):
                found.append(Change(name, lock[name], f"{file.size} {now}".strip()))
    return found
