"""The config of a model expression: its donor's, changed as its layouts and its tables say."""

from collections.abc import Mapping, Sequence
from typing import Any
from weakref import WeakKeyDictionary

from mergelang.check.givers import Checkpoints, givers, made_of
from mergelang.check.program import Term
from mergelang.errors import InputError
from mergelang.models import config as edits
from mergelang.models.attention import spelled_out
from mergelang.models.vocabulary import is_embedding, is_head, vocabulary_of
from mergelang.ops.layout import Pick
from mergelang.tensors import Inventory, Layering

SAME_LAYERS = ("module", "renamed", "moe", "retokenize", "resized")
"""Expressions that change names or what is in the layers, and leave them where they are."""


def donor_of(term: Term) -> Term | None:
    """The term that this one's config, sidecar files and default dtypes come from."""
    return term.donor or (term.inputs[0] if term.inputs else None)


def source_of(term: Term) -> Term:
    """The source at the end of the chain of donors."""
    while (donor := donor_of(term)) is not None:
        term = donor
    return term


def part_without_config(term: Term) -> Term | None:
    """The module among a term's donors of which no config speaks by itself."""
    while (donor := donor_of(term)) is not None:
        if term.op == "module" and term.layout is not None and not term.layout.config:
            return term
        term = donor
    return None


_known: WeakKeyDictionary[Term, dict[str, Any] | None] = WeakKeyDictionary()


def config_of(term: Term, checkpoints: Checkpoints) -> dict[str, Any] | None:
    """The config of an expression; None where its donor has none.

    Raises InputError (E0801, E2302) where it cannot be made.
    """
    if term not in _known:
        _known[term] = _config_of(term, checkpoints)
    return _known[term]


def _config_of(term: Term, checkpoints: Checkpoints) -> dict[str, Any] | None:
    donor = donor_of(term)
    if donor is None:
        return checkpoints[term.options["reference"]].config
    config = config_of(donor, checkpoints)
    if config is None:
        return None
    if term.layout is not None:
        config = _arranged(term, config, checkpoints)
    else:
        config = _with_depth(term, config, checkpoints)
    return _with_tables(term, config, checkpoints)


def _arranged(term: Term, config: dict[str, Any], checkpoints: Checkpoints) -> dict[str, Any]:
    """The config of the donor, changed as a layout says."""
    for edit, arguments in term.layout.config:
        try:
            config = getattr(edits, edit)(config, **arguments)
        except KeyError as error:
            raise InputError("E0801", edit=term.op, key=str(error).strip("'")) from error
    if term.op not in SAME_LAYERS:
        for tower in term.inventory.layering.towers:
            config = _listed(term, tower, config, checkpoints)
    return config


def _with_depth(term: Term, config: dict[str, Any], checkpoints: Checkpoints) -> dict[str, Any]:
    """The config of a term that has more or fewer layers than its donor, since a `match` or
    `missing:` brings some or leaves some out. A layer keeps its number."""
    mine, theirs = term.inventory, donor_of(term).inventory
    if mine is None or theirs is None or mine.tensors.keys() == theirs.tensors.keys():
        return config
    for tower in theirs.layering.towers:
        found = next((each for each in mine.layering.towers if each.prefix == tower.prefix), tower)
        stated = edits.value_at(config, tower.stated) if tower.stated else None
        if found.count == tower.count or type(stated) is not int:
            continue
        more = found.count - tower.count
        config = edits.with_layers(config, stated + more, tower.stated)
        *above, _ = tower.stated
        listed = _lists_over(term, edits.section(config, above), tower, found, checkpoints)
        config = edits.put(config, above, listed)
    return config


def _lists_over(
    term: Term, part: Mapping[str, Any], was: Layering, tower: Layering, checkpoints: Checkpoints
) -> dict[str, Any]:
    """A section of a config with what it lists layer by layer, for other layers than there were:
    of a new one what the config of the input says that it comes from."""
    part, firsts = dict(part), {tower.split(name)[0]: name for name in term.inventory}
    new = {
        layer: _said_of(term, firsts[layer], tower.stated[:-1], checkpoints)
        for layer in range(was.count, tower.count) if layer in firsts
    }  # fmt: skip
    lists, numbers = edits.by_layer(part, was.count), edits.layer_numbers(part, was.count)
    for key, entries in lists.items():
        others = [edits.by_layer(*each).get(key) for each in new.values()]
        if not all(others):
            raise InputError("E0801", edit=term.op, key=key)
        more = (each[layer] for layer, each in zip(new, others, strict=True))
        part[key] = [*entries[: tower.count], *more]
    for key, entries in numbers.items():
        more = (layer for layer, (each, _) in new.items() if layer in each.get(key, ()))
        part[key] = [*(each for each in entries if each < tower.count), *more]
    return part


def _said_of(
    term: Term, name: str, above: Sequence[str], checkpoints: Checkpoints
) -> tuple[Mapping[str, Any], int]:
    """What the config of the input that gives a tensor says of layers, and how many it has."""
    giver, called = made_of(term, name)[0]
    config = edits.section(config_of(giver, checkpoints) or {}, above)
    tower = giver.inventory.layering.tower(called)
    count = tower.count if tower else 0
    return spelled_out(config, count), count


def _with_tables(term: Term, config: dict[str, Any], checkpoints: Checkpoints) -> dict[str, Any]:
    """The config of a term whose tables of tokens are not its donor's: with the rows that they all
    have, and with the head as the embedding where none is left, or as its own where it is.

    A number of rows that was not the donor's own stays as it is.
    """
    donor = donor_of(term)
    mine, theirs = term.inventory, donor.inventory
    if mine is None or theirs is None:
        return config
    if mine.tensors == theirs.tensors and not edits.is_tied(config):
        return config
    known = vocabulary_of(theirs, config_of(donor, checkpoints), None, "")
    tables = [
        name for name in (known.tensors if known else ())
        if name in mine and len(mine[name].shape) == len(theirs[name].shape)
    ]  # fmt: skip
    rows = {mine[name].shape[theirs[name].shape.index(known.rows)] for name in tables}
    if len(rows) == 1:
        config = edits.with_vocabulary(config, rows.pop(), known.rows, {})
    embeddings = list(filter(is_embedding, tables))
    heads, had = _heads(mine), bool(_heads(theirs))
    if not embeddings or not (heads or had):
        return config
    if not heads:
        return edits.with_tied(config, True)
    if had and not edits.is_tied(config):
        return config
    tied = _tied(term, heads + embeddings, checkpoints)
    return config if tied else edits.with_tied(config, False)


def _heads(inventory: Inventory) -> list[str]:
    return [
        name for name, kind in inventory.tensors.items() if is_head(name) and len(kind.shape) == 2
    ]


def _tied(term: Term, names: list[str], checkpoints: Checkpoints) -> bool:
    """Whether a head and an embedding are made of models alone whose head is their embedding,
    which they have stored, so that the head is the embedding here too."""
    return all(
        edits.is_tied(checkpoints[each.options["reference"]].config or {})
        for name in names for each in givers(term, name, checkpoints)
    )  # fmt: skip


def _listed(
    term: Term, tower: Layering, config: dict[str, Any], checkpoints: Checkpoints
) -> dict[str, Any]:
    """The config with what it says layer by layer, each from the model its layer comes from."""
    origins = _origins(term, tower)
    configs = [config_of(each, checkpoints) or {} for each in term.inputs]
    towers = {index: origin[1] for index, origin in _first_of_each(origins)}
    parts = {
        i: spelled_out(edits.section(configs[i], each.stated[:-1]), each.count)
        for i, each in towers.items()
    }  # fmt: skip
    *above, _ = tower.stated or (None,)
    changed = dict(edits.section(config, above))
    alone = dict(spelled_out(changed, len(origins)))
    changed |= alone
    part, count = _of_the_donor(term, tower, checkpoints)
    part = spelled_out(part, count)
    for key in edits.by_layer(part, count):
        if key not in changed:
            continue
        entries = []
        for index, was, layer in origins:
            lists = edits.by_layer(parts[index], was.count)
            if key not in lists:
                raise InputError("E0801", edit=term.op, key=key)
            entries.append(lists[key][layer])
        changed[key] = entries
    for key in edits.layer_numbers(part, count):
        numbers = [edits.section(configs[i], towers[i].stated[:-1]).get(key) or () for i in towers]
        held = dict(zip(towers, numbers, strict=True))
        changed[key] = [
            new for new, (index, _, layer) in enumerate(origins) if layer in held[index]
        ]
    _positions(term, origins, parts, changed)
    if changed == alone:
        # What the config says of itself needs no list.
        return config
    return edits.put(config, above, changed)


def _positions(
    term: Term, origins: list[tuple[int, Layering, int]], parts: Mapping[int, Mapping],
    changed: dict[str, Any],
) -> None:  # fmt: skip
    """Adjusts what a config says of layers by where they stand; E2302 where it cannot be said."""
    for key in edits.LEADING:
        if type(changed.get(key)) is not int:
            continue
        leads = [layer < (parts[index].get(key) or 0) for index, _, layer in origins]
        changed[key] = leads.index(False) if False in leads else len(leads)
        if any(leads[changed[key] :]):
            raise InputError("E2302", edit=term.op, key=key)
    unlisted = (key for key, listed in edits.LISTED.items() if not changed.get(listed))
    for key in (*edits.PERIODS, *unlisted):
        every = changed.get(key)
        if type(every) is int and every > 1:
            for new, (index, _, layer) in enumerate(origins):
                if parts[index].get(key) != every or new % every != layer % every:
                    raise InputError("E2302", edit=term.op, key=key)


def _origins(term: Term, tower: Layering) -> list[tuple[int, Layering, int]]:
    """For each layer of a tower the input, the tower there and the layer there it comes from."""
    found: dict[int, tuple[int, Layering, int]] = {}
    for name, origin in term.layout.origins.items():
        layer, _ = tower.split(name)
        if layer is None or not isinstance(origin, Pick):
            continue
        was = term.inputs[origin.input].inventory.layering.tower(origin.name)
        if was is not None:
            number = was.split(origin.name)[0]
            # What only a first layer has may stand in another's place.
            if was.split(origin.name)[1] not in was.alone:
                found.setdefault(layer, (origin.input, was, number))
    return [found[layer] for layer in sorted(found)]


def _first_of_each(
    origins: list[tuple[int, Layering, int]],
) -> list[tuple[int, tuple[int, Layering, int]]]:
    first: dict[int, tuple[int, Layering, int]] = {}
    for origin in origins:
        first.setdefault(origin[0], origin)
    return list(first.items())


def _of_the_donor(
    term: Term, tower: Layering, checkpoints: Checkpoints
) -> tuple[Mapping[str, Any], int]:
    """The section of the donor's config that speaks of a tower, and how many layers it had."""
    donor = donor_of(term)
    for each in donor.inventory.layering.towers:
        if each.stated == tower.stated or len(donor.inventory.layering.towers) == 1:
            config = config_of(donor, checkpoints) or {}
            return edits.section(config, each.stated[:-1]), each.count
    return {}, 0
