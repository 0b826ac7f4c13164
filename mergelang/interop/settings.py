"""Parameters as mergekit has them, at any level: scalars, gradients, conditions; to our schedules.

A gradient is piecewise linear over the layers of its slice, and its first value holds for tensors
outside the layers, as with our `curve`. A `filter` is a piece of a tensor's name. The first level
that has a value for a tensor wins, and within a level the first condition that holds.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, TypeAlias

from mergelang.interop.methods import CALL, FLAG, NEEDED, NUMBER, Parameter
from mergelang.interop.nodes import Node, Plain, Reader
from mergelang.lang import quoted

_DECIMAL = re.compile(r"-?\d+(\.\d+)?([eE][+-]?\d+)?")
_YES, _NO = {"1", "true", "t", "yes", "y", "on"}, {"0", "false", "f", "no", "n", "off"}
_LAYER = re.compile(r"(?:(?<=\.)|^)(\d+)(?=\.|$)")
"""A whole component of a name that is a number."""


@dataclass(frozen=True)
class Item:
    """Values (one, or those of a gradient) for the tensors whose names hold `filter`; None: all."""

    filter: str | None
    values: tuple[tuple[Plain, Node], ...]
    node: Node


@dataclass(frozen=True)
class Setting:
    """What one level says about one parameter."""

    key: Node
    items: tuple[Item, ...]


Settings: TypeAlias = Mapping[str, Setting]


@dataclass(frozen=True)
class Piece:
    """Where values apply: layers of the slice (None: of the whole model, unknown), the number that
    its first layer has in the names which filters look at, and whether there are layers at all."""

    layers: int | None = None
    first: int = 0
    flat: bool = False


def read_settings(reader: Reader, node: Node) -> dict[str, Setting]:
    """The settings of a `parameters` mapping."""
    entries = reader.mapping(node, "`parameters`", None)
    found = {}
    for name, (key, value) in ((n, (e.key, e.value)) for n, e in (entries or {}).items()):
        items = _items(reader, name, value)
        if items:
            found[name] = Setting(key, tuple(items))
    return found


def _items(reader: Reader, name: str, node: Node) -> list[Item]:
    if reader.is_mapping(node):
        return list(filter(None, [_item(reader, name, node)]))
    if reader.is_list(node) and node.value and all(map(reader.is_mapping, node.value)):
        return list(filter(None, (_item(reader, name, each) for each in node.value)))
    values = _values(reader, name, node)
    return [Item(None, values, node)] if values else []


def _item(reader: Reader, name: str, node: Node) -> Item | None:
    where = f"a condition of `{name}`"
    entries = reader.mapping(node, where, ("filter", "value"), required=("value",))
    if entries is None:
        return None
    text = None
    if "filter" in entries:
        text = reader.scalar(entries["filter"].value, "`filter`", str)
        if text in ("*", ""):
            text = None
    values = _values(reader, name, entries["value"].value)
    return Item(text, values, node) if values else None


def _values(reader: Reader, name: str, node: Node) -> tuple[tuple[Plain, Node], ...]:
    nodes = reader.items(node, f"`{name}`") if reader.is_list(node) else [node]
    wrong = [each for each in nodes if reader.plain(each) is None]
    if wrong:
        got = reader.describe(wrong[0])
        reader.add("E1104", wrong[0], what=f"`{name}`", wanted="a number or a word", got=got)
        return ()
    return tuple((reader.plain(each), each) for each in nodes)


def schedule(
    reader: Reader, parameter: Parameter, levels: Sequence[Settings], piece: Piece, place: Node,
    of: str,
) -> str | None:  # fmt: skip
    """The value of a parameter as our language writes it; None where mergekit's default holds.

    `place` and `of` (whose parameter it is) are for the error when it has no value and needs one.
    """
    items, total = _chain(reader, parameter, levels)
    if not total and parameter.default is NEEDED:
        one = None if parameter.scope == CALL else ""
        facts = {"name": parameter.name, "of": of, "one": one, "all": "" if one is None else None}
        here = _here(reader, items, piece)
        if not here:
            place = items[-1].node if items else place
            reader.add("E1111" if items else "E1110", place, **facts)
            return None
        reader.add("W1104", here[-1].node, **facts)
        # Whether others are left is seen where the tensors are known: see `named`.
        items, total = [*here[:-1], replace(here[-1], filter=None)], True
    if not items:
        return None
    arms = []
    for item in items:
        points = [_text(reader, parameter, value, node) for value, node in item.values]
        if None in points:
            return None
        arms.append((item, points))
    if not total:
        arms.append((Item(None, (), items[-1].node), [_default(parameter)]))
    if parameter.kind is not NUMBER:
        return _constant(reader, parameter, arms, piece)
    return _number(reader, arms, piece)


def named(
    reader: Reader, parameter: Parameter, levels: Sequence[Settings], piece: Piece
) -> str | None:
    """A pattern of the tensors that have a value of a parameter without a default; None for all."""
    items, total = _chain(reader, parameter, levels)
    if total or parameter.default is not NEEDED:
        return None
    patterns = (_pattern(reader, item, piece) for item in _here(reader, items, piece))
    return " | ".join(dict.fromkeys(patterns)) or None


def _here(reader: Reader, items: Sequence[Item], piece: Piece) -> list[Item]:
    """The conditions that can hold in a slice."""
    return [item for item in items if _pattern(reader, item, piece) is not None]


def switches(
    reader: Reader, parameter: Parameter, levels: Sequence[Settings], piece: Piece
) -> list[tuple[str, str]]:
    """Patterns and values of a parameter that is no schedule in our language and yet depends on the
    tensor; empty for one that does not, or that varies over the layers."""
    items, total = _chain(reader, parameter, levels)
    if not items or any(len(item.values) > 1 for item in items):
        return []
    rows = [
        (_pattern(reader, item, piece), _text(reader, parameter, *item.values[0]))
        for item in items
    ]
    if not total:
        rows.append(("_", _default(parameter)))
    joined: list[tuple[str, str]] = []
    for pattern, word in (row for row in rows if None not in row):
        if joined and joined[-1][1] == word and pattern != "_":
            joined[-1] = (f"{joined[-1][0]} | {pattern}", word)
        else:
            joined.append((pattern, word))
    return joined if len({word for _, word in joined}) > 1 else []


def _chain(
    reader: Reader, parameter: Parameter, levels: Sequence[Settings]
) -> tuple[list[Item], bool]:
    """The conditions of all levels in the order of precedence, and whether they leave none open."""
    found: list[Item] = []
    for level in levels:
        items = level[parameter.name].items if parameter.name in level else ()
        for index, item in enumerate(items):
            found.append(item)
            if item.filter is None:
                for late in items[index + 1 : index + 2]:
                    reader.add("W1102", late.node, item.node, name=parameter.name)
                return found, True
    return found, False


def _default(parameter: Parameter) -> str:
    default = parameter.default
    if isinstance(default, bool):
        return parameter.words[default]
    return str(default)


def check_kinds(reader: Reader, parameter: Parameter, setting: Setting) -> None:
    """Reports the values of a setting that are not of the parameter's kind."""
    for item in setting.items:
        for value, node in item.values:
            _text(reader, parameter, value, node)


def _text(reader: Reader, parameter: Parameter, value: Plain, node: Node) -> str | None:
    """One value in our notation; None, and reported, when it is not of the parameter's kind."""
    text = None
    if parameter.kind is FLAG:
        word = str(value).lower()
        if word in _YES | _NO or value in (0, 1):
            text = parameter.words[word in _YES or value == 1]
    else:
        text = number_text(value, node.value)
        if parameter.kind is not NUMBER and not isinstance(value, bool):
            whole = reader.whole(node)
            text = None if whole is None else str(whole)
    if parameter.positive and text is not None and float(text) == 0:
        reader.add("E1128", node, name=parameter.name)
    if text is None:
        reader.add(
            "E1104", node, what=f"`{parameter.name}`", wanted=parameter.kind,
            got=reader.describe(node),
        )  # fmt: skip
    return text


def number_text(value: Plain, written: str) -> str | None:
    """A number as our language writes it, digits as written where that can be; None for others."""
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, int):
        return str(value)
    written = written.strip().removeprefix("+")
    if _DECIMAL.fullmatch(written):
        return written
    try:
        number = float(value if isinstance(value, float) else written)
    except (TypeError, ValueError):
        return None
    if number != number or number in (float("inf"), float("-inf")):
        return None
    return repr(number).removesuffix(".0")


def _constant(
    reader: Reader, parameter: Parameter, arms: Sequence[tuple[Item, list[Any]]], piece: Piece
) -> str | None:
    """The one value of a parameter that does not vary over a model in our language."""
    here = [points for item, points in arms if _pattern(reader, item, piece) is not None]
    words = {word for points in here for word in points}
    if len(words) > 1:
        reader.add("E1118", arms[0][0].node, name=parameter.name)
        return None
    return words.pop()


def _number(
    reader: Reader, arms: Sequence[tuple[Item, list[str]]], piece: Piece
) -> str | None:
    rows: list[tuple[str, str]] = []
    for item, points in arms:
        pattern = _pattern(reader, item, piece)
        if pattern is None:
            continue
        if piece.flat:
            points = points[:1]
        # mergekit gives the only layer of a slice the last value of a gradient.
        if piece.layers == 1 and Fraction(points[0]) != Fraction(points[-1]):
            inside = "layers 0.." if pattern == "_" else f"{pattern} & layers 0.."
            rows += [(inside, points[-1]), (pattern, points[0])]
        elif len(points) > 1 and piece.layers != 1:
            rows.append((pattern, f"curve({', '.join(points)})"))
        else:
            rows.append((pattern, points[0]))
    if len({text for _, text in rows}) == 1:
        return rows[0][1]
    return f"match {{ {', '.join(f'{pattern} => {text}' for pattern, text in rows)} }}"


def _pattern(reader: Reader, item: Item, piece: Piece) -> str | None:
    """The glob for a filter, `_` for none; None where it names layers that are not in this slice.

    Our tensors of a slice are numbered from 0, those that mergekit's filters see are not.
    """
    if item.filter is None:
        return "_"
    text = item.filter
    numbers = [found for found in _LAYER.finditer(text) if not _of_an_expert(text, found)]
    if numbers and piece.layers is not None:
        found = numbers[0]
        if len(numbers) > 1 or found.start() == 0 or found.end() == len(text):
            reader.add("E1119", item.node, filter=text, number=found[1])
            return None
        layer = int(found[1]) - piece.first
        if not 0 <= layer < (piece.layers or 0):
            return None
        text = f"{text[: found.start()]}{layer}{text[found.end() :]}"
    return quoted(f"*{glob(text)}*")


def _of_an_expert(text: str, found: re.Match[str]) -> bool:
    return text[: found.start()].endswith("experts.")


def glob(text: str) -> str:
    """A glob that names exactly this text."""
    return re.sub(r"([*?[])", r"[\1]", text)
