"""YAML text to nodes with their places; reading mappings, lists and scalars of a known shape.

Nodes are composed, not loaded, so that every mistake has its line. Knows YAML, not mergekit: what a
key means stands in `config`.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, TypeAlias

import yaml

from mergelang.errors import Diagnostic, RecipeError
from mergelang.source import Source, Span

Node: TypeAlias = yaml.Node
Plain: TypeAlias = bool | int | float | str | None

_PLAIN = re.compile(r"tag:yaml\.org,2002:(bool|int|float|null)")
_WHOLE = re.compile(r"([+-]?\d{1,18})(\.0*)?")
_WORDS = {bool: "`true` or `false`", int: "a whole number", float: "a number", str: "a text"}


@dataclass(frozen=True)
class Entry:
    """A key of a mapping and its value."""

    key: Node
    value: Node


class Reader:
    """Reads the nodes of one text and collects what is wrong with them."""

    def __init__(self, source: Source):
        self.source = source
        self.found: list[Diagnostic] = []

    def documents(self) -> list[Node]:
        """The documents of the text, empty ones left out. Raises RecipeError for no YAML."""
        try:
            nodes = list(yaml.compose_all(self.source.text, Loader=yaml.SafeLoader))
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            at = min(mark.index, len(self.source.text)) if mark else 0
            self._broken(at, _reason(error))
        except yaml.reader.ReaderError as error:
            self._broken(error.position, f"the character {error.character!r} may not stand here")
        except RecursionError:
            self._broken(0, "it is nested too deeply")
        full = [each for each in nodes if each is not None and not self.is_null(each)]
        if not full:
            self.add("E1107", Span(self.source, 0, 0))
            raise RecipeError(self.found)
        return full

    def _broken(self, at: int, reason: str) -> None:
        self.add("E1101", Span(self.source, at, at + 1), reason=reason)
        raise RecipeError(self.found)

    def span(self, node: Node) -> Span:
        return Span(self.source, node.start_mark.index, node.end_mark.index)

    def add(self, code: str, place: Node | Span, *related: Node, **facts: Any) -> None:
        """Notes a mistake at a node."""
        span = place if isinstance(place, Span) else self.span(place)
        others = tuple(self.span(each) for each in related)
        made = Diagnostic(code, span, facts, others)
        if made not in self.found:
            self.found.append(made)

    def is_null(self, node: Node) -> bool:
        return node.tag == "tag:yaml.org,2002:null"

    def is_empty(self, node: Node) -> bool:
        """Whether it is a list or a mapping that holds nothing, as unset to mergekit as null."""
        return not isinstance(node, yaml.ScalarNode) and not node.value

    def mapping(
        self, node: Node, where: str, known: Sequence[str] | None, required: Iterable[str] = ()
    ) -> dict[str, Entry] | None:
        """The entries of a mapping by key; known keys without a value are left out, as unset.

        Reports unknown, repeated and missing keys. None, and reported, for another kind of node.
        `known` None stands for any key.
        """
        if not isinstance(node, yaml.MappingNode):
            self.add("E1104", node, what=where, wanted="a mapping", got=self.describe(node))
            return None
        entries: dict[str, Entry] = {}
        meant = set()
        for key, value in self._pairs(node):
            name = key.value if isinstance(key, yaml.ScalarNode) else None
            if name is None:
                self.add("E1104", key, what="a key", wanted="a text", got=self.describe(key))
            elif name in entries:
                self.add("E1103", key, entries[name].key, name=name)
            elif known is not None and name not in known:
                near = nearest(name, known)
                meant.add(near)
                self.add(
                    "E1102", key, name=name, where=where, suggestion=near,
                    known=None if near else listed(known),
                )  # fmt: skip
            else:
                entries[name] = Entry(key, value)
        if known is not None:
            entries = {name: each for name, each in entries.items() if not self.is_null(each.value)}
        missing = [name for name in required if name not in entries]
        for name in missing:
            if name not in meant:
                self.add("E1105", node, name=name, where=where)
        return None if missing else entries

    def _pairs(self, node: yaml.MappingNode) -> Iterator[tuple[Node, Node]]:
        """Keys and values; those of a merge key (`<<`) where the mapping has none of its own."""
        merged: list[tuple[Node, Node]] = []
        own = set()
        for key, value in node.value:
            if key.tag == "tag:yaml.org,2002:merge":
                parts = value.value if isinstance(value, yaml.SequenceNode) else [value]
                for part in parts:
                    if isinstance(part, yaml.MappingNode):
                        merged += self._pairs(part)
            else:
                own.add(key.value if isinstance(key, yaml.ScalarNode) else None)
                yield key, value
        for key, value in merged:
            if key.value not in own:
                own.add(key.value)
                yield key, value

    def items(self, node: Node, what: str) -> list[Node]:
        """The items of a list; none, and reported, for another kind of node or an empty list."""
        if not isinstance(node, yaml.SequenceNode) or not node.value:
            got = "an empty list" if isinstance(node, yaml.SequenceNode) else self.describe(node)
            self.add("E1104", node, what=what, wanted="a list", got=got)
            return []
        return node.value

    def scalar(self, node: Node, what: str, kind: type) -> Any:
        """A scalar of one kind; None, and reported, for anything else."""
        value = self.whole(node) if kind is int else self.plain(node)
        if kind is str and isinstance(node, yaml.ScalarNode) and not self.is_null(node):
            return node.value
        if type(value) is kind and isinstance(node, yaml.ScalarNode):
            return value
        self.add("E1104", node, what=what, wanted=_WORDS[kind], got=self.describe(node))
        return None

    def whole(self, node: Node) -> int | None:
        """A whole number, also one that is written as `4.0` or as the text `"4"`, as mergekit takes
        it; None for anything else."""
        value = self.plain(node)
        if isinstance(value, float | str):
            found = _WHOLE.fullmatch(str(value).strip())
            return int(found[1]) if found else None
        return value if type(value) is int else None

    def plain(self, node: Node) -> Plain:
        """A scalar as YAML 1.1 reads it; whatever is no bool, number or null is a text."""
        if not isinstance(node, yaml.ScalarNode):
            return None
        if _PLAIN.fullmatch(node.tag):
            try:
                return yaml.constructor.SafeConstructor().construct_object(node)
            except ValueError:
                return node.value
        return node.value

    def is_list(self, node: Node) -> bool:
        return isinstance(node, yaml.SequenceNode)

    def is_mapping(self, node: Node) -> bool:
        return isinstance(node, yaml.MappingNode)

    def describe(self, node: Node) -> str:
        if isinstance(node, yaml.MappingNode):
            return "a mapping"
        if isinstance(node, yaml.SequenceNode):
            return "a list"
        return "nothing" if self.is_null(node) else f"`{node.value}`"

    @property
    def has_errors(self) -> bool:
        return any(each.is_error for each in self.found)


def _reason(error: yaml.MarkedYAMLError) -> str:
    said = " ".join((error.problem or error.context or "").split())
    return said.replace("'<stream end>'", "the end of the file")


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name most like this one, None when none is near."""
    close = get_close_matches(name.lower(), known, 1, 0.6)
    return close[0] if close else None


def listed(names: Iterable[str], last: str = "and") -> str:
    """`a`, `b` and `c`."""
    shown = [f"`{name}`" for name in names]
    return f" {last} ".join(filter(None, [", ".join(shown[:-1]), *shown[-1:]]))
