"""The family tree of a merge: its parents, and theirs, as far as records tell; drawn and as data.

A record carries those of the merges it was made of, so nothing but the one file is looked at.
"""

import errno
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mergelang.draw.mermaid import ESCAPES
from mergelang.draw.units import size
from mergelang.errors import InputError, RunError
from mergelang.models.record import RECORD, Record, read_record

SHOWN = 12
"""Characters of a digest that are shown."""


@dataclass(frozen=True)
class Member:
    """A model of the family. `facts`: its record, or that of it that a child keeps; None of a model
    that no merge made, or whose maker left no record. `files`: names, sizes and digests."""

    name: str
    kind: str
    commit: str
    root: str
    files: Mapping[str, Mapping[str, Any]]
    facts: Record | None
    parents: "tuple[Member, ...]"

    @property
    def identity(self) -> tuple[str, str]:
        """What two members have alike when they are the same model."""
        digests = ",".join(f"{name} {facts['digest']}" for name, facts in self.files.items())
        return ("root", self.root) if self.root else (self.name, digests)


def record_of(path: Path, shown: str) -> Record:
    """The record of a folder or a weight file. Raises InputError (E2101, E2102); RunError (E0901)
    where it may not be read."""
    if not path.exists():
        raise InputError("E2101", path=shown)
    found = read_record(path)
    if found is None:
        refuse_unreadable(path / RECORD if path.is_dir() else path)
    if found is None:
        kept = path.is_dir() and (path / RECORD).exists()
        raise InputError("E2102", path=shown, what="how it was made", lost=None,
                         file=RECORD if kept else None, none=None if kept else "")  # fmt: skip
    return found


def refuse_unreadable(path: Path) -> None:
    """RunError (E0901) for a file that is there and may not be read."""
    if path.exists() and not os.access(path, os.R_OK):
        raise RunError("E0901", path=str(path), reason=os.strerror(errno.EACCES))


def family(record: Record) -> Member:
    """The tree of a record."""
    return Member(
        record["output"], "model", "", record["root"], {}, record, _parents(record, record, ())
    )


def _parents(facts: Record, record: Record, above: tuple[str, ...]) -> tuple[Member, ...]:
    found = []
    for each in facts["parents"]:
        root = str(each.get("root", ""))
        # A record that names itself among its ancestors is damaged; it is drawn up to there.
        known = None if root in above else record["ancestors"].get(root)
        found.append(
            Member(
                each["source"], str(each.get("kind", "model")), str(each.get("commit", "")), root,
                each["files"], known,
                _parents(known, record, (*above, root)) if known else (),
            )
        )  # fmt: skip
    return tuple(found)


def tree_text(top: Member) -> str:
    """The tree with the child above; a merge that comes again is not drawn out again."""
    rows = tree_rows(top)
    width = max(len(line) for line, _, _ in rows)
    return "\n".join(f"{line:<{width}}  {said}".rstrip() for line, _, said in rows)


def tree_rows(top: Member) -> list[tuple[str, Member, str]]:
    """Each line of the tree: its branches and name, the member, and what is said about it."""
    seen: set[tuple[str, str]] = set()

    def lines(member: Member, head: str, below: str) -> Iterator[tuple[str, Member, str]]:
        again = bool(member.parents) and member.identity in seen
        seen.add(member.identity)
        yield head + member.name, member, _said(member) + (", as above" if again else "")
        parents = () if again else member.parents
        for index, each in enumerate(parents):
            last = index + 1 == len(parents)
            yield from lines(
                each, below + ("└─ " if last else "├─ "), below + ("   " if last else "│  ")
            )

    return list(lines(top, "", ""))


def _said(member: Member) -> str:
    parts = []
    if member.facts is not None:
        parts.append(f"merge {member.root[:SHOWN]}, mergelang {member.facts['mergelang']}")
        parts += [f"{name}={value}" for name, value in member.facts["settings"].items()]
        return ", ".join(parts)
    if member.commit:
        parts.append(f"commit {member.commit[:SHOWN]}")
    if member.kind != "model":
        parts.append(member.kind)
    weights = {name: each for name, each in member.files.items() if _is_weights(name)}
    parts.append(size(sum(each["size"] for each in weights.values())))
    first = next(iter(weights.values()), None)
    if first is not None:
        kind, _, digest = first["digest"].partition(":")
        more = f" and {len(weights) - 1} more" if len(weights) > 1 else ""
        parts.append(f"{kind}:{digest[:SHOWN]}{more}")
    return ", ".join(parts)


def _is_weights(name: str) -> bool:
    return name.endswith((".safetensors", ".bin", ".pt", ".pth"))


def tree_mermaid(top: Member) -> str:
    """The tree as a Mermaid flowchart, parents above, each model once."""
    ids: dict[tuple[str, str], str] = {}
    boxes, arrows = [], []

    def visit(member: Member) -> str:
        if member.identity in ids:
            return ids[member.identity]
        above = [visit(each) for each in member.parents]
        made = ids[member.identity] = f"n{len(ids) + 1}"
        text = f"{member.name}<br/>".translate(ESCAPES).replace("#lt;br/#gt;", "<br/>")
        left, right = ("(", ")") if member.facts else ("[", "]")
        boxes.append(f'  {made}{left}"{text}{_said(member).translate(ESCAPES)}"{right}')
        arrows.extend(f"  {each} --> {made}" for each in above)
        return made

    visit(top)
    return "\n".join(["flowchart TD", *boxes, *arrows]) + "\n"


def tree_json(top: Member) -> dict[str, Any]:
    """The tree as plain data."""
    said: dict[str, Any] = {"name": top.name}
    if top.facts is not None:
        said |= {"root": top.root}
        said |= {k: top.facts[k] for k in ("mergelang", "recipe", "used", "settings")}
        said |= {"parents": [tree_json(each) for each in top.parents]}
    if top.kind != "model":
        said["kind"] = top.kind
    if top.commit:
        said["commit"] = top.commit
    if top.files:
        said["files"] = {name: dict(facts) for name, facts in top.files.items()}
    return said
